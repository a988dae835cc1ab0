"""`omdp-cloud serve`: engine (where no broker is named), storage and ingress together."""

import asyncio
import contextlib
import logging

from gateway.transmission.custody import hop_key
from gateway.transmission.sealing import key_id

from . import engine
from .commands import CommandStore
from .config import Broker, Commands, Settings, read_secret
from .errors import BusyError
from .ingest import Ingest, Report
from .receiver import FIRST_STORAGE_WAIT_SECONDS, LONGEST_STORAGE_WAIT_SECONDS, Receiver
from .results import collect_forever
from .states import Counts, State
from .storage import Storage

log = logging.getLogger(__name__)


async def serve(settings: Settings, stopping: asyncio.Event) -> None:
    """Until `stopping` is set; everything that was receipted is committed then. Raises CloudError when it
    can't start."""
    async with contextlib.AsyncExitStack() as stack:
        keys = _hop_keys(settings)
        storage = await _opened(settings, stopping)
        if storage is None:
            return
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
        reports = _Reports()
        receiver = Receiver(broker, Ingest(storage, keys), reports.add, stopping)
        stack.callback(reports.say)
        receiving = asyncio.ensure_future(receiver.run())
        await asyncio.wait(
            (receiving, asyncio.ensure_future(stopping.wait())), return_when=asyncio.FIRST_COMPLETED
        )
        if not receiving.done():
            waits = f"waits for {receiver.doing}" if receiver.doing else "nothing is left to do"
            log.info("ending: %s", waits)
        await receiving


async def _opened(settings: Settings, stopping: asyncio.Event) -> Storage | None:
    """The storage; None when it is to end before that. A database that others have locked, or whose disk is
    full, is waited for."""
    state = State(log, "database", "waiting for it")
    wait = FIRST_STORAGE_WAIT_SECONDS
    while not stopping.is_set():
        try:
            storage = await Storage.open(settings.database.url)
        except BusyError as error:
            state.fails(error)
        else:
            state.works()
            return storage
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await stopping.wait()
        wait = min(2 * wait, LONGEST_STORAGE_WAIT_SECONDS)
    return None


def _hop_keys(settings: Settings) -> dict[bytes, bytes]:
    file = settings.custody.credential_file
    if file is None:
        log.warning("no [custody] credential_file: senders get no receipts and keep what they sent")
        return {}
    key = hop_key(read_secret(file))
    return {key_id(key): key}


class _Reports:
    """Says what became of messages; what happens often, once a minute."""

    def __init__(self) -> None:
        self._counts = Counts(log)

    def add(self, report: Report) -> None:
        outcome = report.outcome
        for text, count in (
            ("%d messages could not be taken; see the table dead_letter", report.dead_letters),
            ("%d readings came again with other content and are kept as revisions", outcome.revised),
            ("%d asks or statuses were wrong, or too many, and are refused", report.refused),
        ):
            self._counts.add(text, count)
        log.debug("%d stored, %d known already, %d not for us", outcome.stored, outcome.known, report.ignored)

    def say(self) -> None:
        self._counts.say(everything=True)
