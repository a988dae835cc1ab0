"""What befalls the meters of a chaos run by itself, apart from faults: alarms, events, self-reads, M-Bus."""

import random

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
TAMPERS = ("magnetic tamper", "cover removed", "reverse energy", "power quality", "phase loss")


def of_meter(seed: int, begin_ms: int, days: float, rebuilt: bool) -> list[list]:
    """[moment, happening, arguments...] of a meter from `begin_ms` on. `rebuilt`: its logs are reset and its
    load profile configured anew once in a while as well."""
    chance = random.Random(f"{seed} life")
    life: list[list] = []

    def moment(day: int) -> int:
        return begin_ms + day * DAY_MS + chance.randrange(DAY_MS)

    for day in range(int(days) + 1):
        for _ in range(chance.randint(1, 3)):
            name, at = chance.choice(TAMPERS), moment(day)
            life.append([at, "set_alarm", name])
            life.append([at + chance.randrange(HOUR_MS // 60, 8 * HOUR_MS), "clear_alarm", name])
        for _ in range(chance.randint(2, 10)):
            life.append([moment(day), "log_event", 2048 + chance.randrange(1024), chance.randrange(1 << 16)])
        if chance.random() < 0.3:
            life.append([moment(day), "self_read"])
        if chance.random() < 0.2:
            life.append([moment(day), "reset_demands"])
        if chance.random() < 0.3:
            at, index = moment(day), chance.randrange(2)
            life.append([at, "lose_device", index])
            life.append([at + chance.randint(1, 5) * HOUR_MS, "find_device", index])
        if chance.random() < 0.3:
            index = chance.randrange(2)
            life.append([moment(day), "set_device_status", index, chance.choice((0, 4))])
            life.append([moment(day), "clear_device_alarms", index])
        if rebuilt and day % 9 == 4:
            life.append([moment(day), "reset_log", chance.choice(("BT74", "ET79"))])
        if rebuilt and day % 11 == 6:
            life.append([moment(day), "configure_profile", chance.randint(1, 2)])
    return sorted(life, key=lambda one: one[0])
