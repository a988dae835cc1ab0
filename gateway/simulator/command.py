"""`osgp-gateway simulate`: a virtual meter on a TCP port or a pseudo terminal."""

import asyncio
import signal
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigurationError
from .captured import fitting, read_tables
from .generations import DEFAULT_FIRMWARE, generation
from .listen import PtyLine, TcpLine, pty_line, tcp_line
from .meter import VirtualMeter
from .security import read_key_file


def simulate(
    listen: Annotated[
        str, typer.Option(help="tcp:HOST:PORT, where port 0 is any free one, or pty.")
    ] = "tcp:127.0.0.1:0",
    key_file: Annotated[
        Path | None, typer.Option(help="File with the MEP advanced key (16 or 20 characters, or hex).")
    ] = None,
    basic_key_file: Annotated[Path | None, typer.Option(help="File with the MEP basic key.")] = None,
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
    link: Annotated[
        Path | None, typer.Option(help="With pty: a symbolic link that always leads to the terminal.")
    ] = None,
) -> None:
    """Run a virtual OSGP meter until interrupted.

    Prints "listening on ADDRESS" once it does. SIGUSR1 pulls the line out of the meter, SIGUSR2 plugs it in.
    """
    if key_file is None and basic_key_file is None:
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
    meter = VirtualMeter(
        read_key_file(key_file) if key_file else None,
        read_key_file(basic_key_file) if basic_key_file else None,
        seed=seed,
        serial=serial,
        firmware=dimensions,
        start_ms=_instant(start),
        solar_peak_w=solar,
    )
    for table, data in captured.items():
        meter.image.keep(table, data)
    meter.faults.refuse_permille = refuse
    paced = baud != "fast"
    if paced:
        try:
            meter.set_baud(int(baud))
        except ValueError:
            raise ConfigurationError(
                "--baud %s: give a rate of 300 to 115200 as in ET13, or fast" % baud
            ) from None
    asyncio.run(_serve(meter, _address(listen), paced, link))


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


def _address(listen: str) -> tuple[str, int] | None:
    """Host and port, or None for a pty."""
    if listen == "pty":
        return None
    scheme, _, rest = listen.partition(":")
    host, _, port = rest.removeprefix("//").rpartition(":")
    if scheme != "tcp" or not host or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError("--listen %s: give tcp:HOST:PORT or pty" % listen)
    return host, int(port)


async def _serve(
    meter: VirtualMeter, address: tuple[str, int] | None, paced: bool, link: Path | None
) -> None:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, done.set)
    line: PtyLine | TcpLine
    async with AsyncExitStack() as stack:
        if address is None:
            line = await stack.enter_async_context(pty_line(meter, link=link, paced=paced))
            where = str(link) if link else line.path
        else:
            host, port = address
            try:
                line = await stack.enter_async_context(tcp_line(meter, host=host, port=port, paced=paced))
            except OSError as error:
                raise ConfigurationError(
                    "can't listen on %s port %d: %s" % (host, port, error.strerror)
                ) from None
            where = "tcp://%s:%d" % (host, line.number)
        loop.add_signal_handler(signal.SIGUSR1, line.unplug)
        loop.add_signal_handler(signal.SIGUSR2, line.plug)
        print("listening on %s" % where, flush=True)
        await done.wait()
