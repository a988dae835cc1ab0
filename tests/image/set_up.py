"""A flashed board without a configuration: a phone sets it up, and its readings come to the database."""

import json
from pathlib import Path

from flashing import image

from gateway.simulator.listen import pty_line
from gateway.simulator.meter import VirtualMeter
from gateway.transmission import model
from tests.board import CREDENTIAL, KEY
from tests.brokers import free_port
from tests.firmware.test_unix_port import rows
from tests.flashed_board import FlashedBoard, flashed_board
from tests.image.world import WIFI, World
from tests.phone import Phone, certificate, verifier
from tests.powered_board import PoweredBoard


def with_ports(flashed: FlashedBoard, port: int, dns_port: int) -> str:
    """Let set-up listen where this machine lets it; gives the password of its access point."""
    data = flashed.image.read_bytes()
    files = image.read(data)
    profile = json.loads(files["/config/profile.json"])
    profile["setup"] |= {"port": port, "dns_port": dns_port}
    files["/config/profile.json"] = json.dumps(profile).encode()
    flashed.image.write_bytes(image.build(len(data), files, ("/config", "/outbox", "/log", "/app")).data)
    return profile["setup"]["password"]


async def test_a_phone_sets_up_a_board_that_then_reads_and_shows_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    flashed = flashed_board(tmp_path / "board", None)
    phone, dns_port, later = Phone(free_port()), free_port(), free_port()
    password = with_ports(flashed, phone.port, dns_port)
    assert password in flashed.said
    meter = VirtualMeter(KEY[:16].encode(), None, seed=1)
    async with (
        world.at_work(),
        pty_line(meter, link=world.line),
        PoweredBoard(flashed, tmp_path, world.line) as board,
    ):
        (board.hardware / "wifi").write_text(json.dumps({"networks": {"at home": WIFI}}))
        board.power_on()
        hello = await board.until(phone.found, "the page of set-up")
        assert hello["setup"] is True
        assert "security=3" in (board.hardware / "record").read_text()
        broker = {"host": "127.0.0.1", "port": world.broker.port, "client_id": "board"}
        settings = {"wifi": {"ssid": "at home"}, "broker": broker, "page": {"port": later}}
        secrets = {
            "wifi.password_file": WIFI,
            "key_file": KEY,
            "broker.ca_file": certificate(world.authority),
            "broker.credential_file": CREDENTIAL,
            "page.password_file": verifier(),
        }
        status, said = await phone.ask("POST", "/api/meter", {"settings": settings, "secrets": secrets})
        assert (status, said["watts"] is not None) == (200, True), said
        status, said = await phone.ask("POST", "/api/settings", {"settings": settings, "secrets": secrets})
        assert (status, said) == (200, {})
        await phone.ask("POST", "/api/restart", {})

        phone.port = later
        await board.says("mode: working")
        hello = await board.until(phone.found, "the page of a board at work")
        assert hello["setup"] is False
        await phone.log_in()

        async def live() -> dict | None:
            _, status = await phone.ask("GET", "/api/status")
            return status if status["live"]["values"] else None

        status = await board.until(live, "live values on the page")
        assert status["meters"][0]["state"] == "working"
        assert status["wifi"]["connected"]
        assert status["board"]["reset"] == "asked for on the page"

        async def stored() -> bool | None:
            return {model.IDENTITY, model.PRESENT, model.REGISTERS} <= set(rows(world.database)) or None

        await board.until(stored, "readings in the database")
