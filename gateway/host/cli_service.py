"""Commands around the running service: status, backfill, install-service, uninstall-service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

RootOption = Annotated[
    Path, typer.Option(metavar="DIR", help="Write below DIR, as for an image, and run nothing.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="The configuration of the running gateway."),
]
MeterOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="The meter, where the gateway has several.")
]
GatewayOption = Annotated[str | None, typer.Option(metavar="ID", help="The gateway, where several run here.")]


def add_to(app: typer.Typer) -> None:
    """Make them commands of `app`."""
    app.command()(status)
    app.command()(backfill)
    app.command()(install_service)
    app.command()(uninstall_service)


def status(
    config: ConfigOption = None,
    gateway: GatewayOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As docs/status.md has it.")] = False,
) -> None:
    """How the running gateway is: its meters, the broker, and what waits to be sent."""
    from . import ask

    asyncio.run(ask.status(config, gateway, as_json))


def backfill(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="load-profile, events, self-reads or mbus.")],
    begin: Annotated[str, typer.Option("--from", metavar="TIME", help="As in 2026-01-01T00:00:00Z.")],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="Not before --from.")],
    meter: MeterOption = None,
    config: ConfigOption = None,
    gateway: GatewayOption = None,
) -> None:
    """Have the running gateway read once more what a meter stored in that time, and send it."""
    from . import ask

    asyncio.run(ask.backfill(kind, begin, end, meter, config, gateway))


def install_service(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="A configuration to begin with; else an example."
        ),
    ] = None,
    user: Annotated[str, typer.Option(metavar="NAME", help="The user it runs as.")] = "osgp-gateway",
    dry_run: DryRunOption = False,
    root: RootOption = Path("/"),
    program: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The command the service runs; else this one.")
    ] = None,
) -> None:
    """Make the gateway a service of systemd, with a user of its own. May be repeated."""
    from . import install

    install.install(config, user, root, program, dry_run)


def uninstall_service(dry_run: DryRunOption = False, root: RootOption = Path("/")) -> None:
    """Take the service away; configuration, keys and what has not been sent stay."""
    from . import install

    install.uninstall(root, dry_run)
