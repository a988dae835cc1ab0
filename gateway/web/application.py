"""What the page shows and changes: the board's application, or the service on Linux."""

from .._compat import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class PageApplication:
    """`address`: in set-up the board's own on its access point, "" otherwise; with one, no password is asked
    for and every other name leads to it.

    What fails raises a GatewayError, whose message a person reads.
    """

    address = ""

    def about(self) -> "dict[str, Any]":
        """What anybody may know: "name", "version", and in set-up "problems" of the configuration."""
        raise NotImplementedError

    def status(self) -> "dict[str, Any]":
        """As Gateway.status, with "live", "wifi" and "board" where there are such (docs/page.md)."""
        raise NotImplementedError

    def history(self) -> "dict[str, Any]":
        """Power so far: {"endMs", "stepS", "watts": [oldest, ...]}, None for what is not known."""
        raise NotImplementedError

    def log(self, after: int) -> "Sequence[Sequence[Any]]":
        """Lines with a number above `after`: [number, UTC ms, level, text]."""
        raise NotImplementedError

    def settings(self) -> "tuple[dict[str, Any], list[str]]":
        """The settings without secrets, and the names of the secrets that are set."""
        raise NotImplementedError

    def save(self, settings: "dict[str, Any]", secrets: "dict[str, str]") -> None:
        """Raises ConfigurationError with all that is wrong; nothing is changed then."""
        raise NotImplementedError

    async def scan(self) -> "list[dict[str, Any]]":
        """Wi-Fi networks in reach: {"ssid", "rssi", "open"}."""
        raise NotImplementedError

    async def try_meter(self, settings: "dict[str, Any]", secrets: "dict[str, str]") -> "dict[str, Any]":
        """Reads a meter once, with what a person has typed in: {"serial", "watts" or None}."""
        raise NotImplementedError

    def update(self, size: int) -> None:
        """Begin an update of `size` bytes; what was begun before is given up. The pieces come in order."""
        raise NotImplementedError

    async def update_data(self, at: int, data: bytes) -> None:
        raise NotImplementedError

    async def update_finish(self) -> None:
        """Check the whole and make it the next to start."""
        raise NotImplementedError

    def restart(self) -> None:
        """Soon, so that the answer still goes out."""
        raise NotImplementedError
