"""The virtual meter: a household behind firmware of some generation, answering on a MEP port."""

import secrets
from collections.abc import Callable
from random import Random

from .. import clock
from ..errors import ConfigurationError
from . import (
    definitions,
    life_tables,
    measured,
    port_settings,
    profile_tables,
    scenario,
    tou,
    truth,
)
from .alerts import DeltaAlerts
from .calendar import DAY_MS, LocalTime
from .channels import MepChannel, OpticalChannel
from .clients import Clients
from .faults import Faults
from .generations import DEFAULT_FIRMWARE, Generation, generation
from .happenings import HAPPENINGS
from .household import Household
from .image import Image, et
from .life import Life
from .mbus_devices import household_devices
from .measured import Counters
from .mep_server import MepServer
from .optical_server import OpticalServer
from .optical_session import OpticalKeys
from .procedures import Procedures
from .profile import Configuration, standard
from .registers import WH_MS, Registers
from .scenario import Happening
from .service import TableService
from .tls_server import TlsServer
from .transactions import Transactions
from .world import World

# BT53: the firmware takes offsets of -12 to +14 hours, in minutes.
_LEAST_OFFSET = -12 * 60
_MOST_OFFSET = 14 * 60


class VirtualMeter:
    """A meter with its state; transports (listen.py) carry its bytes.

    `key` is the MEP advanced key, `basic_key` the MEP basic key, 16 bytes each; one of them may be None.
    `security` is what the MEP ports speak: rc4, tls, or both. Of two `clients` each has a MEP port; with one
    only the first port is in use. With `optical_keys` there is an optical port.

    `start_ms` is the UTC instant (ms since 1970) at which the meter comes to life, by default now; from there
    it runs on `monotonic`. The same seed, start and generation give the same values at the same instants.
    `profile` is what the load profile records; with `history_days` the meter has been at work for so long
    already. `life` says what happens to it: "none", "quiet", "busy", or a list of happenings.
    """

    def __init__(
        self,
        key: bytes | None,
        basic_key: bytes | None = None,
        *,
        seed: int = 1,
        serial: str | None = None,
        firmware: Generation | str = DEFAULT_FIRMWARE,
        start_ms: int | None = None,
        solar_peak_w: int = 0,
        local: LocalTime | None = None,
        profile: Configuration | None = None,
        history_days: int = 0,
        life: str | list[Happening] = "none",
        monotonic: Callable[[], int] = clock.monotonic_ms,
        optical_keys: OpticalKeys | None = None,
        security: str = port_settings.RC4,
        clients: int = 1,
    ) -> None:
        self.generation = firmware if isinstance(firmware, Generation) else generation(firmware)
        _check_ports(self.generation, security, clients)
        self._security = security
        self._clients = clients
        chance = Random("%d meter" % seed)
        self.serial = serial if serial is not None else "%016d" % chance.randrange(10**15)
        self.faults = Faults(seed)
        self._monotonic = monotonic
        self._household = Household(seed, solar_peak_w)
        now = clock.utc_ms() if start_ms is None else start_ms
        self.world = self._new_world(local or LocalTime(), now, history_days * DAY_MS)
        self.openings = _openings(chance, self.generation.tiers)
        self.counters = Counters(chance.randrange(90_000), chance.randrange(12))
        self.registers = Registers(self.world, self.generation.tiers)
        self.image = Image()
        self.clients = Clients(self, definitions.channels(self.generation))
        self._seed = seed
        self.life = self._new_life(profile or standard(profile_tables.sets_of(self.generation)))
        self._fill()
        self.service = TableService(self.image)
        self.transactions = Transactions(self.image, self.service, self.run_ms)
        self.procedures = Procedures(self, self.transactions)
        self.deltas = DeltaAlerts(self)
        self.image.after_write[53] = self._offsets_written
        self.image.after_write[et(13)] = self._schedule_written
        self.image.after_write[et(50)] = self.clients.written
        self.image.after_write[et(51)] = self.clients.configured
        if key is None and basic_key is None and optical_keys:
            # Every meter has keys; these nobody knows.
            key = secrets.token_bytes(16)
        self.ports = [
            self._mep_port(number + 1, key, basic_key, chance.getrandbits(32))
            for number in range(definitions.channels(self.generation))
        ]
        self.mep = self.ports[0].server
        self.optical = self._optical_port(optical_keys) if optical_keys else None
        self._looking = False
        scenario.begin(self, life, seed)
        # Only now is everything there that a life may touch.
        self.image.before_access = self._look

    def run_ms(self) -> int:
        """The instant of the world the meter lives in, ms since 1970."""
        return self.world.run_ms()

    def utc_ms(self) -> int:
        """What the meter's clock says."""
        return self.world.clock_at(self.world.run_ms())

    @property
    def local(self) -> LocalTime:
        return self.world.local

    def set_clock(self, utc_ms: int) -> None:
        """Set the meter's clock; registers go on counting at the speed of the world."""
        self._now(lambda run_ms: self.life.set_clock(run_ms, utc_ms))

    def cut_power(self, seconds: int) -> None:
        """The power goes off now, for so long; until it is back the meter answers nothing."""
        self._now(lambda run_ms: self.life.cut_power(run_ms, seconds))

    def configure_profile(self, configuration: Configuration) -> None:
        """The utility changes what the load profile records: it starts anew, and dimensions move."""
        self._now(lambda _: self.take_profile(configuration))

    def take_profile(self, configuration: Configuration) -> None:
        """configure_profile for what happens within a life."""
        self.life.configure_profile(configuration, self.life.now_ms)
        life_tables.define(self)
        self.bump_definitions()

    def at(self, run_ms: int, happening: str, *arguments: object) -> None:
        """Let something of HAPPENINGS (happenings.py) happen at a moment of run time."""
        action = HAPPENINGS[happening]
        self.life.plan(run_ms, lambda now: action(self, now, *arguments))

    def happen(self, happening: str, *arguments: object) -> None:
        """Let something of HAPPENINGS happen now."""
        action = HAPPENINGS[happening]
        self._now(lambda now: action(self, now, *arguments))

    def _now(self, action: Callable[[int], None]) -> None:
        now = self.run_ms()
        self.life.plan(now, action)
        self.life.advance(now)

    # What tests want to know and to do.

    def truth(self, run_ms: int | None = None) -> dict[str, object]:
        """The exact values at an instant of the run, by default now: "total" and "tiers" by accumulator in
        Wh, varh and VAh (before register units), "present" by source number of BT27, "utc_ms" of the
        meter's clock, "tier" in force."""
        self.life.advance(self.run_ms())
        now = self.life.now_ms if run_ms is None else run_ms
        past = now < self.registers.now_ms
        registers = Registers(self.world, self.generation.tiers) if past else self.registers
        registers.advance(now)
        blocks = [
            {name: amount // WH_MS + opening.get(name, 0) for name, amount in block.sums.items()}
            for block, opening in zip([registers.total, *registers.tiers], self.openings, strict=True)
        ]
        present = measured.present_values(
            self.generation, self.world.present_at(now), self.world.average_at(now)
        )
        return {
            "run_ms": now,
            "utc_ms": self.world.clock_at(now),
            "tier": self.world.tier_at(now),
            "total": blocks[0],
            "tiers": blocks[1:],
            "present": present,
        }

    def truth_document(self) -> dict[str, object]:
        """What a correct reader must have found up to now; docs/simulator.md describes its format."""
        return truth.document(self)

    def inject(self, table: int, source: int, value: int) -> None:
        """From now on the total of `source` in BT23, or its present value in BT28, reads `value`, a signed
        integer of 32 bits. image.unpatch(table) ends it. Raises ValueError for a source that BT22 or BT27
        does not select."""
        g = self.generation
        if table == 23:
            offset = bool(g.demands) + 4 * self.image.read(22)[: g.summations].index(source)
        elif table == 28:
            offset = 4 * self.image.read(27).index(source)
        else:
            raise ValueError("only BT23 and BT28 hold sources")
        self.image.patch(table, offset, value.to_bytes(4, "little", signed=True))

    def replace(self, serial: str) -> None:
        """Someone hangs another meter in this one's place: another serial number, registers at zero, no
        clients."""
        for number in self.clients.installed:
            self.clients.remove(number)
        self.serial = serial
        self.openings = [{} for _ in self.openings]
        self.counters = Counters()
        self.world = self._new_world(self.local, self.run_ms())
        self.registers = Registers(self.world, self.generation.tiers)
        self.life = self._new_life(self.life.configuration)
        life_tables.connect(self)
        self._define()
        self._identify()

    def reconfigure(self, g: Generation) -> None:
        """The utility changes what the meter records: dimensions move, and with them the IDT version."""
        if g.tiers != self.generation.tiers:
            raise ValueError("the number of tiers belongs to the firmware")
        self.life.advance(self.run_ms())
        self.generation = g
        self.life.resize()
        self._define()
        self.bump_definitions()

    def bump_definitions(self) -> None:
        """Increment the IDT version (ET04.116); the sequence number jumps."""
        version = self.image.read(et(4))[definitions.IDT_VERSION_OFFSET]
        self.image.write(et(4), definitions.IDT_VERSION_OFFSET, bytes([(version + 1) & 0xFF]))
        for port in self.ports:
            port.server.definitions_changed()
        self.life.advance(self.run_ms())
        self.life.alarm("dimension change")

    # The first MEP client's port.

    def raise_alert(self, flags: int) -> None:
        """Set alert flags; a registered client hears of it."""
        self.ports[0].raise_alert(flags)

    @property
    def registered(self) -> bool:
        """The client has announced itself."""
        return self.ports[0].registered

    @property
    def baud(self) -> int:
        return self.ports[0].baud

    def set_baud(self, baud: int) -> None:
        """Raises ValueError for a rate that ET13 does not know."""
        self.ports[0].set_baud(baud)

    @property
    def requests(self) -> int:
        """How many requests the MEP ports have answered."""
        return sum(port.requests for port in self.ports)

    def receive(self, data: bytes, now_ms: int) -> list[bytes]:
        """What the meter sends in answer to bytes that arrived."""
        return self.ports[0].receive(data, now_ms)

    def alert(self, now_ms: int) -> bytes:
        return b"".join(self.ports[0].tick(now_ms))

    def alert_in_ms(self, now_ms: int) -> int | None:
        return self.ports[0].due_in_ms(now_ms)

    def _mep_port(self, number: int, key: bytes | None, basic_key: bytes | None, sequence: int) -> MepChannel:
        tls = None
        if self._security != port_settings.RC4:
            tables = TableService(self.image, port_settings.MAX_TLS_READ)
            tls = TlsServer(tables.answer, key, basic_key)
        server = MepServer(
            self.service.answer,
            key,
            basic_key,
            sequence,
            tls=tls,
            tls_required=lambda: port_settings.tls_required(self.image, number),
        )
        server.refuse = self.faults.refuses
        server.heard = lambda: self.clients.heard(number)
        return MepChannel(self.image, server, self.faults, number, self.supply, self.clients)

    def supply(self) -> tuple[bool, int]:
        """Whether there is power, and how often that has failed."""
        self.life.advance(self.run_ms())
        return self.life.powered, len(self.world.outages)

    def _optical_port(self, keys: OpticalKeys) -> OpticalChannel:
        g = self.generation
        server = OpticalServer(
            self.image, keys, shared=not g.gen4, denial=lambda: port_settings.denial_of_service(self.image, g)
        )
        server.session.refused = lambda: self.happen("set_alarm", "invalid password")
        port = OpticalChannel(server, self.faults, self.supply)
        if not g.gen4:
            self.ports[0].optical = port
        return port

    # The memory.

    def _new_world(self, local: LocalTime, start_ms: int, history_ms: int = 0) -> World:
        return World(
            self._household,
            local,
            self.generation.tiers,
            start_ms=start_ms,
            monotonic=self._monotonic,
            history_ms=history_ms,
        )

    def _fill(self) -> None:
        g, image = self.generation, self.image
        for table, size in definitions.plain_sizes(g).items():
            image.keep(table, bytes(size))
        image.keep(15, definitions.bt15(g))
        image.keep(et(4), definitions.et04(g))
        image.keep(et(11), definitions.et11(g))
        image.keep(et(29), definitions.et29(g))
        image.keep(et(51), definitions.et51(g))
        image.keep(et(55), definitions.et55(g))
        image.compute(et(70), lambda: definitions.et70(g, image.channel))
        life_tables.fill(self)
        image.write(et(54), 0, definitions.et54_flags(g))
        port_settings.set_up(image, g, self._security, self._clients)
        image.keep(53, measured.bt53(self.local))
        image.compute(0, lambda: definitions.bt00(g, image.tables()))
        image.compute(23, self._bt23)
        image.compute(28, self._bt28)
        image.compute(52, lambda: measured.bt52(self.utc_ms(), self.local))
        image.compute(55, self._bt55)
        self._define()
        self._identify()

    def _define(self) -> None:
        """The tables that a reconfiguration changes."""
        g, image = self.generation, self.image
        image.keep(20, definitions.bt20(g))
        if g.has_bt21:
            image.keep(21, definitions.bt21(g))
        image.keep(22, definitions.bt22(g))
        image.keep(27, definitions.bt27(g))
        life_tables.define(self)

    # What a life needs of its meter.

    def _new_life(self, configuration: Configuration) -> Life:
        chance = Random("%d life" % self._seed)
        # Soon past what sixteen bits hold.
        sequence = 65_500 - chance.randrange(60)
        return Life(self, configuration, household_devices(self._seed), sequence)

    def _look(self) -> None:
        if self._looking:
            return
        self._looking = True
        try:
            self.life.advance(self.run_ms())
            if self.life.powered:
                self.deltas.sample(self.life.now_ms)
                self.clients.check()
        finally:
            self._looking = False

    def profile_identifier(self, number: int) -> int:
        """ET21.78 of the load profile's configuration so numbered from 1."""
        return Random("%d profile" % self._seed).getrandbits(24) + number

    def power_lost(self) -> None:
        """What is in volatile memory is gone."""
        if et(71) in self.image:
            self.image.keep(et(71), life_tables.unused_deltas())

    def alert_clients(self, flag: int) -> None:
        """Set an alert flag for every client that wants it."""
        for port in self.ports:
            port.add_alert(flag)

    def _identify(self) -> None:
        self.image.keep(1, definitions.bt01(self.generation, self.serial))
        self.image.keep(et(3), definitions.et03(self.generation, self.serial))

    def _bt23(self) -> bytes:
        self.registers.advance(self.life.now_ms)
        return measured.bt23(self.registers, self.generation, self.openings, self.counters, self.local)

    def _bt28(self) -> bytes:
        now = self.life.now_ms
        self.registers.advance(now)
        return measured.bt28(
            self.registers, self.generation, self.world.present_at(now), self.world.average_at(now)
        )

    def _offsets_written(self, _advanced: bool) -> bool:
        """BT53 was written: from now on local time and tiers follow it."""
        held = self.image.read(53)
        minutes = int.from_bytes(held[4:6], "little", signed=True)
        if not _LEAST_OFFSET <= minutes <= _MOST_OFFSET:
            self.image.keep(53, measured.bt53(self.local))
            return False
        self.registers.advance(self.life.now_ms)
        self.world.local = LocalTime(minutes, held[3])
        self.life.schedule()
        return True

    def _schedule_written(self, _advanced: bool) -> bool:
        """ET13 was written: M-Bus devices are read when it says from now on."""
        self.life.schedule()
        return True

    def _bt55(self) -> bytes:
        now = self.life.now_ms
        utc_ms = self.world.clock_at(now)
        season = tou.season_at(self.local.local_ms(utc_ms))
        return measured.bt55(utc_ms, self.local, self.world.tier_at(now), season)


def _check_ports(g: Generation, security: str, clients: int) -> None:
    if security not in port_settings.SECURITIES:
        raise ConfigurationError("security %s: give %s" % (security, ", ".join(port_settings.SECURITIES)))
    if security != port_settings.RC4 and not port_settings.has_tls(g):
        raise ConfigurationError(
            "security %s: firmware %d.%d has no TLS, take 4.10 or later" % (security, *g.number)
        )
    if not 1 <= clients <= definitions.channels(g):
        raise ConfigurationError(
            "%d MEP clients: firmware %d.%d has %d" % (clients, *g.number, definitions.channels(g))
        )


def _openings(chance: Random, tiers: int) -> list[dict[str, int]]:
    """What stood in the registers before: the tiers' share, and totals that are their sum."""
    names = ("forward", "reverse", "import_reactive", "export_reactive")
    most = (9_000_000, 40_000, 600_000, 2_500_000)
    shares = [
        {name: chance.randrange(limit) for name, limit in zip(names, most, strict=True)} for _ in range(tiers)
    ]
    total = {name: sum(share[name] for share in shares) for name in names}
    return [total, *shares]
