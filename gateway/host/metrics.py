"""The gateway's status as Prometheus metrics (docs/status.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

# Every word that `state` may say, so that each has its series and none vanishes.
METER_STATES = (
    "starting",
    "working",
    "idle",
    "link-gone",
    "silent",
    "key-refused",
    "replaced",
    "failing",
    "ended",
)
BROKER_STATES = ("starting", "working", "gone", "unresolved", "untrusted", "refused", "failing", "ended")
STORAGE_STATES = ("starting", "working", "failing", "ended")

Status = dict[str, Any]

# Name, help, field of the status.
_Field = tuple[str, str, str]

_LINK: Sequence[_Field] = (
    ("exchanges", "Exchanges begun with the meter", "exchanges"),
    ("answers", "Exchanges that the meter answered", "answers"),
    ("retries", "Requests that were sent again", "retries"),
    ("bad_answers", "Answers that were not believed", "badAnswers"),
    ("resyncs", "New sequence numbers that the meter gave", "resyncs"),
    ("reads", "Messages charged to the link budget", "reads"),
)
_BROKER: Sequence[_Field] = (
    ("connections", "Connections made", "connections"),
    ("failures", "Connections that failed or were lost", "failures"),
    ("frames_published", "Frames that the broker took", "published"),
    ("refused_receipts", "Receipts that were forged, damaged, or about other frames", "refusedReceipts"),
    ("rewinds", "Times that the receiver had lost what it stored", "rewinds"),
)
_LOCAL: Sequence[_Field] = (
    ("failures", "Connections that failed or were lost", "failures"),
    ("frames", "Frames of adapters", "frames"),
    ("readings", "Readings in JSON that became frames", "readings"),
    ("relayed", "Messages that were relayed", "relayed"),
    ("refused", "Messages that were refused", "refused"),
    ("strangers", "Frames of adapters that are not known", "strangers"),
    ("full", "Frames that the outbox had no room for", "full"),
    ("lost", "Messages that were relayed by nobody", "lost"),
    ("dropped", "Messages that came faster than they were looked at", "dropped"),
)
_OUTBOX_COUNTERS: Sequence[_Field] = (
    ("receipted_frames", "Frames that the receiver has stored", "receipted"),
    ("dropped_frames", "Frames of present values that gave way to newer ones", "droppedFrames"),
    ("damaged_files", "Files that were not as they were written", "damagedFiles"),
    ("torn_bytes", "Bytes that power had taken in the middle of a write", "tornBytes"),
    ("failures", "Syncs that failed", "failures"),
)
_OUTBOX_GAUGES: Sequence[_Field] = (
    ("used_bytes", "Bytes taken", "usedBytes"),
    ("capacity_bytes", "Bytes there are", "capacityBytes"),
    ("pending_frames", "Frames that wait for a receipt", "pendingFrames"),
)


class Metrics:
    """`status`: gives the whole status. `read(accept)`: content type and text of all metrics, `accept` as in
    the request's header."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def read(self, accept: str = "") -> tuple[str, bytes]:
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        yield from _gateway(status)
        yield from _meters(status)
        yield from _kinds(status["meters"])
        yield from _part("broker", status["broker"], _BROKER, BROKER_STATES)
        yield from _broker(status)
        if "local" in status:
            yield from _part("local", status["local"], _LOCAL, BROKER_STATES)
            yield _gauge(
                "local_meters", "Meters that adapters have told of", [((), status["local"]["meters"])]
            )
        yield from _part("outbox", status["outbox"], _OUTBOX_COUNTERS, STORAGE_STATES)
        yield from _outbox(status)


def _gauge(
    name: str,
    text: str,
    samples: Iterable[tuple[Sequence[str], float | None]],
    labels: Sequence[str] = (),
    unit: int = 1,
) -> Metric:
    """Samples without a value are left out."""
    family = GaugeMetricFamily("osgp_" + name, text, labels=labels)
    for values, value in samples:
        if value is not None:
            family.add_metric(values, value / unit)
    return family


