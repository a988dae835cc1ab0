"""For MicroPython: the server's side of TLS with a pre-shared key, on the interpreter's own TLS.

`micropython tls_reverser.py PORT IDENTITY KEY` (hex): connects to the port on loopback, is the server there,
and answers each message with its reverse.
"""

import socket
import sys

import tls


def main(port, identity, key):
    context = tls.SSLContext(tls.PROTOCOL_TLS_SERVER)
    context.server_psk_keys = {identity: key}
    connection = socket.socket()
    connection.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
    try:
        stream = context.wrap_socket(connection, server_side=True)
        while True:
            message = bytearray(stream.recv(512))
            if not message:
                break
            stream.write(bytes(reversed(message)))
    except OSError as error:
        print("ended:", error)
    connection.close()


main(int(sys.argv[1]), bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3]))
