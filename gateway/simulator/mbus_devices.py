"""Two M-Bus meters behind the virtual meter: one for water, one for heat, with telegrams of EN 13757-3.

What they count is a function of time alone, so asking twice or never makes no difference.
"""

from random import Random

from .calendar import DAY_MS, HOUR_MS, LocalTime, utc_datetime
from .mbus_types import DATA_TYPES

# Shares of a day's use by hour; each adds up to 1000.
_WATER_SHARES = (2, 0, 0, 1, 3, 20, 90, 130, 80, 40, 30, 30, 50, 40, 20, 20, 40, 80, 110, 90, 60, 40, 20, 4)
_HEAT_SHARES = (
    25,
    20,
    20,
    20,
    30,
    60,
    80,
    80,
    60,
    45,
    35,
    30,
    30,
    30,
    30,
    35,
    45,
    55,
    65,
    65,
    55,
    40,
    25,
    20,
)

# Since when they count: in May 1997.
_FIRST_DAY = 10_000

WATER = 7
HEAT = 4


class Device:
    """An M-Bus meter. `handle` is the OSGP meter's name for it, `index` its slot."""

    def __init__(self, seed: int, index: int, medium: int, maker: str, version: int) -> None:
        chance = Random("%d m-bus %d" % (seed, index))
        self.index = index
        self.handle = index + 1
        self.medium = medium
        self.identification = "%08d" % chance.randrange(10**8)
        self.status = 0
        self.access = chance.randrange(256)
        self.missing = False
        self.maker = maker
        first, second, third = (ord(letter) - 64 for letter in maker)
        self._maker = first << 10 | second << 5 | third
        self._version = version
        self._opening = chance.randrange(50_000, 900_000)
        self._a_day = chance.randrange(280, 520)
        self._scale = 1 if medium == WATER else 8
        self._shares = _WATER_SHARES if medium == WATER else _HEAT_SHARES

    def amount(self, local_ms: int) -> int:
        """Litres, or hundredths of a kilowatt hour, counted up to a moment."""
        day, in_day = divmod(local_ms, DAY_MS)
        hour, in_hour = divmod(in_day, HOUR_MS)
        shares = sum(self._shares[:hour]) * HOUR_MS + self._shares[hour] * in_hour
        a_day = self._a_day * self._scale
        return self._opening + a_day * (day - _FIRST_DAY) + a_day * shares // (1000 * HOUR_MS)

    def rate(self, local_ms: int) -> int:
        """Litres or hundredths of a kilowatt hour in an hour like this one."""
        return self._a_day * self._scale * self._shares[local_ms // HOUR_MS % 24] // 1000

    def records(self, clock: int, local: LocalTime) -> list[tuple[bytes, bytes]]:
        """Head and data of each record."""
        now = local.local_ms(clock)
        stamp = (b"\x04\x6d", _type_f(clock, local))
        if self.medium == WATER:
            month = utc_datetime(now)
            begun = now - now % DAY_MS - (month.day - 1) * DAY_MS
            return [
                (b"\x0c\x78", bytes.fromhex(self.identification)[::-1]),
                (b"\x04\x13", self.amount(now).to_bytes(4, "little")),
                (b"\x02\x3b", self.rate(now).to_bytes(2, "little")),
                (b"\x44\x13", self.amount(begun).to_bytes(4, "little")),
                (b"\x42\x6c", _type_f(clock - (now - begun), local)[2:]),
                stamp,
            ]
        energy = self.amount(now)
        power = self.rate(now)
        forward = 450 + power // 4
        spread = 80 + power // 8
        return [
            (b"\x0c\x06", _bcd(energy // 100)),
            (b"\x0c\x14", _bcd(energy // 5)),
            (b"\x02\x2d", (power // 10).to_bytes(2, "little")),
            (b"\x02\x5a", forward.to_bytes(2, "little")),
            (b"\x02\x5e", (forward - spread).to_bytes(2, "little")),
            (b"\x02\x62", spread.to_bytes(2, "little")),
            (b"\x04\x22", ((now - _FIRST_DAY * DAY_MS) // HOUR_MS).to_bytes(4, "little")),
            stamp,
        ]

    def says(self, clock: int, local: LocalTime) -> dict[str, object]:
        """The values in `telegram`, each in the unit that its name ends with."""
        now = local.local_ms(clock)
        said: dict[str, object] = {
            "identification": self.identification,
            "maker": self.maker,
            "version": self._version,
            "medium": self.medium,
            "access": self.access,
            "status": self.status,
            "time": utc_datetime(now).strftime("%Y-%m-%dT%H:%M"),
        }
        if self.medium == WATER:
            begun = now - now % DAY_MS - (utc_datetime(now).day - 1) * DAY_MS
            return said | {
                "volume_l": self.amount(now),
                "flow_l_per_h": self.rate(now),
                "month_volume_l": self.amount(begun),
                "month": utc_datetime(begun).strftime("%Y-%m-%d"),
            }
        power = self.rate(now)
        return said | {
            "energy_kwh": self.amount(now) // 100,
            "volume_10_l": self.amount(now) // 5,
            "power_100_w": power // 10,
            "forward_tenth_c": 450 + power // 4,
            "return_tenth_c": 370 + power // 4 - power // 8,
            "difference_tenth_k": 80 + power // 8,
            "on_h": (now - _FIRST_DAY * DAY_MS) // HOUR_MS,
        }

    def telegram(self, clock: int, local: LocalTime) -> bytes:
        """The answer to a request for data: twelve bytes of header, then records. Each is counted."""
        self.access = (self.access + 1) & 0xFF
        header = bytes.fromhex(self.identification)[::-1] + self._maker.to_bytes(2, "little")
        header += bytes([self._version, self.medium, self.access, self.status]) + bytes(2)
        return header + b"".join(head + data for head, data in self.records(clock, local))

    def value(self, data_type: int, clock: int, local: LocalTime) -> int | None:
        """The raw data of the record that an M-Bus data type stands for, as a load profile takes it."""
        head = DATA_TYPES.get(data_type)
        for found, data in self.records(clock, local):
            if found == head:
                return int.from_bytes(data[:4].ljust(4, b"\0"), "little", signed=True)
        return None


def household_devices(seed: int) -> list[Device]:
    return [Device(seed, 0, WATER, "KAM", 0x1B), Device(seed, 1, HEAT, "LUG", 0x07)]


def _bcd(number: int) -> bytes:
    """Eight digits, the last two first."""
    return bytes.fromhex("%08d" % (number % 10**8))[::-1]


def _type_f(clock: int, local: LocalTime) -> bytes:
    """Date and time of EN 13757-3, type F, local; its last two bytes are the date, type G."""
    t = utc_datetime(local.local_ms(clock))
    year = t.year % 100
    return bytes(
        [
            t.minute,
            t.hour | local.is_summer(clock) << 7,
            t.day | (year & 7) << 5,
            t.month | (year >> 3) << 4,
        ]
    )
