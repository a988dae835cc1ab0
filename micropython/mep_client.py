"""What the configuration lets the gateway be and write at a meter: imported only where it does.

Imported once and forgotten, as mep_config.py.
"""

from gateway._compat import TYPE_CHECKING
from gateway.transmission.model import MBUS

if TYPE_CHECKING:
    from typing import Any

    from config_problems import Problems

    from gateway.c1219.alerts import Client
    from gateway.c1219.on_demand import OnDemand


def make_client(
    values: "dict[str, Any]", intervals_ms: "dict[int, int]", problems: "Problems"
) -> "tuple[Client | None, OnDemand | None]":
    """The meter's client, and who has its M-Bus devices read on demand; None for what is not wanted."""
    watts = values["power_change_w"]
    if watts > 65535:
        problems.add("power_change_w", "takes 1 to 65535 W; 0: no change is told")
    if watts and not (values["register"] and values["allow_writes"]):
        problems.add(
            "power_change_w",
            'needs "register": true and "allow_writes": true: the meter tells changes only to its client, '
            "which writes what is to be watched",
        )
    client = on_demand = None
    if values["register"]:
        from gateway.c1219.alerts import Client

        client = Client(watts)
    if values["allow_writes"] and intervals_ms.get(MBUS):
        from gateway.c1219.on_demand import OnDemand

        on_demand = OnDemand(intervals_ms[MBUS] // 1000)
    return client, on_demand
