"""What importing modules puts on the heap; runs on MicroPython, for heap_by_module.py.

Arguments: modules; those behind "--" are each dropped again, with what they brought, as the application does.
Prints a line of JSON: names with bytes, in that order, and how many names the interpreter had to learn.
"""

import builtins
import gc
import json
import sys

sys.path.append(".frozen")

import asyncio
import binascii
import hashlib
import socket
import ssl

import esp32
import machine
import network

# What the interpreter and the stand-ins bring is no cost of the application.
BASE = (asyncio.Event, asyncio.Lock, asyncio.gather, asyncio.open_connection, asyncio.wait_for_ms)  # type: ignore[attr-defined]
OTHERS = (binascii, hashlib, socket, ssl, esp32, machine, network, builtins)


def alive() -> int:
    gc.collect()
    return gc.mem_alloc()  # type: ignore[attr-defined,no-any-return]


def cost(name: str) -> int:
    before = alive()
    __import__(name)
    return alive() - before


def drop(known: "set[str]") -> None:
    for name in set(sys.modules) - known:
        module = sys.modules.pop(name)
        parent, _, leaf = name.rpartition(".")
        if parent in sys.modules and getattr(sys.modules[parent], leaf, None) is module:
            delattr(sys.modules[parent], leaf)


def main(arguments: "list[str]") -> int:
    gc.threshold(4096)  # type: ignore[attr-defined]
    told: list[tuple[str, int]] = []
    known: set[str] | None = None
    for name in arguments:
        if name == "--":
            known = set(sys.modules)
        elif name not in sys.modules:
            told.append((name, cost(name)))
            if known is not None:
                drop(known)
    print(json.dumps(told))
    return 0
