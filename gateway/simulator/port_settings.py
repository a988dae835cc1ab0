"""How the meter's ports are set up, in its own tables: two MEP clients, TLS, limits of optical sessions.

MEP guide, chapter 4: ET29, ET51, ET54, ET55, ET90, ET97; chapter 2, "Multiple MEP Ports".
"""

from . import definitions
from .generations import Generation
from .image import Image, et
from .mep_server import MAX_MESSAGE
from .optical_server import DenialOfService
from .tls_server import RECORD_OVERHEAD

# Security of the MEP ports.
RC4 = "rc4"
TLS = "tls"
BOTH = "both"
SECURITIES = (RC4, TLS, BOTH)

# Table data of one response inside a record: two response codes and a count go along.
MAX_TLS_READ = MAX_MESSAGE - 1 - RECORD_OVERHEAD - 1 - 2

_FREE_TEXTS = 3
# ET97: messages of 8 bytes, then "require TLS" for the optical port and both MEP ports.
_REQUIRE_TLS = 8 * _FREE_TEXTS + 98
# ET29.0.23: the port of MEP client 2 is there. ET54.0.8: two clients, each with its port.
_SECOND_PORT = 0x80
_MULTIPLE = 0x01
# ET55: wrong passwords that the optical port allows in a row, and the minutes it is locked for then.
_ET55_LOCKOUT = 22
# ET55, behind the energy unit: the optical port's limits on meters with two MEP clients.
_ET55_OPTICAL = 41
# ET51 and ET55: the limits are to be kept; in seconds, of a session and of the pause after it.
_LIMITED = 1


def has_tls(g: Generation) -> bool:
    """ET97 with its TLS settings came with 4.02."""
    return g.number >= (4, 10)


def et90(g: Generation) -> bytes:
    data = (50).to_bytes(2, "little") + bytes([20, 2, 64, 32, 32, 5, 32, 32, 32, 32, 32, 40, 2, 10])
    data += bytes([_FREE_TEXTS])
    return data + (200).to_bytes(2, "little") + bytes([23]) if g.number >= (4, 20) else data


def set_up(image: Image, g: Generation, security: str, clients: int) -> None:
    """Fill in what the ports' settings need. `clients` MEP clients, 1 (backward compatible) or 2."""
    if has_tls(g):
        image.keep(et(90), et90(g))
        image.keep(et(97), bytes(_REQUIRE_TLS + 3))
        image.write(et(97), _REQUIRE_TLS + 1, bytes(2 * [security == TLS]))
    if clients == 2:
        image.write(et(29), 2, bytes([image.read(et(29))[2] | _SECOND_PORT]))
        image.write(et(54), 1, bytes([image.read(et(54))[1] | _MULTIPLE]))


def multiple_clients(image: Image) -> bool:
    """ET54.0.8."""
    return bool(image.read(et(54))[1] & _MULTIPLE)


def tls_required(image: Image, number: int) -> bool:
    """Whether the port of MEP client `number` takes nothing but TLS (ET97)."""
    return et(97) in image and bool(image.read(et(97))[_REQUIRE_TLS + number] & 1)


def denial_of_service(image: Image, g: Generation) -> DenialOfService:
    """The limits of optical sessions: ET55 has them on meters with two MEP clients, else ET51."""
    if multiple_clients(image):
        at = definitions.et55_varying(g) + _ET55_OPTICAL
        held = image.read(et(55))
        flags, limits = held[at], held[at + 1 : at + 5]
    else:
        held = image.read(et(51))
        flags, limits = held[0], held[4:8]
    session, pause = int.from_bytes(limits[:2], "little"), int.from_bytes(limits[2:], "little")
    failures, minutes = (
        image.read(et(55))[_ET55_LOCKOUT : _ET55_LOCKOUT + 2] if g.number >= (4, 30) else (0, 0)
    )
    return DenialOfService(bool(flags & _LIMITED), 1000 * session, 1000 * pause, failures, 60_000 * minutes)
