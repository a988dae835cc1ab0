"""The board's page from MicroPython: a phone sets the board up and looks at it; in a real browser, too."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.simulator.listen import pty_line
from gateway.simulator.meter import VirtualMeter
from tests.board import KEY, process, tool
from tests.brokers import free_port
from tests.browser import Browser, browser
from tests.certificates import Authority
from tests.interpreter import ROOT, micropython, mpy_cross
from tests.patience import PATIENCE_S
from tests.phone import ADDRESS, PASSWORD, Phone, certificate, resolve, verifier

WIFI = "the home's password"
ACCESSIBLE = (ROOT / "tests/firmware/accessible.js").read_text()
HARDWARE = ROOT / "tests/board_hardware"
PINS = {"uart": 2, "pins": {"rx": {"pin": 16}, "tx": {"pin": 17}}}


class Board:
    """A board without configuration at a meter; `root` is its file system."""

    def __init__(self, root: Path, port: int, dns_port: int, child: asyncio.subprocess.Process) -> None:
        self.root = root
        self.phone = Phone(port)
        self.dns_port = dns_port
        self.child = child

    async def serving(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await self.phone.found():
                assert self.child.returncode is None
                await asyncio.sleep(0.05)

    async def reports(self) -> dict:
        """What it says once set-up is over."""
        assert self.child.stdout
        async with asyncio.timeout(PATIENCE_S):
            return json.loads(await self.child.stdout.readline())


@contextlib.asynccontextmanager
async def board_at_meter(directory: Path, rounds: int = 1) -> AsyncIterator[Board]:
    root, world, link = directory / "root", directory / "world", directory / "line"
    (root / "config").mkdir(parents=True)
    world.mkdir()
    port, dns_port = free_port(), free_port()
    profile = PINS | {"setup": {"port": port, "dns_port": dns_port}}
    (root / "config/profile.json").write_text(json.dumps(profile))
    (world / "wifi").write_text(json.dumps({"networks": {"home": WIFI, "caf\xe9": ""}, "rssi": -55}))
    tool("build_page.py", directory / "page")
    environment = {
        "OSGP_BOARD": str(world),
        "OSGP_UART": str(link),
        "MICROPYPATH": os.pathsep.join(map(str, (ROOT, ROOT / "micropython", HARDWARE, ".frozen"))),
    }
    exercise = str(ROOT / "tests/firmware/page_exercise.py")
    # As on a board, where files have no owners and nobody else reads them.
    command = (
        "sh",
        "-c",
        'umask 077; exec "$@"',
        "sh",
        micropython(),
        "-X",
        "heapsize=2M",
        exercise,
        str(port),
        str(directory / "page"),
        str(rounds),
    )
    async with pty_line(VirtualMeter(KEY[:16].encode(), None, seed=1), link=link):
        try:
            async with process(*command, cwd=root, environment=environment) as child:
                board = Board(root, port, dns_port, child)
                await board.serving()
                yield board
        finally:
            assert child.stderr
            print((await child.stderr.read()).decode())


def settings_of(authority: Authority) -> tuple[dict, dict]:
    settings = {
        "wifi": {"ssid": "home"},
        "broker": {"host": "broker.example", "port": 8883, "client_id": "house", "username": "u"},
    }
    secrets = {
        "wifi.password_file": WIFI,
        "key_file": KEY,
        "broker.password_file": "the broker's",
        "broker.ca_file": certificate(authority),
        "page.password_file": verifier(),
    }
    return settings, secrets


async def test_a_phone_sets_the_board_up_and_sees_the_meter(tmp_path: Path, figures):
    async with board_at_meter(tmp_path, rounds=2) as board:
        # Its own probe finds the page, and so does every name.
        status, headers, _ = await board.phone.request(
            b"GET /generate_204 HTTP/1.1\r\nHost: connectivitycheck.gstatic.com\r\n\r\n"
        )
        assert (status, headers["location"]) == (302, f"http://{ADDRESS}/")
        assert await asyncio.to_thread(resolve, board.dns_port) == ADDRESS
        status, headers, body = await board.phone.request(
            f"GET / HTTP/1.1\r\nHost: {ADDRESS}\r\n\r\n".encode()
        )
        assert (status, b"Set up your gateway" in body) == (200, True)
        await is_set_up(board)
        first = await board.reports()
        # Again, as somebody does who held the button: what was loaded for it is gone, and so is what it held.
        await board.serving()
        await is_set_up(board)
        second = await board.reports()
        more = second["alive"] - first["alive"]
        figures(f"page: {more:,} bytes more alive on the heap after another set-up")
        assert first["left"] == second["left"] == []
        assert more < 2048
        await looks_afterwards(board)


async def is_set_up(board: Board) -> None:
    _, said = await board.phone.ask("GET", "/api/scan")
    assert sorted(one["ssid"] for one in said["networks"]) == ["caf\xe9", "home"]
    settings, secrets = settings_of(Authority())
    # What a person typed wrong is told in words before anything is saved.
    wrong = dict(secrets, key_file="x" * 16)
    status, said = await board.phone.ask("POST", "/api/meter", {"settings": settings, "secrets": wrong})
    assert (status, said["state"]) == (409, "key-refused")
    status, said = await board.phone.ask("POST", "/api/meter", {"settings": settings, "secrets": secrets})
    assert (status, said["serial"]) == (200, "0084624696495953")
    assert said["watts"] > 0
    files = sorted((board.root / "config").iterdir())
    wrong = dict(secrets, key_file="too short", **{"wifi.password_file": "short"})
    status, said = await board.phone.ask("POST", "/api/settings", {"settings": settings, "secrets": wrong})
    assert status == 422
    fields = [one.split(": ")[0].rstrip("ab") for one in said["problems"]]
    assert fields == ["config/key.", "wifi.password_file"]
    assert sorted((board.root / "config").iterdir()) == files

    status, said = await board.phone.ask("POST", "/api/settings", {"settings": settings, "secrets": secrets})
    assert (status, said) == (200, {})
    _, said = await board.phone.ask("GET", "/api/settings")
    assert set(said["secrets"]) == set(secrets)
    assert not any(secret in json.dumps(said) for secret in secrets.values())
    await board.phone.ask("POST", "/api/restart")


async def looks_afterwards(board: Board) -> None:
    phone = board.phone
    await board.serving()
    assert (await phone.ask("GET", "/api/status"))[0] == 401
    await phone.log_in()
    _, said = await phone.ask("GET", "/api/status")
    assert ["OBIS_1.7.0", 431, -3, "kW"] in said["live"]["values"]
    _, said = await phone.ask("GET", "/api/history")
    assert said["watts"][-1] == 431

    # An update that nobody signed: it is sent in pieces, and refused in words.
    for path, given in (("", {"size": 2000}), ("/data?at=0", "x" * 700)):
        status, said = await phone.ask("POST", "/api/update" + path, given)
    assert (status, "bundle" in said["error"]) == (409, True), said

    # Those who send nothing take their own places only.
    idle = [await asyncio.open_connection("127.0.0.1", phone.port) for _ in range(4)]
    idle[0][1].write(b"GET / HTTP/1.1\r\nX: ")
    reader, writer = await asyncio.open_connection("127.0.0.1", phone.port)
    assert await asyncio.wait_for(reader.read(), 60) == b""
    for _, its in [*idle, (reader, writer)]:
        its.close()
    await board.serving()
    assert (await phone.ask("GET", "/api/status"))[0] == 200


async def test_in_a_browser_by_keyboard_on_a_phone(tmp_path: Path):
    pictures = Path(os.environ.get("OSGP_TEST_PICTURES", tmp_path))
    async with board_at_meter(tmp_path) as board:
        rules = f"--host-resolver-rules=MAP * 127.0.0.1:{board.phone.port}"
        async with browser(tmp_path / "profile", rules) as one:
            await one.device(412, 900)
            await one.go("http://captive.example/generate_204")
            await one.until(f"location.host === '{ADDRESS}' && typeof loaded === 'object' && loaded !== null")
            await sets_up(one, pictures)
            await board.reports()
            await board.serving()
            await one.go(f"http://{ADDRESS}/")
            await looks(one, pictures)
            await is_no_update(one, tmp_path / "no.bundle")
            assert one.errors == []
    saved = json.loads((board.root / "config/board.json").read_text())
    assert saved["wifi"]["ssid"] == "home"
    assert saved["broker"]["allow_plain"] == "yes, without encryption"
    assert saved["schedule"]["load-profile"] == 900
    assert (board.root / saved["key_file"]).read_text() == KEY


async def sets_up(one: Browser, pictures: Path) -> None:
    await one.enter("Look for networks")
    await one.until("document.querySelectorAll('#found button').length === 2")
    assert await one.look(ACCESSIBLE) == []
    await one.picture(pictures / "setup.png")
    await one.look(
        "[...document.querySelectorAll('#found button')].find(b => /home/.test(b.textContent)).focus()"
    )
    await one.press("Enter")
    assert await one.look("document.activeElement.id") == "wifi-password"
    await one.type(WIFI)
    await one.fill("key", "0" * 16)
    await one.enter("Try the meter")
    await one.until("/The meter refuses the key/.test(document.getElementById('tried').textContent)")
    await one.look("document.getElementById('key').select(), document.getElementById('key').focus()")
    await one.type(KEY)
    await one.enter("Try the meter")
    said = await one.until("(document.querySelector('#tried.good') || {}).textContent")
    assert re.fullmatch(r"The meter answers: number 0084624696495953, [\d,]+ W right now\.", said)
    await one.fill("host", "127.0.0.1")
    await one.tab_to("tls")
    await one.press(" ")
    await one.fill("new", PASSWORD)
    await one.fill("again", "another password")
    await one.enter("save")
    await one.until("/passwords differ/.test(document.getElementById('problems').textContent)")
    assert await one.look("document.activeElement.id") == "again"
    await one.look("document.activeElement.select()")
    await one.type(PASSWORD)
    await one.enter("save")
    await one.until("/joins home/.test(document.getElementById('saved').textContent)")
    assert await one.look(ACCESSIBLE) == []


async def looks(one: Browser, pictures: Path) -> None:
    await one.until("document.activeElement && document.activeElement.id === 'password'")
    await one.type("not this one")
    await one.press("Enter")
    await one.until("/not the password/.test(document.getElementById('denied').textContent)")
    await one.look(
        "document.getElementById('password').select(), document.getElementById('password').focus()"
    )
    await one.type(PASSWORD)
    await one.press("Enter")
    await one.until("document.getElementById('power').textContent === '431'")
    text = await one.look("document.getElementById('links').innerText")
    assert "The broker's certificate is not to be trusted." in text
    assert "Check the CA certificate" in text
    assert "228.3" in await one.look("document.getElementById('values').innerText")
    for name, width, dark in (("phone", 412, False), ("phone-dark", 412, True), ("wide", 1200, False)):
        await one.device(width, 900, dark)
        assert await one.look(ACCESSIBLE) == [], name
        await one.picture(pictures / f"live-{name}.png")
    await one.device(412, 900)
    await one.enter("Log")
    await one.until("/starting: the power came/.test(document.getElementById('lines').textContent)")
    await one.enter("Settings")
    await one.until("document.getElementById('ssid').value === 'home'")
    assert await one.look("document.getElementById('key').value") == ""
    assert "set" in await one.look("document.getElementById('key').placeholder")
    await one.enter("language")
    await one.until("document.documentElement.lang === 'de'")
    assert await one.look("document.querySelector('label[for=key]').textContent.includes('Schl\xfcssel')")
    assert await one.look(ACCESSIBLE) == []
    await one.picture(pictures / "settings-german.png")


async def is_no_update(one: Browser, file: Path) -> None:
    file.write_bytes(bytes(range(256)) * 40)
    await one.look("show('update')")
    # In German by now: what became of the last one.
    await one.until("/1.3.0 .* aufgegeben/.test(document.getElementById('before-this').textContent)")
    await one.choose("bundle", file)
    await one.enter("send")
    said = await one.until("document.querySelector('#updated.bad')?.textContent")
    assert "bundle" in said
    assert await one.look(ACCESSIBLE) == []


def test_the_page_is_small_and_speaks_german_wherever_it_speaks(tmp_path: Path, figures):
    tool("build_page.py", tmp_path)
    code = [
        *(ROOT / "gateway/web").glob("*.py"),
        *(ROOT / "micropython").glob("*page.py"),
        ROOT / "micropython/meter_trial.py",
    ]
    for source in code:
        out = tmp_path / (source.stem + ".mpy")
        subprocess.run([mpy_cross(), "-O2", "-s", source.stem, "-o", out, source], check=True)
    sizes = {kind: sum(file.stat().st_size for file in tmp_path.glob("*" + kind)) for kind in (".gz", ".mpy")}
    figures(f"page: {sizes['.gz']:,} bytes of HTML, style, scripts, words, {sizes['.mpy']:,} of bytecode")
    assert sum(sizes.values()) < 40 * 1024
    page = ROOT / "gateway/web/page"
    german = json.loads((page / "de.json").read_text())
    html = (page / "index.html").read_text()
    said = re.findall(r">\s*([^<>]*[A-Za-z]{2}[^<>]*?)\s*<", html)
    said += re.findall(r'aria-label="([^"]+)"', html)
    script = (page / "page.js").read_text()
    said += re.findall(r'\bt\("([^"]+)"', script)
    said += [
        text
        for state in re.findall(r'\["(?:good|warn|bad)", (.*?)\],\n', script)
        for text in re.findall(r'"([^"]+)"', state)
    ]
    same = {"Meter gateway", "Deutsch", "page.css", "W"}
    assert [text for text in said if text not in german and text not in same] == []
    everything = html + script
    assert [text for text in german if text not in everything] == []
