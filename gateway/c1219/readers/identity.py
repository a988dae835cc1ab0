"""Who the meter is: BT01, ET03, ET04, and the transformer ratios of BT15; and, by BT00, whether it says so
in the formats that all readers know."""

from ..._compat import TYPE_CHECKING
from ...errors import TableError
from ...transmission.model import IDENTITY, Reading, Value
from ..layouts.general import BT00, BT01, BT15, ET03, ET04
from ..types import bcd, text
from .common import now, prop, text_value

if TYPE_CHECKING:
    from ..tables import Tables


class Identity:
    """`manufacturer` and `serial` make the meter's id. `serial` is the utility's serial number (ET03);
    where that is empty the manufacturer's (BT01), and where that is empty too the id of the meter's
    transceiver (ET04) in hex. Texts are "" where the meter says nothing. `firmware`: "3.10.21".
    `image_crc` (ET03): checksum of the legally relevant firmware, None where the meter lacks it.
    """

    def __init__(self, manufacturer: str, serial: str, model: str, firmware: str) -> None:
        self.manufacturer = manufacturer
        self.serial = serial
        self.model = model
        self.firmware = firmware
        self.hardware = ""
        self.utility_serial = ""
        self.manufacturer_serial = ""
        self.program_id = b""
        self.image_crc: int | None = None


def version_text(packed: bytes) -> str:
    """A version as BT01 packs it: 4 bits major, 7 minor, 5 build, most significant byte first."""
    number = packed[0] << 8 | packed[1]
    return "%d.%02d.%02d" % (number >> 12, number >> 5 & 127, number & 31)


async def _ids_are_text(tables: "Tables") -> bool:
    """Whether ids are characters, not BCD (BT00). TableError for a meter of other formats than those of the
    guide ("Data Types"): all that it says would be misread."""
    said = await tables.get_if_there(BT00, "order", "formats", "ni_formats")
    if not said:
        return False
    for name, known in (
        ("big_endian", (0,)),
        ("time_format", (0, 2)),
        ("int_format", (0,)),
        ("ni_format_1", (0, 8)),
        ("ni_format_2", (0, 8)),
    ):
        if said[name] not in known:
            raise TableError(
                "BT00 says %s %d, only %d is known: nothing else is read of this meter"
                % (name.replace("_", " "), said[name], known[-1])
            )
    return bool(said["access_method"] and not said["bcd_ids"])


def _serial_text(raw: bytes, is_text: bool) -> str:
    if is_text:
        found = text(raw)
        return "" if "?" in found else found
    try:
        digits = bcd(raw)
    except TableError:
        return ""  # the MEP guide promises no serial number there
    return digits if digits.strip("0") else ""


async def identify(tables: "Tables") -> Identity:
    """What BT01, ET03 and ET04 say. Raises TableError when they hold nothing to know the meter by, or can't
    be understood."""
    is_text = await _ids_are_text(tables)
    about = await tables.get(BT01, "manufacturer", "model", "hardware", "firmware")
    serial = await tables.get_if_there(BT01, "manufacturer_serial")
    utility = await tables.get_if_there(ET03, "utility_serial")
    image = await tables.get_if_there(ET03, "image_crc")
    system = await tables.get_if_there(ET04, "transceiver_id", "program_id")
    who = Identity(about["manufacturer"], "", about["model"], version_text(about["firmware"]))
    if not who.manufacturer:
        who.manufacturer = (await tables.get(BT00, "manufacturer"))["manufacturer"]
    who.hardware = version_text(about["hardware"]) if about["hardware"] != b"\0\0" else ""
    if serial:
        who.manufacturer_serial = _serial_text(serial["manufacturer_serial"], is_text)
    if utility:
        who.utility_serial = utility["utility_serial"]
    if image:
        who.image_crc = image["image_crc"]
    who.serial = who.utility_serial or who.manufacturer_serial
    if system:
        who.program_id = system["program_id"]
        transceiver = system["transceiver_id"]
        if not who.serial and transceiver.strip(b"\0"):
            who.serial = hex_text(transceiver)
    if not who.serial:
        raise TableError("the meter has no serial number in ET03 or BT01 and no transceiver id in ET04")
    return who


def hex_text(raw: bytes) -> str:
    return "".join(["%02X" % byte for byte in raw])


async def read(tables: "Tables") -> "list[Reading]":
    """One Reading, time of the gateway's clock. Reads the dimensions anew: who asks who the meter is
    may have been connected to another one."""
    tables.forget()
    return await readings(tables, await identify(tables))


async def readings(tables: "Tables", who: Identity) -> "list[Reading]":
    """As `read`, of a meter that has been identified."""
    ratios = await tables.get_if_there(BT15, "ct_ratio", "vt_ratio")
    values = []
    for name, said in (
        ("OBIS_C.1.0", who.serial),
        ("OSGP_manufacturer", who.manufacturer),
        ("OSGP_model", who.model),
        ("OBIS_0.2.0", who.firmware),
        ("OSGP_hardware_version", who.hardware),
        ("OSGP_utility_serial_number", who.utility_serial),
        ("OSGP_manufacturer_serial_number", who.manufacturer_serial),
        ("OSGP_program_id", hex_text(who.program_id)),
        ("OBIS_C.1.6", "" if who.image_crc is None else "%04X" % who.image_crc),
    ):
        if said:
            values.append(text_value(name, said))
    if ratios:
        values.append(Value(prop("OBIS_0.4.2"), ratios["ct_ratio"]))
        values.append(Value(prop("OBIS_0.4.3"), ratios["vt_ratio"]))
    return [Reading(IDENTITY, now(), values)]
