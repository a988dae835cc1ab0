"""`omdp-cloud serve`: engine (where no broker is named), storage and ingress together."""

import asyncio
import contextlib
import logging

from gateway.transmission.custody import hop_key
from gateway.transmission.sealing import key_id

from . import engine
from .commands import CommandStore
from .config import Broker, Commands, Settings, read_secret
from .ingest import Ingest, Report
from .receiver import receive_forever
from .results import collect_forever
from .storage import Storage

log = logging.getLogger(__name__)


async def serve(settings: Settings) -> None:
    """Until cancelled. Raises CloudError when it can't start."""
    async with contextlib.AsyncExitStack() as stack:
        keys = _hop_keys(settings)
        storage = await Storage.open(settings.database.url)
        stack.push_async_callback(storage.close)
        broker = settings.broker
        if broker is None:
            port = await stack.enter_async_context(engine.running(settings.engine))
            broker = Broker(url=f"mqtt://127.0.0.1:{port}")
        # One line that other programs wait for.
        print(f"omdp-cloud: broker {broker.url}, database {settings.database.url}", flush=True)
        if settings.commands != Commands():
            store = CommandStore(settings.database.url)
            collecting = asyncio.create_task(collect_forever(broker, settings.commands, store))
            stack.callback(collecting.cancel)
        await receive_forever(broker, Ingest(storage, keys), _log_report)


def _hop_keys(settings: Settings) -> dict[bytes, bytes]:
    file = settings.custody.credential_file
    if file is None:
        log.warning("no [custody] credential_file: senders get no receipts and keep what they sent")
        return {}
    key = hop_key(read_secret(file))
    return {key_id(key): key}


def _log_report(report: Report) -> None:
    outcome = report.outcome
    if report.dead_letters:
        log.warning("%d messages could not be taken; see the table dead_letter", report.dead_letters)
    if outcome.revised:
        log.warning("%d readings came again with other content and are kept as revisions", outcome.revised)
    log.debug("%d stored, %d known already", outcome.stored, outcome.known)
