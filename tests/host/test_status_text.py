"""What people and the service manager are told of the gateway's status."""

from gateway.host.status_text import headline, page, span

NOW = 1_764_000_000_000
KIND = {
    "lastMs": NOW - 8000,
    "ageMs": 8000,
    "intervalMs": 10_000,
    "staleMs": None,
    "problem": "",
    "missed": 0,
}
METER = {
    "name": "house",
    "meterId": "faa04757-898e-5910-8dc8-2eecce8ef393",
    "identity": "ELON 0084624696495953",
    "state": "working",
    "reason": "",
    "sinceMs": NOW - 3_725_000,
    "failures": 0,
    "turnedAtMs": 0,
    "answeredAtMs": 0,
    "security": "tls",
    "driftMs": -8954,
    "link": {"exchanges": 50, "answers": 49, "retries": 1, "resyncs": 0, "reads": 49, "badAnswers": 0},
    "kinds": {"present": KIND, "identity": {**KIND, "intervalMs": None}},
}
BROKER = {
    "state": "working",
    "reason": "",
    "sinceMs": NOW - 60_000,
    "failures": 0,
    "turnedAtMs": 0,
    "connections": 1,
    "acknowledgedAtMs": 95_000,
    "published": 12,
    "certificateMs": 1_770_000_000_000,
}
OUTBOX = {
    "state": "working",
    "reason": "",
    "sinceMs": NOW,
    "failures": 0,
    "turnedAtMs": 0,
    "waiting": 0,
    "usedBytes": 1_600_000,
    "capacityBytes": 256 << 20,
    "pendingFrames": 0,
    "oldestMs": None,
    "droppedFrames": 0,
    "damagedFiles": 0,
}
WELL = {
    "gateway": "cellar",
    "nowMs": NOW,
    "monotonicMs": 100_000,
    "program": {"version": "1", "startedMs": NOW - 90_061_000},
    "healthy": True,
    "problems": [],
    "meters": [METER],
    "broker": BROKER,
    "outbox": OUTBOX,
}


def test_all_is_well():
    assert headline(WELL) == "1 of 1 meter well; broker: working; nothing waits to be sent"
    assert list(page(WELL)) == [
        "gateway cellar, running for 1 d 1 h",
        "  all is well",
        "",
        "meter house: working for 1 h 2 min",
        "  ELON 0084624696495953; tls; its clock is 8.9 s behind; 49 answers to 50 requests, 1 repeated",
        "  present      read 8 s ago, every 10 s",
        "  identity     read 8 s ago",
        "",
        "broker: working for 1 min",
        "  took 12 frames, the last message 5 s ago",
        "  its certificate is good until 2026-02-02T02:40:00Z",
        "outbox: working for 0 s",
        "  nothing waits to be sent; 1.5 of 256.0 MiB used",
    ]


def test_troubles_come_with_what_to_do():
    stale = {**KIND, "staleMs": NOW - 60_000, "missed": 3, "problem": "no permission"}
    silent = {
        **METER,
        "state": "silent",
        "reason": "tried 3 times",
        "failures": 4,
        "kinds": {"present": stale},
    }
    fresh = {**METER, "name": "shed", "identity": "", "driftMs": None, "security": "", "kinds": {}}
    never = {"present": {**KIND, "lastMs": None, "ageMs": None}}
    status = {
        **WELL,
        "healthy": False,
        "problems": ["house: present is stale", "house: silent: tried 3 times"],
        "meters": [silent, {**fresh, "state": "starting", "kinds": never, "link": None}],
        "broker": {
            **BROKER,
            "state": "gone",
            "reason": "refused",
            "acknowledgedAtMs": None,
            "certificateMs": None,
        },
        "outbox": {
            **OUTBOX,
            "state": "failing",
            "reason": "no space",
            "waiting": 2,
            "pendingFrames": 7,
            "oldestMs": NOW - 250_000,
            "droppedFrames": 5,
            "damagedFiles": 1,
        },
    }
    assert headline(status) == (
        "0 of 2 meters well; house: silent; shed: starting; broker: gone; 7 frames wait to be sent, the "
        "oldest for 4 min 10 s; storage fails: no space"
    )
    said = "\n".join(page(status))
    for words in (
        "not all is well:\n    house: present is stale\n\n",
        "silent for 1 h 2 min, tried again 4 times\n  tried 3 times\n  Is the meter powered",
        "read 8 s ago, every 10 s; STALE since 2025-11-24T15:59:00Z; 3 times too late; no permission",
        "not yet said who it is",
        "not read yet, every 10 s",
        "broker: gone for 1 min\n  refused\n",
        "5 frames of present values gave way",
        "1 damaged file was set aside",
    ):
        assert words in said, said


def test_a_concentrator_that_reads_no_meter():
    local = {
        **OUTBOX,
        "meters": 2,
        "frames": 1,
        "strangers": 3,
        "refused": 0,
        "full": 0,
        "lost": 0,
        "dropped": 1,
    }
    status = {**WELL, "meters": [], "local": local, "commands": {"taken": 2, "running": 1, "ignored": 0}}
    assert headline(status).startswith("broker: working; local broker: working; ")
    assert list(page(status))[-5:] == [
        "local broker: working for 0 s",
        "  serves adapters of 2 meters, took 1 frame of them",
        "  3 messages of adapters without a credential: see docs/roles.md",
        "  1 message came faster than they could be taken",
        "commands: 2 taken, 1 running, 0 ignored",
    ]


def test_spans():
    told = {0: "0 s", 59_999: "59 s", 60_000: "1 min", 3_599_000: "59 min 59 s", 3_600_000: "1 h"}
    told |= {86_399_000: "23 h 59 min", 86_400_000: "1 d", 31 * 86_400_000: "31 d", -5: "0 s"}
    assert {ms: span(ms) for ms in told} == told
