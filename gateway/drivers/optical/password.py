"""Passwords of the optical port as utilities hand them out (optical guide, "Security and Keys")."""

from ...errors import ConfigurationError
from .services import PASSWORD_BYTES

_HEX = "0123456789abcdefABCDEF"


def parse_password(text: str) -> "tuple[bytes, str]":
    """The 20 bytes of the key (MK, PK or RK) in `text`, and in words which form it was written in.

    20 ASCII characters or 40 hex digits; the length decides, so 20 characters are never hex digits, whatever
    they look like. White space around it goes, everything within counts. Raises ConfigurationError, which
    tells lengths and never a character of it.
    """
    text = text.strip()
    length = len(text)
    hex_digits = sum(1 for character in text if character in _HEX)
    if length == 2 * PASSWORD_BYTES:
        if hex_digits == length:
            return bytes([int(text[at : at + 2], 16) for at in range(0, length, 2)]), "%d hex digits" % length
        problem = "it has %d characters, so each must be a hex digit, and %d are not" % (
            length,
            length - hex_digits,
        )
    elif length == PASSWORD_BYTES:
        if all(" " <= character <= "~" for character in text):
            form = "%d ASCII characters" % length
            if hex_digits == length:
                form += " (all are hex digits: if the password was cut off, write all 40)"
            return text.encode(), form
        problem = "it has %d characters, and some are not printable ASCII" % length
    else:
        problem = "it has %d characters" % length
    raise ConfigurationError(
        "the optical port's password can't be used: %s. It is 20 ASCII characters or 40 hex digits without "
        "spaces or separators, as the utility handed it out; a MEP key with 16 characters or 32 digits is "
        "another secret" % problem
    )
