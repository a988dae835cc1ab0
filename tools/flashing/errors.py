"""What goes wrong while a board is flashed; wrong input is a ConfigurationError (exit code 2)."""

from gateway.errors import GatewayError


class FlashError(GatewayError):
    """Writing, reading back or comparing failed; the message says in which state the board is."""


class NoBoard(FlashError):
    """No board answers on the port, or the port can't be opened."""

    exit_code = 3
