"""Puts the board's configuration and its secrets into flash: either all of it or nothing.

New secrets get names of their own: all of it counts at once, when the configuration that names them takes the
place of the old one. What it no longer names is deleted afterwards.
"""

import json
import os

import durable_file

from gateway._compat import TYPE_CHECKING
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Writer:
    """`settings`: as given, with the names of the secrets' new files in them; `files`: their contents."""

    def __init__(self, settings: "dict[str, Any]", secrets: "Mapping[str, bytes]", path: str) -> None:
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self.files: dict[str, bytes] = {}
        self._path = path
        self._folder = path[: path.rfind("/") + 1]
        self._kept = self._named()
        for field, content in secrets.items():
            name = self._folder + field.replace("_file", "")
            # Two names take turns: what stands in the configuration that still counts is never overwritten.
            name += ".b" if name + ".a" in self._kept else ".a"
            self.files[name] = content
            section = self.settings
            *sections, last = field.split(".")
            for one in sections:
                section = section.setdefault(one, {})
            section[last] = name

    def write(self) -> None:
        """Raises ConfigurationError; then the old configuration counts."""
        try:
            if self._folder:
                try:
                    os.mkdir(self._folder[:-1])
                except OSError:
                    pass  # it is there, or writing says what is wrong
            for name, content in self.files.items():
                durable_file.write(name, content)
            durable_file.write(self._path, json.dumps(self.settings).encode())
        except OSError as error:
            raise ConfigurationError("%s: can't be written: %s" % (self._path, error)) from None
        named = _names(self.settings)
        for name in self._kept:
            if name not in named:
                durable_file.remove(name)

    def _named(self) -> "list[str]":
        """The secrets' files that the configuration which counts now names."""
        try:
            with open(self._path) as file:
                return _names(json.load(file))
        except (OSError, ValueError):
            return []


def _names(settings: "dict[str, Any]") -> "list[str]":
    names = []
    for field, value in settings.items():
        if isinstance(value, dict):
            names += _names(value)
        elif field.endswith("_file") and value:
            names.append(value)
    return names
