"""For MicroPython: the optical driver and the readers on a pseudo-terminal.

`micropython optical_exercise.py PORT PASSWORD` (hex): reads identity, registers and present values twice,
with the session ended in between, a line of JSON for each: [kind, [[property, mantissa, exponent]]]
"""

import asyncio
import json
import sys

HERE = __file__.rsplit("/", 1)[0] if "/" in __file__ else "."
sys.path[:0] = [HERE + "/../..", HERE + "/../../micropython"]

from pty_link import PtyLink  # noqa: E402

from gateway.c1219.tables import Tables  # noqa: E402
from gateway.core.kinds import read_kind  # noqa: E402
from gateway.drivers.optical.meter import OpticalMeter  # noqa: E402
from gateway.errors import GatewayError  # noqa: E402
from gateway.transmission import model  # noqa: E402


async def main(port, password):
    meter = OpticalMeter(PtyLink(port, 9600), password, user="board")
    try:
        tables = Tables(meter)
        for _ in range(2):
            for kind in (model.IDENTITY, model.REGISTERS, model.PRESENT):
                for reading in await read_kind(kind, tables):
                    values = [[value.prop, value.mantissa, value.exponent] for value in reading.values]
                    print(json.dumps([model.KIND_NAMES[kind], values]))
            await meter.release()
    finally:
        await meter.close()


try:
    asyncio.run(main(sys.argv[1], bytes.fromhex(sys.argv[2])))
except GatewayError as error:
    print("%s: %s" % (type(error).__name__, error))
    sys.exit(error.exit_code)
