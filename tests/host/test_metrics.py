"""Metrics and health as Prometheus and a monitor read them, of a gateway in memory."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import clock
from gateway.core.gateway import Gateway
from gateway.core.memory_outbox import MemoryOutbox
from gateway.errors import BrokerError, ConfigurationError
from gateway.host.metrics import Metrics
from gateway.host.metrics_server import MetricsServer
from gateway.host.status import WholeStatus
from tests import virtual_loop
from tests.memory_broker import MemoryBroker
from tests.portable.test_core_gateway import House

NOON = 1_719_835_200_000
SECOND = 1000
MINUTE = 60 * SECOND

Samples = dict[tuple[str, ...], float]


class Bench:
    """A gateway with the meters 111 and 222 in virtual time."""

    def __init__(self) -> None:
        self.house = House()
        self.broker = MemoryBroker()
        self.lines: list[str] = []

    def run(self, script: Callable[[], Awaitable[None]]) -> None:
        virtual_loop.run(lambda: self._run(script), NOON)

    async def _run(self, script: Callable[[], Awaitable[None]]) -> None:
        self.gateway = Gateway(
            "here",
            [self.house.settings("111"), self.house.settings("222")],
            self.broker,
            MemoryOutbox(1_000_000),
            lambda level, text: self.lines.append(text),
        )
        self.status = WholeStatus(self.gateway)
        self.metrics = Metrics(self.status)
        tasks = [asyncio.create_task(self.gateway.run()), asyncio.create_task(self.status.run())]
        try:
            await script()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def samples(self) -> Samples:
        """By name and label values, in the order of the labels' names."""
        content, text = self.metrics.read()
        assert content.startswith("text/plain; version=")
        found: Samples = {}
        for family in text_string_to_metric_families(text.decode()):
            assert family.documentation and family.type in ("gauge", "counter", "info"), family
            for sample in family.samples:
                key = sample.name, *(sample.labels[name] for name in sorted(sample.labels))
                assert key not in found, f"{key} comes twice"
                found[key] = sample.value
        return found


def states(samples: Samples, name: str) -> list[tuple[str, ...]]:
    return [key[1:] for key, value in samples.items() if key[0] == name and value == 1]


def test_what_works_and_what_does_not():
    bench = Bench()
    bench.house.absent.add("222")

    async def script() -> None:
        await clock.sleep_ms(10 * MINUTE)
        found = bench.samples()
        assert states(found, "osgp_meter_state") == [("111", "working"), ("222", "link-gone")]
        assert states(found, "osgp_broker_state") == [("working",)]
        assert found["osgp_kind_stale", "present", "111"] == 0
        assert found["osgp_kind_stale", "present", "222"] == 1
        assert found["osgp_kind_last_reading_timestamp_seconds", "present", "111"] == NOON / 1000 + 540
        assert ("osgp_kind_last_reading_timestamp_seconds", "present", "222") not in found
        assert found["osgp_meter_failures_total", "222"] > 10
        assert found["osgp_meter_state_since_timestamp_seconds", "222"] == NOON / 1000
        assert (
            NOON / 1000 + 530
            <= found["osgp_broker_last_acknowledgement_timestamp_seconds",]
            <= NOON / 1000 + 600
        )
        assert found["osgp_outbox_pending_frames",] == 0
        assert found["osgp_gateway_healthy",] == 0
        assert found["process_resident_memory_bytes",] > 0
        said = bench.status()
        assert said["problems"] == ["222: link-gone: no port for 222"]

    bench.run(script)


def test_counters_never_fall_while_everything_breaks_and_mends():
    bench = Bench()

    async def script() -> None:
        before: Samples = {}
        for turn in range(24):
            await clock.sleep_ms(20 * SECOND)
            found = bench.samples()
            for key, value in before.items():
                if key[0].endswith("_total"):
                    assert found[key] >= value, key
            before = found
            if turn % 4 == 1:
                bench.house.absent.add("111")
                bench.broker.lose_connection()
            elif turn % 4 == 3:
                bench.house.absent.clear()
        assert before["osgp_broker_connections_total",] > 4
        assert before["osgp_meter_failures_total", "111"] > 4

    bench.run(script)


