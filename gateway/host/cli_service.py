"""Commands around the running service: install-service, uninstall-service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RootOption = Annotated[
    Path, typer.Option(metavar="DIR", help="Write below DIR, as for an image, and run nothing.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


def add_to(app: typer.Typer) -> None:
    """Make them commands of `app`."""
    app.command()(install_service)
    app.command()(uninstall_service)


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
