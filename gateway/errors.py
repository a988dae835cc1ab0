"""Every error of the gateway: one root, few branches.

A message says what was tried, what came back and what to do. `exit_code` is what a command that ends
with the error returns: 1 failed while working, 2 wrong usage or configuration, 3 meter unreachable or
key refused. `state` is the word for whoever failed with it (docs/status.md).
"""


class GatewayError(Exception):
    exit_code = 1
    state = "failing"


class Expired(GatewayError):
    """Time ran out before there was a result."""


class ConfigurationError(GatewayError):
    exit_code = 2


class LinkError(GatewayError):
    """The line to the meter can't be opened or went away."""

    exit_code = 3
    state = "link-gone"


class MeterError(GatewayError):
    """The exchange with the meter failed; the base of what drivers raise."""

    exit_code = 3


class NoAnswer(MeterError):
    """The meter did not answer within the guide's time-outs and retries."""

    state = "silent"


class AuthenticationError(MeterError):
    """The meter refused our key, or its answers do not prove that it knows the key."""

    state = "key-refused"


class ProtocolError(MeterError):
    """What came back breaks the protocol; nothing of it is believed."""


class Refused(MeterError):
    """The meter answered with an error code (MEP guide, table 2.6; ANSI C12.18 response codes).

    `code` is the response code, `table` the table it was about (or None).
    """

    exit_code = 1

    def __init__(self, message: str, code: int, table: "int | None" = None) -> None:
        super().__init__(message)
        self.code = code
        self.table = table


class ProcedureFailed(MeterError):
    """The meter did not carry out a procedure. `procedure`: BPxx, or 2048 + xx for EPxx; `result`: its code
    (MEP guide, "Procedure Header Fields")."""

    exit_code = 1

    def __init__(self, message: str, procedure: int, result: int) -> None:
        super().__init__(message)
        self.procedure = procedure
        self.result = result


class TableError(GatewayError):
    """Table data that can't be right: a length, dimension or value outside its bounds."""


class FrameError(GatewayError):
    """A frame, receipt, command or JSON message that can't be decoded, or not be encoded."""


class BrokerError(GatewayError):
    """The MQTT broker can't be reached, refused us, or went away; `state` says which where that is known."""

    def __init__(self, message: str, state: str = "gone") -> None:
        super().__init__(message)
        self.state = state


class OutboxError(GatewayError):
    """The outbox can't take a frame: it is full or its storage failed.

    `code`: the system's number of the error where storage failed, else 0.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class UpdateError(GatewayError):
    """A bundle that is refused, or can't be put into flash; what ran before goes on."""
