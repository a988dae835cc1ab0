"""Virtual meters with eventful weeks behind them, in which time stands still until hours are let pass."""

import json
from datetime import datetime

from gateway.simulator.generations import generation
from gateway.simulator.meter import VirtualMeter
from gateway.simulator.optical_session import OpticalKeys
from gateway.simulator.profile import standard
from gateway.simulator.profile_tables import sets_of
from tests.mep_fakes import KEY

PASSWORD = b"the unique key of it"
# A season ends on the 1st of March, summer time begins on the 31st, a month ends on the day after.
SPRING = ("2024-02-28T12:00:00+00:00", "2024-04-03T12:20:30+00:00")
# Summer time ends on the 27th of October: an hour comes twice.
AUTUMN = ("2024-10-25T12:00:00+00:00", "2024-11-02T12:20:30+00:00")
# The same as in spring, and what is left of it after a wild night is little: for whom reading takes long.
NIGHT = (SPRING[0], "2024-04-02T04:20:30+00:00")

# When, what happens, and with what.
_SPRING_LIFE = (
    ("03-05T10:00", "flood"),
    ("03-29T06:00", "configure_profile", 1, 4),
    ("03-29T15:00", "reset_demands"),
    ("03-29T20:13", "cut_power", 5),
    ("03-30T03:20", "cut_power", 2400),
    ("03-30T08:00", "configure_profile", 4, 4),
    ("03-30T10:03", "move_clock", 420),
    ("03-30T14:30", "move_clock", -300),
    ("03-31T00:40", "cut_power", 3000),
    ("03-31T21:58", "cut_power", 1200),
    ("04-01T09:00", "lose_device", 1),
    ("04-01T13:30", "find_device", 1),
    ("04-01T20:00", "set_device_status", 0, 4),
    ("04-02T06:00", "clear_device_alarms", 1),
    ("04-02T09:00", "set_alarm", "magnetic tamper"),
    ("04-02T09:30", "clear_alarm", "magnetic tamper"),
    ("04-02T10:00", "self_read"),
    ("04-02T11:00", "set_alarm", "cover removed"),
    ("04-02T15:00", "move_clock", 7260),
    ("04-02T22:10", "move_clock", -7200),
    ("04-03T06:30", "lose_device", 1),
    ("04-03T08:30", "find_device", 1),
    ("04-03T09:00", "move_clock", -63),
)
_NIGHT_LIFE = (
    *(happening for happening in _SPRING_LIFE[1:] if happening[0] < "04-01T20"),
    ("04-01T20:30", "clear_device_alarms", 1),
    ("04-01T21:00", "set_alarm", "magnetic tamper"),
    ("04-01T21:10", "clear_alarm", "magnetic tamper"),
    ("04-01T21:20", "self_read"),
    ("04-01T21:30", "set_alarm", "cover removed"),
    ("04-01T23:30", "configure_profile", 4, 3),
    ("04-02T00:10", "move_clock", 7260),
    ("04-02T00:45", "cut_power", 600),
    ("04-02T01:50", "move_clock", -7200),
    ("04-02T02:20", "lose_device", 1),
    ("04-02T03:40", "find_device", 1),
    ("04-02T03:45", "set_device_status", 0, 4),
)
_AUTUMN_LIFE = (
    ("10-26T06:00", "flood"),
    ("10-26T20:13", "cut_power", 90),
    ("10-27T00:30", "self_read"),
    ("10-27T00:40", "cut_power", 3000),
    ("10-27T12:00", "configure_profile", 4, 2),
    ("10-28T03:20", "cut_power", 7200),
    ("10-29T10:03", "move_clock", 4),
    ("10-31T11:00", "set_alarm", "phase loss"),
    ("11-01T08:00", "lose_device", 0),
    ("11-02T05:50", "cut_power", 1500),
    ("11-02T10:03", "move_clock", -4),
)
# And then, seconds after the first reading.
_LATER = (
    (600, "clear_alarm", "cover removed"),
    (601, "clear_alarm", "phase loss"),
    (660, "set_alarm", "reverse energy"),
    (700, "find_device", 0),
    (1500, "cut_power", 1000),
    (3600, "self_read"),
    (4000, "log_event", 2061, 0x1234),
    (5000, "lose_device", 1),
    (8000, "find_device", 1),
    (9000, "configure_profile", 2, 3),
    (11_000, "cut_power", 3600),
    (15_000, "move_clock", 63),
    (16_000, "reset_demands"),
)
_LATER_MS = 19_000_000
_LIVES = {SPRING: _SPRING_LIFE, AUTUMN: _AUTUMN_LIFE, NIGHT: _NIGHT_LIFE}
# Load profiles with end readings, scalars and divisors.
WITH_EXTRAS = ("3.50", "4.30")


class World:
    """A virtual meter after its eventful weeks; `later` lets hours pass."""

    def __init__(self, firmware, season, security, options, seed=4):
        begin, now = (int(datetime.fromisoformat(text).timestamp()) * 1000 for text in season)
        blocks = 3 if season is NIGHT else 5
        self.ms = 0
        g = generation(firmware, **options)
        self.meter = VirtualMeter(
            KEY,
            seed=seed,
            firmware=g,
            start_ms=begin,
            solar_peak_w=4000,
            profile=standard(sets_of(g), 1 if season is AUTUMN else 0, blocks=blocks),
            life=list(_happenings(season, firmware in WITH_EXTRAS, blocks)),
            monotonic=lambda: self.ms,
            optical_keys=OpticalKeys(PASSWORD, None, None),
            security=security,
        )
        self.ms = now - begin
        self.meter.run_ms()

    def later(self):
        now = self.meter.run_ms()
        for seconds, name, *arguments in _LATER:
            if name == "configure_profile":
                arguments[0] = min(arguments[0], sets_of(self.meter.generation))
            self.meter.at(now + 1000 * seconds, name, *arguments)
        self.ms += _LATER_MS

    def truth(self):
        """As its file says it."""
        return json.loads(json.dumps(self.meter.truth_document()))


def _happenings(season, extras, blocks):
    """`extras`: the load profile has end readings, scalars and divisors."""
    life = _LIVES[season]
    for day, name, *arguments in life:
        at = int(datetime.fromisoformat("2024-%s:00+00:00" % day).timestamp()) * 1000
        if name == "flood":  # more events than a log holds
            for nth in range(210):
                yield at + 1000 * nth, "log_event", (2048 + nth, nth)
        elif name == "configure_profile":
            sets, days = arguments
            yield at, name, (sets, min(days, blocks), extras)
        else:
            yield at, name, tuple(arguments)
