"""MEP keys as utilities hand them out (MEP guide, chapter 2, "Access Levels")."""

from ...errors import ConfigurationError

KEY_BYTES = 16  # a key may be handed out with 20 bytes; the first 16 count

_HEX = "0123456789abcdefABCDEF"


def parse_key(text: str) -> "tuple[bytes, str]":
    """The 16 bytes of the key in `text`, and in words which form it was written in.

    Four forms: 16 or 20 ASCII characters, 32 or 40 hex digits; the length decides, so 20 characters are
    never hex digits, whatever they look like. White space around the key (a file's last newline) goes;
    everything within counts, so hex digits stand without spaces, colons or a 0x in front.
    Raises ConfigurationError, which tells lengths and never a character of the key.
    """
    text = text.strip()
    length = len(text)
    hex_digits = sum(1 for character in text if character in _HEX)
    ascii_only = all(" " <= character <= "~" for character in text)
    if length in (32, 40):
        if hex_digits == length:
            form = "%d hex digits" % length
            if length == 40:
                form += ", of which the first 32 count"
            return bytes([int(text[at : at + 2], 16) for at in range(0, 2 * KEY_BYTES, 2)]), form
        problem = "it has %d characters, so each must be a hex digit, and %d are not" % (
            length,
            length - hex_digits,
        )
    elif length in (16, 20):
        if ascii_only:
            form = "%d ASCII characters" % length
            if length == 20:
                form += ", of which the first 16 count"
            if hex_digits == length:
                form += " (all are hex digits: if the key was cut off, write all 32 or 40)"
            return text[:KEY_BYTES].encode(), form
        problem = "it has %d characters, and some are not printable ASCII" % length
    else:
        problem = "it has %d characters" % length
        if not ascii_only:
            problem += ", and some are not printable ASCII"
    raise ConfigurationError(
        "the MEP key can't be used: %s. A key is 16 or 20 ASCII characters, or 32 or 40 hex digits without "
        "spaces or separators, as the utility handed it out" % problem
    )
