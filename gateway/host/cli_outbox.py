"""Commands around an outbox's directory: outbox show, outbox replay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

outbox = typer.Typer(help="Look into an outbox, also one copied from a board, or send what it holds.")

DirectoryArgument = Annotated[Path | None, typer.Argument(metavar="DIR", help="The outbox's directory.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration of a gateway.")
]


def add_to(app: typer.Typer) -> None:
    """Make them commands of `app`."""
    app.add_typer(outbox, name="outbox")


@outbox.command()
def show(
    directory: DirectoryArgument = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """What it holds, by meter and by file; changes nothing, also while the gateway runs."""
    from . import outbox_command

    outbox_command.show(outbox_command.place(directory, config), as_json)


@outbox.command()
def replay(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The outbox's directory.")],
    config: ConfigOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write frames for `decode` instead of sending them.")
    ] = None,
    seconds: Annotated[int, typer.Option(min=1, help="How long receipts may take to come.")] = 600,
) -> None:
    """Send what is pending in it to the configured broker, and wait for the receipts."""
    from . import logs, outbox_command

    logs.set_up()
    outbox_command.replay(directory, config, out, seconds)
