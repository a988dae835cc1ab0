"""A board from the very image that is flashed, to the cloud's database: part of `make test-firmware`.

The whole application is written through esptool into a mock of the boot loader and read back; MicroPython's
unix port mounts what was read, as a board mounts its flash, and starts from it.
"""

import asyncio
import json
from pathlib import Path

import bundle
from flashing import image

from gateway.simulator.listen import pty_line
from gateway.simulator.meter import VirtualMeter
from gateway.transmission import model
from tests.board import CREDENTIAL, KEY, secret
from tests.brokers import free_port
from tests.esp_firmware import STOCK, WITH_ROMFS
from tests.flashed_board import StartedBoard, built, flashed_board
from tests.image import start_time
from tests.image.world import WIFI, World, reads_and_stores
from tests.phone import ADDRESS, PASSWORD, Phone, certificate, resolve, verifier
from tests.update_vectors import KEY as SIGNS
from tests.update_vectors import public

# What a request to the page may hold.
PIECE = 4096


async def test_a_configured_board_reads_and_its_readings_are_stored(tmp_path: Path) -> None:
    """From files; tests/firmware/test_from_flash.py has the same from ROMFS."""
    await reads_and_stores(tmp_path, STOCK)


async def test_how_long_the_first_reading_takes(tmp_path: Path, figures) -> None:
    world = World(tmp_path, tls=False)
    flashed = flashed_board(tmp_path / "board", world.gateway_toml(), partitions=WITH_ROMFS)
    async with world.at_work():
        figures(await start_time.table(world, flashed))


async def test_a_bare_board_is_set_up_by_a_phone_and_reads(tmp_path: Path) -> None:
    world = World(tmp_path)
    flashed = flashed_board(tmp_path / "board", None, partitions=WITH_ROMFS)
    port, names_port = free_port(), free_port()
    profile = json.loads(image.read(flashed.image.read_bytes())["/config/profile.json"])
    profile["setup"] |= {"port": port, "dns_port": names_port}
    flashed.change({"/config/profile.json": json.dumps(profile).encode()})
    meter = VirtualMeter(KEY[:16].encode(), None, seed=1)
    phone = Phone(port)
    board = StartedBoard(flashed, tmp_path)
    board.world("wifi", {"networks": {"at home": WIFI, "next door": "a secret"}})
    async with world.at_work(), pty_line(meter, link=board.line), board:
        await board.until(phone.found, "its page")
        assert await asyncio.to_thread(resolve, names_port) == ADDRESS
        status, headers, _ = await phone.request(
            b"GET /hotspot-detect.html HTTP/1.1\r\nHost: captive.apple.com\r\n\r\n"
        )
        assert (status, headers["location"]) == (302, f"http://{ADDRESS}/")
        _, said = await phone.ask("GET", "/api/scan")
        assert "at home" in [one["ssid"] for one in said["networks"]]
        settings = {
            "wifi": {"ssid": "at home"},
            "broker": {"host": "127.0.0.1", "port": world.broker.port, "client_id": "house"},
            "page": {"port": port},
            "ntp": {"server": ""},
        }
        secrets = {
            "wifi.password_file": WIFI,
            "key_file": KEY,
            "broker.ca_file": certificate(world.authority),
            "broker.credential_file": CREDENTIAL,
            "page.password_file": verifier(),
        }
        given = {"settings": settings, "secrets": secrets}
        status, said = await phone.ask("POST", "/api/meter", given)
        assert (status, said.get("serial")) == (200, meter.serial)
        assert await phone.ask("POST", "/api/settings", given) == (200, {})
        await phone.ask("POST", "/api/restart")

        await board.until(lambda: world.stored(model.IDENTITY, model.PRESENT, model.REGISTERS), "readings")
        await board.until(phone.found, "its page")
        await phone.log_in()
        status, said = await phone.ask("GET", "/api/status")
        assert (status, said["broker"]["state"], said["wifi"]["connected"]) == (200, "working", True)
        assert said["live"]["values"]
    assert board.starts == 2
    console = "\n".join(board.said)
    assert not any(one in console for one in (WIFI, KEY, CREDENTIAL))


async def test_the_page_takes_an_update(tmp_path: Path) -> None:
    world = World(tmp_path)
    secret(tmp_path / "page.password", PASSWORD)
    (tmp_path / "update.keys").write_text(public(SIGNS) + "\n")
    toml = world.gateway_toml('page_password_file = "page.password"\nupdate_keys_file = "update.keys"')
    flashed = flashed_board(tmp_path / "board", toml, partitions=WITH_ROMFS)
    port = free_port()
    settings = json.loads(image.read(flashed.image.read_bytes())["/config/board.json"])
    settings["page"]["port"] = port
    flashed.change({"/config/board.json": json.dumps(settings).encode()})
    phone, board = Phone(port), StartedBoard(flashed, tmp_path)
    new = bundle.make(built().image, "8.0.0", SIGNS)
    async with world.at_work(), pty_line(VirtualMeter(KEY[:16].encode()), link=board.line), board:

        async def version() -> str | None:
            """What runs, once it has proven itself."""
            _, said = await phone.ask("GET", "/api/status")
            application = said["application"]
            return application["version"] if application["state"] == "good" else None

        await board.until(phone.found, "its page")
        await phone.log_in()
        first = await board.until(version, "a version that is good")
        assert await phone.ask("POST", "/api/update", {"size": len(new)}) == (200, {})
        for at in range(0, len(new), PIECE):
            assert await phone.ask("POST", f"/api/update/data?at={at}", new[at : at + PIECE]) == (200, {})
        assert await phone.ask("POST", "/api/update/finish") == (200, {})
        await phone.ask("POST", "/api/restart")
        phone.forget()
        await board.says("starting: asked for on the page")
        await board.until(phone.found, "its page")
        await phone.log_in()
        assert first != await board.until(version, "the new version proves itself") == "8.0.0"
    assert board.starts == 2
