"""`osgp-gateway simulate`: a virtual meter on a TCP port or a pseudo terminal."""

import asyncio
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypedDict

import typer

from .. import clock
from ..errors import ConfigurationError, Expired
from . import truth
from .calendar import DAY_MS
from .captured import fitting, read_tables
from .channels import Channel
from .faulty import LineFaults
from .generations import DEFAULT_FIRMWARE, generation
from .listen import PtyLine, TcpLine, pty_line, tcp_line
from .meter import VirtualMeter
from .optical_server import FIRST_PACKETS, NAKED
from .optical_session import OpticalKeys, read_password_file
from .port_settings import RC4
from .profile import standard
from .profile_tables import sets_of
from .scenario import KINDS, read_file
from .security import read_key_file

_TRUTH_EVERY_MS = 60_000


def simulate(
    listen: Annotated[
        str, typer.Option(help="tcp:HOST:PORT, where port 0 is any free one, or pty.")
    ] = "tcp:127.0.0.1:0",
    key_file: Annotated[
        Path | None, typer.Option(help="File with the MEP advanced key (16 or 20 characters, or hex).")
    ] = None,
    basic_key_file: Annotated[Path | None, typer.Option(help="File with the MEP basic key.")] = None,
    optical: Annotated[
        bool, typer.Option("--optical", help="The line of --listen is the optical port, not MEP.")
    ] = False,
    optical_listen: Annotated[
        str | None, typer.Option(help="A second line, to the optical port; addresses as for --listen.")
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="File with the optical port's unique key (up to 20 characters).")
    ] = None,
    provisioning_password_file: Annotated[
        Path | None, typer.Option(help="File with the optical port's provisioning key.")
    ] = None,
    read_only_password_file: Annotated[
        Path | None, typer.Option(help="File with the optical port's read-only key.")
    ] = None,
    first_packet: Annotated[
        str,
        typer.Option(
            help="The first optical packet on a UART shared with MEP is answered with nak, lost, or heard."
        ),
    ] = NAKED,
    tables: Annotated[
        Path | None, typer.Option(help="JSON with captured tables to serve instead of living ones.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same household.")] = 1,
    start: Annotated[
        str | None, typer.Option(help="The meter's time at the start, ISO 8601 in UTC; by default now.")
    ] = None,
    baud: Annotated[
        str, typer.Option(help="Line rate to keep to, 300 to 115200, or 'fast' for no pacing at all.")
    ] = "9600",
    firmware: Annotated[str | None, typer.Option(help="Firmware generation, as 2.0, 3.80 or 4.30.")] = None,
    serial: Annotated[
        str | None, typer.Option(help="Utility serial number; by default from the seed.")
    ] = None,
    summations: Annotated[int | None, typer.Option(help="11, 15 or 19 registers in a block.")] = None,
    tiers: Annotated[int | None, typer.Option(help="4 or 8 tiers.")] = None,
    present_values: Annotated[int | None, typer.Option(help="18 to 84 present values.")] = None,
    demands: Annotated[int, typer.Option(help="0 to 8 demand registers.")] = 0,
    solar: Annotated[int, typer.Option(help="Peak power of solar panels, in W.")] = 0,
    refuse: Annotated[
        int, typer.Option(help="Answer this many of a thousand good requests with 0B.", min=0, max=1000)
    ] = 0,
    security: Annotated[
        str, typer.Option(help="What the MEP ports speak: rc4, tls, or both (firmware 4.10 and later).")
    ] = RC4,
    second_listen: Annotated[
        str | None, typer.Option(help="A line to the second MEP port (firmware 4.0 and later).")
    ] = None,
    fault: Annotated[
        str | None,
        typer.Option(
            help="Shares of the bytes that a bad line spoils: corrupt, lose, double, late, garbage, half, "
            "reset, as in corrupt=1%,lose=0.1%,seed=7."
        ),
    ] = None,
    speed: Annotated[
        int,
        typer.Option(help="The meter lives, and its line runs, this many times faster.", min=1, max=10_000),
    ] = 1,
    truth_file: Annotated[
        Path | None,
        typer.Option(
            "--truth",
            help="Here stands what a correct reader must have found: at first, every minute, and at the end.",
        ),
    ] = None,
    history: Annotated[
        int, typer.Option(help="The meter has been at work for this many days already.", min=0, max=400)
    ] = 1,
    profile_sets: Annotated[
        int, typer.Option(help="Load profile data sets, as many as the firmware knows.", min=0, max=4)
    ] = 1,
    profile_extras: Annotated[
        bool, typer.Option("--profile-extras", help="Load profile with end readings, scalars and divisors.")
    ] = False,
    life: Annotated[
        str, typer.Option(help="What happens to the meter: none, quiet, busy, or a JSON file of happenings.")
    ] = "none",
    link: Annotated[
        Path | None, typer.Option(help="With pty: a symbolic link that always leads to the terminal.")
    ] = None,
    count: Annotated[
        int,
        typer.Option(
            help="So many meters in this process, each a household of its own (seeds from --seed on), on "
            "ports from that of --listen on.",
            min=1,
            max=1000,
        ),
    ] = 1,
) -> None:
    """Run a virtual OSGP meter until interrupted.

    Prints "listening on ADDRESS" once it does. SIGUSR1 pulls the line out of the meter, SIGUSR2 plugs it in.
    """
    passwords = [
        read_password_file(file) if file else None
        for file in (password_file, provisioning_password_file, read_only_password_file)
    ]
    optical_keys = OpticalKeys(*passwords) if any(passwords) else None
    if (optical or optical_listen is not None) and optical_keys is None:
        raise ConfigurationError("the optical port needs a key: give --password-file")
    if key_file is None and basic_key_file is None and not optical:
        raise ConfigurationError("the meter needs a key: give --key-file or --basic-key-file")
    captured = read_tables(tables) if tables else {}
    if captured:
        dimensions = fitting(captured, firmware)
    else:
        dimensions = generation(
            firmware or DEFAULT_FIRMWARE,
            summations=summations,
            tiers=tiers,
            present_values=present_values,
            demands=demands,
        )
    start_ms = _instant(start)
    if start_ms is None:
        start_ms = clock.utc_ms()
    happenings = life if life in KINDS else read_file(Path(life), start_ms - history * DAY_MS)
    first_address = _address("--listen", listen)
    if count > 1:
        one_only = {"--serial": serial, "--link": link, "--truth": truth_file}
        one_only.update({"--second-listen": second_listen, "--optical-listen": optical_listen})
        for option, value in one_only.items():
            if value is not None:
                raise ConfigurationError("%s is for a single meter, not for --count %d" % (option, count))
        if first_address is None or (first_address[1] and first_address[1] + count > 65536):
            raise ConfigurationError("--count %d needs as many TCP ports from --listen on" % count)

    def build(number: int) -> VirtualMeter:
        meter = VirtualMeter(
            read_key_file(key_file) if key_file else None,
            read_key_file(basic_key_file) if basic_key_file else None,
            seed=seed + number,
            serial=serial,
            firmware=dimensions,
            start_ms=start_ms,
            solar_peak_w=solar,
            profile=standard(
                sets_of(dimensions), profile_sets, end_readings=profile_extras, scaling=profile_extras
            ),
            history_days=history,
            life=happenings,
            optical_keys=optical_keys,
            security=security,
            clients=1 if second_listen is None else 2,
            monotonic=lambda: clock.monotonic_ms() * speed,
        )
        if meter.optical is not None:
            if first_packet not in FIRST_PACKETS:
                raise ConfigurationError(
                    "--first-packet %s: give %s" % (first_packet, ", ".join(FIRST_PACKETS))
                )
            meter.optical.server.first_packet = first_packet
        for table, data in captured.items():
            meter.image.keep(table, data)
        meter.faults.refuse_permille = refuse
        if baud != "fast":
            try:
                meter.set_baud(int(baud))
            except ValueError:
                raise ConfigurationError(
                    "--baud %s: give a rate of 300 to 115200 as in ET13, or fast" % baud
                ) from None
        # What it has lived through is worked out now: who has just been told where to connect does not wait.
        meter.supply()
        return meter

    meters = [build(number) for number in range(count)]
    meter = meters[0]
    lines = []
    for number in range(count):
        served = meters[number]
        channel: Channel = served.optical if optical and served.optical else served.ports[0]
        address = first_address
        if address is not None and address[1]:
            address = (address[0], address[1] + number)
        lines.append(_Line("", channel, address, link))
    if second_listen is not None:
        lines.append(_Line("second port ", meter.ports[1], _address("--second-listen", second_listen), None))
    if optical_listen is not None and meter.optical is not None:
        lines.append(
            _Line("optical port ", meter.optical, _address("--optical-listen", optical_listen), None)
        )
    faults = LineFaults.parse(fault) if fault is not None else None
    told = None
    if truth_file is not None:
        try:
            # What an earlier meter left there is never taken for this one's.
            truth.write(meter, truth_file)
        except OSError as error:
            raise ConfigurationError("--truth %s: %s" % (truth_file, error.strerror)) from None
        told = truth.Recurrent(meter, truth_file)
    try:
        asyncio.run(_serve(lines, _Pace(paced=baud != "fast", speed=speed, faults=faults), told))
    finally:
        if told is not None:
            told.end()


