"""Plays a recording back: as text for people, and as the meter for a driver.

A recording can't simply be played to a driver again. The driver starts with other sequence numbers, so its
requests differ in that number and in the digest over it, and a digest of the recorded answers proves
nothing to it; the key that was used is not in the recording and nobody's business. What the meter *said*
does not depend on either. So the player speaks MEP itself, with a key of its own:

- A request has to prove the player's key, else it is answered 0B as by a meter.
- Its C12.18 message (service, table, offset, count, data) is looked up in the recording. The recorded
  outcomes of equal messages come in the order in which they were recorded; the last one stays.
- A recorded answer is given with a fresh digest for this request; its code and data are as recorded, 0C and
  its number, 0B and the errors included. Alerts, noise and silence are played as they were. A frame comes
  in one piece, as long after the request as its last byte did.
- A message that is not in the recording is answered 04 (operation not possible) and noted in `unknown`.

What it can't show again: faults of the digests and of encryption themselves, pauses within a frame, and
recordings of encrypted traffic, where without the key nobody can tell what was asked.
"""

from __future__ import annotations

import asyncio
import sys

from .. import clock
from ..drivers.c1218 import OK, describe
from ..drivers.link import Link
from ..drivers.mep.digest import DIGEST_BYTES, Digest, key_bits
from ..drivers.mep.framing import MESSAGE, Framer, frame
from ..drivers.mep.messages import AUTHENTICATION_FAILURE, INVALID_SEQUENCE
from ..drivers.mep.responses import RIGHTS
from ..drivers.refusals import refusal
from ..errors import ConfigurationError, LinkError
from ..simulator.channels import Channel
from ..simulator.listen import pty_line, tcp_line
from ..simulator.pacing import Piece
from .mep_exchanges import ALERTED, FRAME, Arrival, Exchange, exchanges, plain_request
from .record import EVENT, RECEIVED, Recording
from .replay_optical import OpticalPlayer
from .signals import ending

_NOT_POSSIBLE = b"\x04"


class Player:
    """The meter's side of a recording; a machine without I/O: bytes in, (delay in ms, bytes) out."""

    def __init__(self, recording: Recording, key: bytes) -> None:
        """`key`: the 16 bytes that requests have to prove. Raises ConfigurationError for a recording that
        can't be played."""
        if recording.about.get("protocol") != "mep":
            raise ConfigurationError(
                f"a recording of the protocol {recording.about.get('protocol')!r} can't be played"
            )
        if recording.about.get("security") != "digest":
            raise ConfigurationError(
                "this recording is encrypted: nobody can tell what was asked and answered without its key. "
                'Record again with security = "digest" (--security digest)'
            )
        self.unknown: list[str] = []
        self._bits = key_bits(key)
        self._framer = Framer()
        self._outcomes: dict[bytes, list[list[Arrival]]] = {}
        for exchange in exchanges(recording):
            if exchange.request is not None:
                self._outcomes.setdefault(exchange.request, []).append(exchange.arrivals)
        if not self._outcomes:
            raise ConfigurationError("there is no request in this recording")

    def connect(self) -> None:
        """A client connects anew: what another began it does not finish."""
        self._framer.reset()

    def receive(self, data: bytes) -> list[tuple[int, bytes]]:
        answers = []
        at = 0
        while at < len(data):
            at = self._framer.take(data, at)
            if self._framer.found == MESSAGE:
                answers += self._answer(self._framer.message())
        return answers

    def _answer(self, message: bytes) -> list[tuple[int, bytes]]:
        digest = Digest(self._bits)
        digest.update(message[:-DIGEST_BYTES])
        request = plain_request(message)
        if request is None or not digest.copy().proves(message[-DIGEST_BYTES:]):
            return [(0, frame(bytes((AUTHENTICATION_FAILURE,)) + bytes(DIGEST_BYTES)))]
        outcomes = self._outcomes.get(request)
        if outcomes is None:
            self.unknown.append(describe(request))
            return [(0, _signed(digest, _NOT_POSSIBLE))]
        outcome = outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]
        return [(arrival.delay_ms, _played(digest, arrival)) for arrival in outcome]


def _played(digest: Digest, arrival: Arrival) -> bytes:
    if arrival.what != FRAME:
        return arrival.data
    if len(arrival.data) <= DIGEST_BYTES or arrival.data[0] == AUTHENTICATION_FAILURE:
        return frame(arrival.data)
    return _signed(digest, arrival.data[:-DIGEST_BYTES])


def _signed(digest: Digest, response: bytes) -> bytes:
    proof = digest.copy()
    proof.update(response)
    return frame(response + proof.final())


