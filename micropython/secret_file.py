"""Files that hold secrets; only their owner may be able to read them."""

import os

from gateway._compat import TYPE_CHECKING, const
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MOST = const(16384)

# Files that are to be checked before they are written, by their paths.
offered: "dict[str, bytes]" = {}


def read_file(path: str, what: str) -> bytes:
    """Raises ConfigurationError, which says `what` it was to hold."""
    if path in offered:
        return offered[path]
    try:
        with open(path, "rb") as file:
            return file.read(_MOST)
    except OSError as error:
        raise ConfigurationError("%s: the %s can't be read: %s" % (path, what, error)) from None


def read_secret(path: str, what: str) -> bytes:
    """The file's content without surrounding white space. Raises ConfigurationError."""
    content = read_file(path, what).strip()
    if path not in offered and os.stat(path)[0] & 0o077:
        raise ConfigurationError(
            "%s: others than its owner may read the %s: chmod 600 %s" % (path, what, path)
        )
    if not content:
        raise ConfigurationError("%s: is empty; it has to hold the %s" % (path, what))
    return content


def parse_secret(path: str, what: str, parse: "Callable[[str], Any]") -> "Any":
    """What `parse` makes of the file's text. Raises ConfigurationError."""
    content = read_secret(path, what)
    if max(content) > 126:
        raise ConfigurationError("%s: holds no text in ASCII, so no %s" % (path, what))
    try:
        return parse(content.decode())
    except ConfigurationError as error:
        raise ConfigurationError("%s: %s" % (path, error)) from None