def _instant(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError("--start %s: give a time as 2024-01-31T12:00:00Z" % text) from None
    if given.tzinfo is None:
        given = given.replace(tzinfo=UTC)
    delta = given - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86400 + delta.seconds) * 1000


def _address(option: str, listen: str) -> tuple[str, int] | None:
    """Host and port, or None for a pty."""
    if listen == "pty":
        return None
    scheme, _, rest = listen.partition(":")
    host, _, port = rest.removeprefix("//").rpartition(":")
    if scheme != "tcp" or not host or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError("%s %s: give tcp:HOST:PORT or pty" % (option, listen))
    return host, int(port)


@dataclass(frozen=True)
class _Line:
    """A port of the meter and where it is to be found: host and port number, or None for a pty."""

    name: str
    channel: Channel
    address: tuple[str, int] | None
    link: Path | None


class _Pace(TypedDict):
    """How well and how fast the lines run."""

    paced: bool
    speed: int
    faults: LineFaults | None


async def _serve(lines: list[_Line], pace: _Pace, told: truth.Recurrent | None) -> None:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, done.set)
    async with AsyncExitStack() as stack:
        served: list[PtyLine | TcpLine] = []
        # Before anyone is told that the meter is there: unhandled, these signals would end it.
        loop.add_signal_handler(signal.SIGUSR1, lambda: [line.unplug() for line in served])
        loop.add_signal_handler(signal.SIGUSR2, lambda: [line.plug() for line in served])
        for line in lines:
            laid, where = await _lay(stack, line, pace)
            served.append(laid)
            print("%slistening on %s" % (line.name, where), flush=True)
        while not done.is_set():
            try:
                await clock.wait_for_ms(done.wait(), max(_TRUTH_EVERY_MS, 1000 * clock.scale()))
            except Expired:
                if told is not None:
                    told.write()


async def _lay(stack: AsyncExitStack, line: _Line, pace: _Pace) -> tuple[PtyLine | TcpLine, str]:
    """The line, and where it ends."""
    if line.address is None:
        pty = await stack.enter_async_context(pty_line(line.channel, link=line.link, **pace))
        return pty, str(line.link or pty.path)
    host, port = line.address
    try:
        tcp = await stack.enter_async_context(tcp_line(line.channel, host=host, port=port, **pace))
    except OSError as error:
        raise ConfigurationError("can't listen on %s port %d: %s" % (host, port, error.strerror)) from None
    return tcp, "tcp://%s:%d" % (host, tcp.number)
