"""For MicroPython: our client on the interpreter's own TLS (micropython/mep_tls.py) against a real server.

`micropython tls_exercise.py PORT IDENTITY KEY` (hex): sends two messages and prints what comes back, or the
error; "heap" and the bytes that a session holds.
"""

import gc
import socket
import sys

HERE = __file__.rsplit("/", 1)[0] if "/" in __file__ else "."
sys.path[:0] = [HERE + "/../..", HERE + "/../../micropython"]

from mep_tls import TlsClient  # noqa: E402

from gateway.errors import ProtocolError  # noqa: E402


def main(port, identity, key):
    connection = socket.socket()
    connection.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
    gc.collect()
    before = gc.mem_alloc()
    client = TlsClient(identity, key)
    connection.write(client.start())
    while not client.established:
        received = connection.recv(512)
        if not received:
            raise ProtocolError("the server closed")
        connection.write(client.feed(received))
    gc.collect()
    print("heap", gc.mem_alloc() - before)
    for message in (b"first\n", bytes(range(65, 91)) * 16 + b"\n"):
        connection.write(client.wrap(message))
        answer = b""
        while len(answer) < len(message):
            answer += client.unwrap(connection.recv(512))
        print(answer)


try:
    main(int(sys.argv[1]), bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3]))
except ProtocolError as error:
    print("%s: %s" % (type(error).__name__, error))