def _counter(
    name: str,
    text: str,
    samples: Iterable[tuple[Sequence[str], int]],
    labels: Sequence[str] = (),
) -> Metric:
    family = CounterMetricFamily("osgp_" + name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _states(
    name: str,
    text: str,
    ones: Iterable[tuple[Sequence[str], str]],
    labels: Sequence[str],
    words: Sequence[str],
) -> Metric:
    """1 for the state that is, 0 for the others."""
    samples = [((*values, word), float(word == state)) for values, state in ones for word in words]
    return _gauge(name, text, samples, (*labels, "state"))


def _part(name: str, one: Status, counters: Sequence[_Field], words: Sequence[str]) -> Iterator[Metric]:
    yield _states(f"{name}_state", "1 for the state that is", [((), one["state"])], (), words)
    yield _gauge(
        f"{name}_state_since_timestamp_seconds",
        "Since when it is in its state",
        [((), one["sinceMs"])],
        (),
        1000,
    )
    for what, text, field in counters:
        yield _counter(f"{name}_{what}", text, [((), one[field])])


def _gateway(status: Status) -> Iterator[Metric]:
    program = status["program"]
    yield InfoMetricFamily(
        "osgp_gateway",
        "The program",
        value={"id": status["gateway"], "version": program["version"]},
    )
    yield _gauge("gateway_start_timestamp_seconds", "When it started", [((), program["startedMs"])], (), 1000)
    yield _gauge("gateway_healthy", "Whether the health endpoint says so", [((), int(status["healthy"]))])


def _meters(status: Status) -> Iterator[Metric]:
    meters = status["meters"]
    info = InfoMetricFamily("osgp_meter", "Who the meter is, and what guards its answers", labels=["meter"])
    for one in meters:
        about = {"meter_id": one["meterId"], "identity": one["identity"], "security": one["security"]}
        info.add_metric([one["name"]], about)
    yield info
    named = [((one["name"],), one) for one in meters]
    yield _states(
        "meter_state",
        "1 for the state that is",
        [(name, one["state"]) for name, one in named],
        ("meter",),
        METER_STATES,
    )
    yield _gauge(
        "meter_state_since_timestamp_seconds",
        "Since when it is in its state",
        [(name, one["sinceMs"]) for name, one in named],
        ("meter",),
        1000,
    )
    yield _gauge(
        "meter_last_answer_timestamp_seconds",
        "When the last answer came that was proven to be the meter's",
        [(name, _utc(status, one["answeredAtMs"])) for name, one in named],
        ("meter",),
        1000,
    )
    yield _gauge(
        "meter_clock_drift_seconds",
        "The meter's clock minus the gateway's",
        [(name, one["driftMs"]) for name, one in named],
        ("meter",),
        1000,
    )
    yield _counter(
        "meter_failures",
        "Connections that failed or were lost",
        [(name, one["failures"]) for name, one in named],
        ("meter",),
    )
    for what, text, field in _LINK:
        samples = [(name, one["link"][field]) for name, one in named]
        yield _counter(f"meter_{what}", text, samples, ("meter",))


def _kinds(meters: Sequence[Status]) -> Iterator[Metric]:
    named = [((one["name"], kind), its) for one in meters for kind, its in one["kinds"].items()]
    labels = ("meter", "kind")
    yield _gauge(
        "kind_last_reading_timestamp_seconds",
        "When readings of a kind were read last",
        [(name, its["lastMs"]) for name, its in named],
        labels,
        1000,
    )
    yield _gauge(
        "kind_stale",
        "1 for a kind that was not read for too long",
        [(name, int(its["staleMs"] is not None)) for name, its in named],
        labels,
    )
    yield _gauge(
        "kind_problem",
        "1 for a kind that can't be read",
        [(name, int(bool(its["problem"]))) for name, its in named],
        labels,
    )
    yield _counter(
        "kind_missed", "Slots that came too late", [(name, its["missed"]) for name, its in named], labels
    )


def _broker(status: Status) -> Iterator[Metric]:
    one = status["broker"]
    yield _gauge(
        "broker_last_acknowledgement_timestamp_seconds",
        "When the broker acknowledged something last",
        [((), _utc(status, one["acknowledgedAtMs"]))],
        (),
        1000,
    )
    yield _gauge(
        "broker_certificate_expiry_timestamp_seconds",
        "When the certificate ends that the broker showed last",
        [((), one["certificateMs"])],
        (),
        1000,
    )


def _outbox(status: Status) -> Iterator[Metric]:
    one = status["outbox"]
    for what, text, field in _OUTBOX_GAUGES:
        yield _gauge(f"outbox_{what}", text, [((), one[field])])
    yield _gauge(
        "outbox_last_sync_timestamp_seconds", "When it was synced last", [((), one["syncedMs"])], (), 1000
    )
    oldest = one["oldestMs"]
    age = 0 if oldest is None else max(status["nowMs"] - oldest, 0)
    yield _gauge(
        "outbox_oldest_pending_age_seconds", "For how long the oldest of them waits", [((), age)], (), 1000
    )


def _utc(status: Status, monotonic: int | None) -> int | None:
    """The UTC time, in ms, of a moment on the monotonic clock."""
    return None if monotonic is None else int(status["nowMs"]) - int(status["monotonicMs"]) + monotonic
