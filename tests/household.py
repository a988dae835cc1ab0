"""A simulated household, as its meter would count it: loads that switch, a solar roof, phases apart."""

import math
import random
from collections.abc import Iterator

from gateway.transmission import registry
from gateway.transmission.model import LOAD_PROFILE, PRESENT, Column, Series

MIDNIGHT = 1700006400
STEP = 10  # seconds


def _loads(days: int, seed: int, roof_watts: int) -> Iterator[tuple[list[float], list[float]]]:
    """Active and reactive power per phase, every ten seconds."""
    rng = random.Random(seed)
    fridge, fridge_left, cloud = 0, 0.0, 0.7
    running: list[tuple[float, int, float, float]] = []
    for i in range(days * 86400 // STEP):
        now = i * STEP
        hour = now % 86400 / 3600
        fridge_left -= STEP
        if fridge_left <= 0:
            fridge = 1 - fridge
            fridge_left = rng.gauss(1200 if fridge else 2280, 180)
        running = [load for load in running if load[0] > now]
        busy = 0.05 if hour < 6 else 1.0 if hour < 9 else 0.5 if hour < 16 else 1.6 if hour < 22 else 0.4
        if rng.random() < busy * STEP / 1800:
            kinds = (
                (now + rng.randint(90, 240), 0, 2000.0, 20.0),
                (now + rng.randint(600, 3600), 1, rng.uniform(800, 2200), 50.0),
                (now + rng.randint(1800, 9000), 2, rng.uniform(60, 180), 60.0),
                (now + rng.randint(3600, 7200), 0, rng.uniform(200, 600), 250.0),
            )
            running.append(rng.choice(kinds))
        watts = [
            55 + rng.gauss(0, 1.5),
            22 + rng.gauss(0, 0.8) + fridge * rng.gauss(95, 3),
            35 + rng.gauss(0, 1),
        ]
        var = [
            30 + rng.gauss(0, 1.5),
            15 + rng.gauss(0, 0.5) + fridge * rng.gauss(60, 2),
            -25 + rng.gauss(0, 0.8),
        ]
        for _, phase, power, reactive in running:
            watts[phase] += rng.gauss(power, power * 0.005)
            var[phase] += rng.gauss(reactive, reactive * 0.01)
        cloud = min(1.0, max(0.1, cloud + rng.gauss(0, 0.01)))
        sun = max(0.0, math.sin((hour - 6) / 12 * math.pi)) if 6 < hour < 18 else 0.0
        yield [power - roof_watts / 3 * sun**1.3 * cloud for power in watts], var


def load_profile(days: int, roof_watts: int, seed: int = 3) -> Series:
    """Snapshots of 1.8.0, 2.8.0, 3.8.0 and 4.8.0 every 15 minutes."""
    registers = [65845343.0, 1790.0, 4056958.0, 20491956.0]
    columns: list[list[int | None]] = [[], [], [], []]
    for i, (watts, var) in enumerate(_loads(days, seed, roof_watts), 1):
        for first, power in ((0, sum(watts)), (2, sum(var))):
            registers[first + (power < 0)] += abs(power) * STEP / 3600
        if i % (900 // STEP) == 0:
            for column, register in zip(columns, registers, strict=True):
                column.append(int(register))
    rows = len(columns[0])
    props = [registry.obis(c, 8, 0) for c in (1, 2, 3, 4)]
    return Series(
        LOAD_PROFILE,
        [MIDNIGHT + 900 * (row + 1) for row in range(rows)],
        [Column(p, column, -3, registry.unit(p)) for p, column in zip(props, columns, strict=True)],
        origins=[(rows, 1, 0x12345678, 300, 17)],
    )


def present_values(seconds: int, seed: int = 2) -> Series:
    """Power, currents, voltages, power factors, angles and frequency at noon, every ten seconds."""
    rng = random.Random(seed)
    names = (
        "1.7.0 2.7.0 3.7.0 4.7.0 31.7.0 51.7.0 71.7.0 32.7.0 52.7.0 72.7.0 33.7.0 14.7.0 9.7.0 53.7.0 73.7.0"
    )
    props = [registry.number("OBIS_" + name) for name in names.split()]
    props += [registry.number(f"OSGP_sin_phase_angle_{phase}") for phase in (1, 2, 3)]
    volts = [230000.0, 229500.0, 230800.0]
    hertz = 50000.0
    rows = []
    for i, (watts, var) in enumerate(_loads(1, seed, 5000)):
        if i < 43200 // STEP:
            continue
        if len(rows) == seconds // STEP:
            break
        volts = [volt + rng.gauss(0, 150) + (230000 - volt) * 0.01 for volt in volts]
        hertz += rng.gauss(0, 4) + (50000 - hertz) * 0.02
        apparent = [math.hypot(p, q) for p, q in zip(watts, var, strict=True)]
        active, reactive = sum(watts), sum(var)
        factors = [p / s * 1000 for p, s in zip(watts, apparent, strict=True)]
        angles = [q / s * 1000 for q, s in zip(var, apparent, strict=True)]
        amperes = [s / volt * 1e6 for s, volt in zip(apparent, volts, strict=True)]
        row = [max(active, 0), max(-active, 0), max(reactive, 0), max(-reactive, 0), *amperes, *volts]
        rows.append([int(x) for x in [*row, factors[0], hertz, sum(apparent), *factors[1:], *angles]])
    columns = [
        Column(p, [row[i] for row in rows], registry.exponent(p or 0), registry.unit(p or 0))
        for i, p in enumerate(props)
        if p is not None
    ]
    return Series(PRESENT, [MIDNIGHT + 43200 + STEP * i for i in range(len(rows))], columns)