class PlayerLink(Link):
    """A link to a Player, for tests: MepMeter(PlayerLink(Player(recording, key)), key).

    With `hurry` the recorded delays are left out, silence excepted, which is the driver's own wait.
    """

    def __init__(self, player: Player, hurry: bool = True) -> None:
        player.connect()
        self._player = player
        self._hurry = hurry
        self._arrived: asyncio.Queue[bytes] = asyncio.Queue()
        self._closed = False
        self._playing: set[asyncio.Task[None]] = set()

    async def read(self) -> bytes:
        return await self._arrived.get()

    async def write(self, data: bytes) -> None:
        if self._closed:
            raise LinkError("the link to the recording is closed")
        task = asyncio.create_task(self._play(self._player.receive(data)))
        self._playing.add(task)
        task.add_done_callback(self._playing.discard)

    async def _play(self, answers: list[tuple[int, bytes]]) -> None:
        passed = 0
        for delay, data in answers:
            if not self._hurry:
                await clock.sleep_ms(delay - passed)
                passed = delay
            self._arrived.put_nowait(data)

    async def close(self) -> None:
        self._closed = True
        for task in list(self._playing):
            task.cancel()


class PlayerChannel:
    """A Player at one of the virtual meter's lines; see simulator.channels.Channel."""

    request_every_ms = 0

    def __init__(self, player: Player, baud: int, hurry: bool) -> None:
        self.baud = baud
        self._player = player
        self._hurry = hurry
        self._due: list[tuple[int, bytes]] = []

    def begin(self, paced: bool, least_ms: int) -> None:
        pass

    def pieces(self, length: int, baud: int) -> list[Piece]:
        raise NotImplementedError("a recording is played at the pace it was recorded with")

    def receive(self, data: bytes, now_ms: int) -> list[bytes]:
        for delay_ms, answer in self._player.receive(data):
            self._due.append((now_ms + (0 if self._hurry else delay_ms), answer))
        return self.tick(now_ms)

    def tick(self, now_ms: int) -> list[bytes]:
        out = [answer for due_ms, answer in self._due if due_ms <= now_ms]
        self._due = [one for one in self._due if one[0] > now_ms]
        return out

    def due_in_ms(self, now_ms: int) -> int | None:
        return self._due[0][0] - now_ms if self._due else None

    def line_lost(self) -> None:
        self._due = []
        self._player.connect()

    def sent(self, data: bytes) -> None:
        pass


async def play(player: Player | OpticalPlayer, channel: Channel, address: tuple[str, int] | None) -> None:
    """Serve on TCP, or on a pseudo terminal, until ended by a signal; requests that the recording lacks are
    told on stderr. Raises ConfigurationError where nobody can listen there."""
    with ending() as ended:
        if address is None:
            async with pty_line(channel) as terminal:
                print(f"listening on {terminal.path}", flush=True)
                await ended.wait()
        else:
            try:
                async with tcp_line(channel, host=address[0], port=address[1]) as line:
                    print(f"listening on tcp://{address[0]}:{line.number}", flush=True)
                    await ended.wait()
            except OSError as error:
                raise ConfigurationError(
                    f"can't listen on {address[0]}:{address[1]}: {error.strerror}"
                ) from None
    for request in dict.fromkeys(player.unknown):
        print(f"not in the recording: {request}", file=sys.stderr)


def transcript(recording: Recording) -> list[str]:
    """The recording in words, a line for everything that went over the line."""
    about = recording.about
    lines = [
        f"{about.get('protocol')} on {about.get('port')} at {about.get('baud')} baud, security "
        f"{about.get('security')}, started {about.get('started')}"
    ]
    timed: list[tuple[int, str]] = [
        (entry.ms, f"-- {entry.text}") for entry in recording.entries if entry.what == EVENT
    ]
    found = exchanges(recording)
    for exchange in found:
        timed.append((exchange.ms, f"-> {_asked(exchange)}"))
        for arrival in exchange.arrivals:
            timed.append((exchange.ms + arrival.delay_ms, f"<- {_came(exchange, arrival)}"))
    first = found[0].ms if found else None
    for entry in recording.entries:
        if entry.what == RECEIVED and (first is None or entry.ms < first):
            timed.append((entry.ms, f"<- unasked: {entry.data.hex(' ')}"))
    # Sorting by time alone keeps the order of what has the same time, because sorting is stable.
    timed.sort(key=lambda line: line[0])
    return lines + [f"{ms / 1000:10.3f}  {text}" for ms, text in timed]


def _asked(exchange: Exchange) -> str:
    if exchange.request is None:
        return f"{len(exchange.frame)} bytes, encrypted or no MEP request: {exchange.frame.hex(' ')}"
    return f"{describe(exchange.request)}, sequence number {exchange.sequence}"


def _came(exchange: Exchange, arrival: Arrival) -> str:
    if arrival.what == ALERTED:
        return "alert"
    if arrival.what != FRAME:
        return f"no MEP frame: {arrival.data.hex(' ')}"
    if exchange.request is None:
        return f"{len(arrival.data)} bytes: {arrival.data.hex(' ')}"
    code = arrival.data[0]
    body = arrival.data[:-DIGEST_BYTES]
    if code == AUTHENTICATION_FAILURE:
        return "0B, the meter refuses the key"
    if len(arrival.data) <= DIGEST_BYTES:
        return f"no answer, too short: {arrival.data.hex(' ')}"
    if code == INVALID_SEQUENCE:
        return f"0C, the meter's sequence number is {int.from_bytes(body[1:5], 'big')}"
    if code != OK:
        return str(refusal(code, exchange.request, RIGHTS))
    return f"00, {len(body) - 3} bytes: {body[3:].hex(' ')}" if len(body) > 3 else "00, done"
