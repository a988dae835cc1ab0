"""Codes that only MEP has; the rest is C12.18 (MEP guide, chapter 2, tables 2.1, 2.3 and 2.7)."""

SERVICE_SEQUENCE = 0x0A
AUTHENTICATION_FAILURE = 0x0B
INVALID_SEQUENCE = 0x0C

TLS_TERMINATE = 0x57
TLS_HANDSHAKE = 0x58
TLS_HANDSHAKE_CONT = 0x59
TLS_TABLE = 0x80

# What a TLS answer may begin with besides 00 and 0A.
TLS_ERROR = 0x01
TLS_KEY_REFUSED = 0x03
