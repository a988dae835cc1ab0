"""What the service manager is told (sd_notify(3)): datagrams of NAME=value lines to the socket that it names.

Our own, because the protocol is one send: the library `sdnotify` says no more and is not kept up any longer,
`systemd-python` needs a compiler and systemd's headers wherever the gateway is installed.
"""

from __future__ import annotations

import os
import socket

_PATIENCE_S = 1  # with a manager whose queue is full
_LINE_LIMIT = 400  # of a status, which is one line of `systemctl status`


class Notifier:
    """Talks to the service manager, or to nobody where $NOTIFY_SOCKET is not set.

    `watchdog_ms`: how long the manager waits between two `alive` before it restarts this process; None where
    it does not watch.
    """

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        given = os.environ if environment is None else environment
        name = given.get("NOTIFY_SOCKET", "")
        # "@" stands for the first byte of an abstract socket's name.
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.settimeout(_PATIENCE_S)
        self.watchdog_ms = _watchdog_ms(given) if self._address else None
        self._status = ""

    @property
    def present(self) -> bool:
        """Whether a service manager listens."""
        return self._socket is not None

    def ready(self) -> None:
        self._send("READY=1")

    def reloading(self, monotonic_us: int) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={monotonic_us}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """A line for `systemctl status`; sent when it is another than before."""
        line = " ".join(text.split())[:_LINE_LIMIT]
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(text.encode(), self._address)
        except OSError:
            pass  # nobody can be told; a manager that no longer hears us restarts us

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _watchdog_ms(given: os._Environ[str] | dict[str, str]) -> int | None:
    """$WATCHDOG_USEC, where it is meant for this process (sd_watchdog_enabled(3))."""
    if given.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        interval = int(given.get("WATCHDOG_USEC", "0")) // 1000
    except ValueError:
        return None
    return interval or None
