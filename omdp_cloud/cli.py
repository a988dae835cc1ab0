"""The command omdp-cloud."""

import asyncio
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from .errors import CloudError

_END_SECONDS = 4.7

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    # Its tracebacks show local variables, and among those may be a key.
    pretty_exceptions_enable=False,
    help="The Cloud of the Open Meter Data Platform.",
)


@app.callback()
def _cloud() -> None:
    pass


@app.command()
def serve(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="TOML file; default: everything on loopback")
    ] = None,
) -> None:
    """Takes readings from the broker into the database and gives receipts; until Ctrl-C."""
    from .config import load
    from .service import serve as serve_forever

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")

    async def until_stopped() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop_with, stopping)
        await serve_forever(load(config), stopping)
        logging.getLogger(__name__).info("stopped")

    def stop_with(stopping: asyncio.Event) -> None:
        stopping.set()
        # A disk that does not answer holds up a thread that nobody can end. What is committed stands.
        late = threading.Timer(_END_SECONDS, give_up)
        late.daemon = True
        late.start()

    def give_up() -> None:
        logging.getLogger(__name__).warning("ended without waiting any longer")
        os._exit(1)

    asyncio.run(until_stopped())


@app.command()
def command(
    meter: Annotated[str, typer.Argument(metavar="METER", help="its MeterIndividualId")],
    action: Annotated[
        str,
        typer.Argument(
            metavar="ACTION",
            help="read-now KIND | backfill KIND FROM TO | set-interval KIND DURATION | self-test | update",
        ),
    ],
    words: Annotated[list[str] | None, typer.Argument(metavar="[ARGUMENTS]...", show_default=False)] = None,
    wait: Annotated[
        float | None,
        typer.Option(min=1, max=86400, help="seconds to wait for the result; 60, for an update 1200"),
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="what to update with, of tools/bundle.py")] = None,
    lower: Annotated[bool, typer.Option(help="update to a version below the one that runs")] = False,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="TOML file; default: everything on loopback")
    ] = None,
) -> None:
    """Commands the gateway that reads a meter, and prints how that ended; exit code 0: it was done."""
    from .command_line import run
    from .config import load

    raise typer.Exit(asyncio.run(run(load(config), meter, action, words or [], wait, bundle, lower)))


def main() -> None:
    try:
        app()
    except CloudError as error:
        print(f"omdp-cloud: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
