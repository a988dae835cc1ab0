"""Uses the board's MQTT client as a test says, on MicroPython: `micropython mqtt_exercise.py SETTINGS.json`.

Prints one line per thing that happened, for the test that started it.
"""

import asyncio
import json
import sys

here = __file__.rsplit("/", 1)[0]
sys.path[:0] = [here + "/../..", here + "/../../micropython"]

from mqtt import MqttBroker, tls_context  # noqa: E402
from mqtt_machine import MqttMachine  # noqa: E402

from gateway.errors import BrokerError  # noqa: E402


async def main(settings, context):
    broker = MqttBroker(
        settings["host"],
        settings["port"],
        MqttMachine("board", username=settings.get("username"), password=settings.get("password")),
        tls=context,
        server_hostname=settings.get("name"),
    )
    try:
        await broker.connect()
        await broker.subscribe("board/in")
        for number in range(settings["count"]):
            await broker.publish("board/out", b"%d " % number + b"x" * 3000)
        topic, payload = await broker.receive()
        print("received", topic, payload.decode())
        await broker.close()
    except BrokerError as error:
        print("error", error)
        return
    print("done")


with open(sys.argv[1]) as file:
    settings = json.load(file)
context = None
if "ca" in settings:
    with open(settings["ca"], "rb") as file:
        context = tls_context(file.read())
asyncio.run(main(settings, context))
