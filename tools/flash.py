"""From a bare board to a running gateway (docs/board.md).

    python tools/flash.py --board dabbler --config gateway.toml --firmware FILE --port PORT [--dry-run]
    python tools/flash.py --board generic-esp32 --config gateway.toml --image-only out.img
    python tools/flash.py backup|restore FILE [--port PORT]
    python tools/flash.py monitor [--port PORT]

Exit codes: 0 done, 1 failed while working, 2 wrong usage, configuration, file or board, 3 no board answers,
130 ended by Ctrl-C before anything was written.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

try:
    import typer
    from flashing import backup, ports, profile
    from flashing.board import connect
    from flashing.job import Job
    from flashing.monitor import listen
    from flashing.show import Show

    from gateway.errors import ConfigurationError, GatewayError
except ModuleNotFoundError as error:  # before there is anything that could tell it better
    sys.exit(f"flash.py: {error.name} is not installed: pip install -e '.[board]' in the project's folder")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_INTERRUPTED = 130

PortOption = Annotated[
    str | None,
    typer.Option(metavar="PORT", help="Serial port; default: the one that a board is plugged in at."),
]
BaudOption = Annotated[int, typer.Option(min=9600, help="Rate at which flash is written and read.")]
NoStubOption = Annotated[
    bool,
    typer.Option("--no-stub", help="Use the chip's own loader only: slow, where the other does not run."),
]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE")]


@app.callback(invoke_without_command=True)
def flash(
    context: typer.Context,
    board: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"The board: {', '.join(profile.names())}.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="The gateway's configuration (TOML); without it the board is set up from a phone.",
        ),
    ] = None,
    meter: Annotated[
        str | None, typer.Option(metavar="NAME", help="The meter it is to read, where there are several.")
    ] = None,
    firmware: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="MicroPython for the board's chip; default: the pinned version."),
    ] = None,
    frozen: Annotated[
        bool, typer.Option("--frozen", help="The firmware has the application in it (manifest.py).")
    ] = False,
    port: PortOption = None,
    baud: BaudOption = 460_800,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all, the board too; write nothing.")
    ] = False,
    image_only: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the file system's image to a file, not to a board."),
    ] = None,
    erase: Annotated[bool, typer.Option("--erase", help="Erase the whole flash first.")] = False,
    no_stub: NoStubOption = False,
    monitor: Annotated[bool, typer.Option("--monitor", help="Then show what the board says.")] = False,
) -> None:
    """Put MicroPython, the application, configuration, keys and certificates onto a board."""
    if context.invoked_subcommand:
        return
    if board is None:
        raise ConfigurationError(f"say which board with --board: {', '.join(profile.names())}")
    job = Job(board, config, meter, firmware, Show(), frozen=frozen)
    if image_only is not None:
        if port or erase or monitor:
            raise ConfigurationError("--image-only asks no board: leave out --port, --erase and --monitor")
        job.write_image(image_only, dry_run=dry_run)
    else:
        job.flash(port, baud, dry_run=dry_run, erase=erase, stub=not no_stub, monitor=monitor)


@app.command("backup")
def save(
    file: FileArgument, port: PortOption = None, baud: BaudOption = 460_800, no_stub: NoStubOption = False
) -> None:
    """Save a board's whole flash, with its keys and with readings that were not sent yet."""
    show = Show()
    backup.check_free(file)
    with connect(ports.find(port), baud, show, not no_stub) as board:
        about = backup.save(board, file)
    show.say(f"{file}: the flash of an {about.chip}, with every key on it: guard it as you would the board")


@app.command()
def restore(
    file: FileArgument, port: PortOption = None, baud: BaudOption = 460_800, no_stub: NoStubOption = False
) -> None:
    """Write a saved flash to the board it is from, or to another of its kind."""
    show = Show()
    about, data = backup.load(file)
    with connect(ports.find(port), baud, show, not no_stub) as board:
        backup.restore(board, about, data)
    show.say("The board is as it was when it was saved")


@app.command("monitor")
def show_monitor(port: PortOption = None) -> None:
    """Show what the board says, until Ctrl-C."""
    listen(ports.find(port), sys.stdout)


def main() -> None:
    try:
        app()
    except GatewayError as error:
        print(f"flash.py: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("flash.py: ended before anything was written", file=sys.stderr)
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
