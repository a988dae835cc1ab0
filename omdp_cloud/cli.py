"""The command omdp-cloud."""

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from .errors import CloudError

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
        task = asyncio.ensure_future(serve_forever(load(config)))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            logging.getLogger(__name__).info("stopped")

    asyncio.run(until_stopped())


def main() -> None:
    try:
        app()
    except CloudError as error:
        print(f"omdp-cloud: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