def test_how_long_frames_wait():
    bench = Bench()

    async def script() -> None:
        await clock.sleep_ms(10 * MINUTE)
        assert bench.samples()["osgp_outbox_oldest_pending_age_seconds",] == 0
        bench.broker.refuses = BrokerError("away")
        bench.broker.lose_connection()
        since = clock.utc_ms()
        await clock.sleep_ms(60 * MINUTE)
        found = bench.samples()
        assert found["osgp_outbox_pending_frames",] >= 2 * 60
        age = found["osgp_outbox_oldest_pending_age_seconds",]
        # The first frame after the connection was lost came within a minute.
        assert -60 <= age - (clock.utc_ms() - since) / 1000 <= 20
        assert bench.status()["problems"] == ["broker: gone: away"]
        bench.broker.refuses = None
        await clock.sleep_ms(MINUTE)
        found = bench.samples()
        assert (found["osgp_outbox_pending_frames",], found["osgp_outbox_oldest_pending_age_seconds",]) == (
            0,
            0,
        )

    bench.run(script)


def test_series_grow_with_meters_and_nothing_else():
    bench = Bench()

    async def script() -> None:
        await clock.sleep_ms(MINUTE)
        names = set(bench.samples())
        for turn in range(20):
            (bench.house.absent.add if turn % 2 else bench.house.absent.discard)("111")
            await clock.sleep_ms(MINUTE)
        assert {key for key in bench.samples() if not key[0].endswith("_info")} - names == set()
        assert len(names) < 200

    bench.run(script)


class Said:
    """A status that a test sets."""

    def __init__(self, status: dict) -> None:
        self.status = status

    def __call__(self) -> dict:
        return self.status


@pytest.fixture(scope="module")
def status() -> dict:
    bench = Bench()
    found = []

    async def script() -> None:
        await clock.sleep_ms(MINUTE)
        found.append(bench.status())

    bench.run(script)
    return found[0]


async def ask(url: str, request: bytes) -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    assert int(headers["Content-Length"]) == len(body)
    return int(first.split()[1]), headers, body


async def test_health_and_metrics_over_http(status: dict):
    said = Said(status)
    async with MetricsServer("127.0.0.1", 0, said) as server:
        code, headers, body = await ask(server.url, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (code, headers["Content-Type"]) == (200, "application/json")
        assert json.loads(body) == {"healthy": True, "problems": []}
        said.status = status | {"healthy": False, "problems": ["house: silent: no answer"]}
        code, _, body = await ask(server.url, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (code, json.loads(body)["problems"]) == (503, ["house: silent: no answer"])
        code, headers, body = await ask(server.url, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert code == 200 and headers["Content-Type"].startswith("text/plain; version=")
        assert b"osgp_gateway_healthy 0.0" in body
        code, headers, body = await ask(
            server.url,
            b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n",
        )
        assert headers["Content-Type"].startswith("application/openmetrics-text")
        assert body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\xff" * 2000 + b"\r\n\r\n", 400),
    ],
)
async def test_requests_for_something_else(status: dict, request_bytes: bytes, code: int):
    async with MetricsServer("127.0.0.1", 0, Said(status)) as server:
        assert (await ask(server.url, request_bytes))[0] == code


async def test_an_address_that_is_taken(status: dict):
    async with MetricsServer("127.0.0.1", 0, Said(status)) as server:
        with pytest.raises(
            ConfigurationError, match=r"\[metrics\] listen: can't listen on .* another gateway"
        ):
            await MetricsServer("127.0.0.1", urlsplit(server.url).port, Said(status)).__aenter__()


def names_in(text: str) -> set[str]:
    """Names of metrics, with {a,b} written out."""
    found = set()
    for begin, middle, end in re.findall(r"(osgp_[a-z_]*)(?:\{([a-z_,]+)\}(_[a-z_]+))?", text):
        found.update(begin + each + end for each in middle.split(","))
    return found


def test_documentation_and_alert_rules_name_the_metrics_that_there_are(status: dict):
    local = dict.fromkeys(
        ("frames", "readings", "relayed", "refused", "strangers", "full", "lost", "dropped"), 0
    )
    local |= {"state": "working", "sinceMs": NOON, "failures": 0, "meters": 1}
    whole = status | {"local": local, "broker": status["broker"] | {"certificateMs": NOON}}
    text = Metrics(Said(whole)).read()[1].decode()
    known = set(re.findall(r"^(osgp_\w+)", text, re.MULTILINE))
    root = Path(__file__).parents[2]
    documented = names_in((root / "docs/status.md").read_text().split("| metric |")[1])
    assert known - {"osgp_local_state_since_timestamp_seconds"} == documented - {"osgp_local_state_"}
    rules = names_in(re.sub(r"\{[a-z]+[=!].*?\}", "", (root / "deploy/osgp-gateway.rules.yml").read_text()))
    assert rules and rules <= known
