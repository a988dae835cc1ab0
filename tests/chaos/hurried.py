"""`python -m tests.chaos.hurried gateway|cloud PACE ...`: the programs in a world that runs fast.

They are the real osgp-gateway and omdp-cloud. Their clock is the world's (OSGP_TIME), but what waits for
another process is given the time of PACE, since the machine on which all of this runs becomes no faster
(times.py).
"""

import importlib
import importlib.util
import pkgutil
import sys

# What waits for others: the lines' time-outs, the patience with the receiver, pauses before another attempt.
WAITING = (
    "gateway.core.sender",
    "gateway.core.supervisor",
    "gateway.core.tasks",
    "gateway.host.tcp_link",
    "gateway.host.stream_link",
)


def _paced(pace: int):
    """gateway.clock once more: durations by `pace`, the time of day as it is."""
    from gateway import clock

    spec = importlib.util.spec_from_file_location("gateway.paced_clock", clock.__file__)
    paced = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(paced)
    paced.set_scale(pace)
    paced.utc_ms = clock.utc_ms
    return paced


def gateway(pace: int) -> None:
    import gateway.drivers
    from gateway.host import entry, service  # noqa: F401 - all that a service needs is there before it starts

    paced = _paced(pace)
    drivers = pkgutil.walk_packages(gateway.drivers.__path__, "gateway.drivers.")
    for name in (*(module.name for module in drivers), *WAITING):
        module = importlib.import_module(name)
        if hasattr(module, "clock"):
            module.clock = paced
    entry.main()


def cloud(pace: int) -> None:
    from omdp_cloud import cli, receiver

    # A pause of half a minute would be hours in the world.
    for name in (
        "FIRST_WAIT_SECONDS",
        "LONGEST_WAIT_SECONDS",
        "FIRST_STORAGE_WAIT_SECONDS",
        "LONGEST_STORAGE_WAIT_SECONDS",
    ):
        setattr(receiver, name, getattr(receiver, name) / pace)
    cli.main()


if __name__ == "__main__":
    which, pace = sys.argv[1], int(sys.argv[2])
    del sys.argv[1:3]
    (gateway if which == "gateway" else cloud)(pace)
