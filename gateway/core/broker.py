"""The MQTT client as core sees it: aiomqtt on Linux, our own on MicroPython."""


class Broker:
    """Long-lived; each `connect` makes one new connection. Who reconnects is the supervisor.

    `certificate_ms`: when the certificate ends that the broker showed last (UTC), None where that is not
    known. `dropped`: messages that came faster than they were received, and gave way.
    """

    certificate_ms: "int | None" = None
    dropped = 0

    def concern(self) -> str:
        """What a person has to know of a connection that works; "" for nothing."""
        return ""

    async def connect(self) -> None:
        """One attempt. Raises BrokerError naming what was tried and what came back."""
        raise NotImplementedError

    async def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """QoS 1; returns once the broker has acknowledged. Raises BrokerError when the connection is
        lost first: the message may or may not have arrived."""
        raise NotImplementedError

    async def subscribe(self, topic: str) -> None:
        """QoS 1; lasts for this connection."""
        raise NotImplementedError

    async def receive(self) -> "tuple[str, bytes]":
        """The next message: topic and payload. Raises BrokerError when the connection is lost."""
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError
