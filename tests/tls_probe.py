"""A bare TLS client for tests of the virtual meter's MEP ports, on python-mbedtls."""

from mbedtls import tls
from mbedtls._tls import HandshakeStep

from tests.mep_probe import KEY, read_message

SUITE = "TLS-PSK-WITH-AES-256-GCM-SHA384"


def framed(code: int, records: bytes) -> bytes:
    return (1 + len(records)).to_bytes(2, "big") + bytes([code]) + records


class TlsProbe:
    """Asks anything with `receive(data, now_ms) -> list[bytes]`, without a line in between."""

    def __init__(self, port, key: bytes = KEY, identity: bytes = b"d\0\1", whole: bool = True) -> None:
        self.port = port
        self.whole = whole
        self.last = b""
        configuration = tls.TLSConfiguration(
            validate_certificates=False,
            ciphers=(SUITE,),
            lowest_supported_version=tls.TLSVersion.TLSv1_2,
            highest_supported_version=tls.TLSVersion.TLSv1_2,
            pre_shared_key=(identity.decode(), key),
        )
        self.buffer = tls.ClientContext(configuration).wrap_buffers(None)

    def exchange(self, code: int, records: bytes) -> bytes:
        """The body of the response to a request, response code first."""
        frame = framed(code, records)
        pieces = [frame] if self.whole else [frame[at : at + 1] for at in range(len(frame))]
        (response,) = [out for piece in pieces for out in self.port.receive(piece, 0)]
        assert int.from_bytes(response[:2], "big") == len(response) - 2 <= 476
        self.last = response[2:]
        return self.last

    def handshake(self) -> int:
        """The response code that ended the handshake: 0 when the session stands."""
        code, records = 0x58, self.step()
        while records:
            answer = self.exchange(code, records)
            if answer[0]:
                return answer[0]
            self.buffer.receive_from_network(answer[1:])
            code, records = 0x59, self.step()
        assert self.buffer._handshake_state is HandshakeStep.HANDSHAKE_OVER
        return 0

    def sealed(self, message: bytes) -> bytes:
        self.buffer.write(message)
        return self._outgoing()

    def opened(self, response: bytes) -> bytes:
        assert response[2] == 0, response.hex()
        self.buffer.receive_from_network(response[3:])
        return bytes(self.buffer.read(1000))

    def ask(self, message: bytes) -> bytes:
        body = self.exchange(0x80, self.sealed(message))
        return self.opened(len(body).to_bytes(2, "big") + body)

    def read(self, table: int, offset: int | None = None, count: int = 0) -> bytes:
        message = self.ask(read_message(table, offset, count))
        assert message[0] == 0, "table %d answered %02x" % (table, message[0])
        assert int.from_bytes(message[1:3], "big") == len(message) - 3
        return message[3:]

    def step(self) -> bytes:
        """The client's next records in a handshake; none when it is over."""
        while self.buffer._handshake_state is not HandshakeStep.HANDSHAKE_OVER:
            try:
                self.buffer.do_handshake()
            except tls.WantWriteError:
                continue
            except tls.WantReadError:
                break
        return self._outgoing()

    def _outgoing(self) -> bytes:
        out = b""
        while piece := self.buffer.peek_outgoing(4096):
            out += piece
            self.buffer.consume_outgoing(len(piece))
        return out
