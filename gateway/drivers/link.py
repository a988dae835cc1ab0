"""The byte link that a pump drives: serial line, TCP, pseudo-terminal or UART."""


class Link:
    """A connected byte stream; used once and thrown away, reconnecting is the supervisor's work.

    `stalls`: a write may have to wait for the far end.
    """

    stalls = True

    async def read(self) -> bytes:
        """The bytes that have arrived, at least one; waits for them. Raises LinkError when the line is
        gone. Cancelling it loses nothing. One reader at a time."""
        raise NotImplementedError

    async def write(self, data: bytes) -> None:
        """Send `data`; returns when the operating system or UART has taken all of it."""
        raise NotImplementedError

    def set_baud(self, rate: int) -> None:
        """Change the line's rate where there is one; links without a rate ignore it."""

    async def close(self) -> None:
        raise NotImplementedError
