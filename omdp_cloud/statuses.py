"""What gateways say of themselves and of their meters: retained, best effort, the newest of each is kept."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .schema import gateway_status
from .writer import Writer, insert

MAX_PAYLOAD = 8 * 1024
MAX_TEXT = 256
# Beyond this many, new ones are not kept: nobody may fill the disk by making up names.
MAX_STATUSES = 100_000


@dataclass(frozen=True)
class Status:
    """`meter`: empty for the gateway as a whole. `since`: UTC seconds, where the gateway says so. An empty
    `payload` takes the status away."""

    gateway: str
    meter: bytes
    state: str
    reason: str
    since: int | None
    payload: bytes


def parse(gateway: str, meter: bytes, payload: bytes) -> Status | None:
    """None for what is no status: a JSON object with a state."""
    if len(gateway) > MAX_TEXT or len(payload) > MAX_PAYLOAD:
        return None
    if not payload:
        return Status(gateway, meter, "", "", None, b"")
    try:
        said: Any = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    state, reason, since = said.get("state"), said.get("reason", ""), said.get("since")
    if not isinstance(state, str) or not isinstance(reason, str) or "\0" in state + reason:
        return None
    if not isinstance(since, int) or isinstance(since, bool) or not 0 <= since < 1 << 40:
        since = None
    try:
        (gateway + state + reason).encode()
    except UnicodeEncodeError:
        return None
    return Status(gateway, meter, state[:MAX_TEXT], reason[:MAX_TEXT], since, payload)


def keep(writer: Writer, statuses: Sequence[Status], now: int) -> int:
    """Keeps the last of each; how many found no room. A state that is told again keeps its `since` where the
    gateway itself names none."""
    newest = {(status.gateway, status.meter): status for status in statuses}
    if not newest:
        return 0
    table = gateway_status
    known = {
        (row.gateway, row.meter_individual_id): row
        for row in writer.connection.execute(
            sa.select(table.c.gateway, table.c.meter_individual_id, table.c.state, table.c.since).where(
                sa.tuple_(table.c.gateway, table.c.meter_individual_id).in_(list(newest))
            )
        )
    }
    gone = [key for key, status in newest.items() if not status.payload]
    rows = []
    refused = 0
    room = MAX_STATUSES
    if len(known) < len(newest) - len(gone):
        room -= writer.connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
    for key, status in newest.items():
        if not status.payload:
            continue
        before = known.get(key)
        if before is None:
            if room <= 0:
                refused += 1
                continue
            room -= 1
        since = status.since
        if since is None:
            since = before.since if before is not None and before.state == status.state else now
        rows.append(
            {
                "gateway": status.gateway,
                "meter_individual_id": status.meter,
                "state": status.state,
                "reason": status.reason,
                "since": since,
                "received_at": now,
                "payload": status.payload,
            }
        )
    if rows:
        statement = insert(writer.connection, table)
        new = {
            name: statement.excluded[name] for name in ("state", "reason", "since", "received_at", "payload")
        }
        writer.connection.execute(
            statement.on_conflict_do_update(
                index_elements=[table.c.gateway, table.c.meter_individual_id], set_=new
            ),
            rows,
        )
    if gone:
        writer.connection.execute(
            table.delete().where(
                table.c.gateway == sa.bindparam("g"), table.c.meter_individual_id == sa.bindparam("m")
            ),
            [{"g": gateway, "m": meter} for gateway, meter in gone],
        )
    return refused
