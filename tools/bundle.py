"""Signed application bundles for updates over the air (docs/update.md).

python tools/bundle.py key KEY.pem                 makes a signing key; prints the public one, for boards
python tools/bundle.py make --key KEY.pem --version 1.2.0 [--image build/app.romfs] OUT
python tools/bundle.py show FILE
"""

import argparse
import functools
import hashlib
import os
import sys
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from source_tree import ROOT

from gateway.errors import ConfigurationError, GatewayError

# What the board refuses and how it unpacks is the board's own code.
sys.path.append(str(ROOT / "micropython"))

from bundle_head import CONTEXT, FAMILY, HEAD, MAGIC, Bundle, key_id
from romfs_files import RomfsFiles
from slot_files import FileSlots
from slots import Slots

FIRST = "a"
# Where what a board's rescue needs stands.
_ROOMS = ("micropython", "gateway")


def make(image: bytes, version: str, key: Ed25519PrivateKey, family: str = FAMILY) -> bytes:
    """The bundle. Raises GatewayError for what a board would not take for one."""
    public = key.public_key().public_bytes_raw()
    signed = b"".join(
        (
            MAGIC,
            bytes((bytecode_of(image), 0, 0, 0)),
            _field(version),
            _field(family),
            len(image).to_bytes(4, "big"),
            hashlib.sha256(image).digest(),
            key_id(public),
        )
    )
    head = signed + key.sign(CONTEXT + signed)
    Bundle(head)
    return head + image


def _field(text: str) -> bytes:
    data = text.encode("ascii", "replace")
    if len(data) > 16:
        raise ConfigurationError(f"{text}: has {len(data)} characters, 16 fit")
    return data.ljust(16, b"\0")


def bytecode_of(image: bytes) -> int:
    """The version of the bytecode in a ROMFS image. Raises GatewayError where there is none, several, or code
    for one processor only."""
    with tempfile.TemporaryDirectory() as scratch:
        unpack(image, Path(scratch))
        heads = {file.read_bytes()[:3] for file in Path(scratch).rglob("*.mpy")}
    # MicroPython, docs/reference/mpyfiles.rst: "M", version, flags with the architecture from bit 2 on.
    if not heads or any(len(head) < 3 or head[0] != ord("M") or head[2] >> 2 for head in heads):
        raise ConfigurationError("the image has no bytecode, or code for one kind of processor only")
    versions = {head[1] for head in heads}
    if len(versions) > 1:
        raise ConfigurationError(f"the image has bytecode of versions {sorted(versions)}: build it anew")
    return versions.pop()


def unpack(image: bytes, directory: Path) -> None:
    """The files of a ROMFS image. Raises UpdateError."""
    files = RomfsFiles(str(directory))
    files.feed(image)
    files.end()


def first_slot(image: bytes, version: str, rom: bool) -> dict[str, bytes]:
    """What flashing puts below /app so that slot a is the good one, by path from there: its record, the
    state, and, unless the image goes to a ROMFS partition (`rom`), its files."""
    with tempfile.TemporaryDirectory() as scratch:
        medium = FileSlots(scratch)
        digest = hashlib.sha256(image).hexdigest()
        record = {"version": version, "size": len(image), "image": digest, "digest": digest}
        if not rom:
            medium.begin(FIRST, len(image))
            medium.write(image)
            record["digest"] = medium.end(FIRST, record)
        Slots(scratch, medium).install(FIRST, record)
        return _contents(Path(scratch)) | rescue()


@functools.cache
def rescue() -> dict[str, bytes]:
    """What takes an update where neither slot is whole, by path from /app; it uses what else starts a board
    (tools/flashing/application.py)."""
    from build_mpy import MAINS, STARTERS, compile_file, file_of, module_name
    from inline import inline
    from shake import Application
    from source_tree import portable_files

    files = {module_name(source): source for source in portable_files() if source.parent.name in _ROOMS}
    files["application"] = files["rescue"]  # as main.py calls it
    texts = {
        name: (source.read_text(encoding="utf-8"), source.name == "__init__.py")
        for name, source in files.items()
    }
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "root")
        for name, text in Application(inline(texts), "main").remains().items():
            if name not in (*MAINS, *STARTERS):
                source = Path(scratch, "source.py")
                source.write_text(text, encoding="utf-8")
                out = (root / "rescue" / file_of(name, {"gateway"})).with_suffix(".mpy")
                out.parent.mkdir(parents=True, exist_ok=True)
                compile_file(source, name, out)
        return _contents(root)


def _contents(root: Path) -> dict[str, bytes]:
    """Of all files below, by path from there."""
    files = [file for file in root.rglob("*") if file.is_file()]
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


def new_key(file: Path) -> Ed25519PrivateKey:
    """Makes a key in a file that only its owner may read. Raises OSError where there is one already."""
    key = Ed25519PrivateKey.generate()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as out:
        out.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key


def read_key(file: Path) -> Ed25519PrivateKey:
    """Raises ConfigurationError."""
    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{file}: the key can't be read: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{file}: is no Ed25519 key; make one: tools/bundle.py key FILE")
    return key


def _described(data: bytes) -> str:
    head = Bundle(data)
    image = data[HEAD:]
    whole = len(image) == head.size and hashlib.sha256(image).hexdigest() == head.digest
    return (
        f"version {head.version} for {head.family}, bytecode {head.bytecode}, image of {head.size:,} bytes "
        f"({'whole' if whole else 'DAMAGED'}), signed with key {head.key_id.hex()}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("key").add_argument("file", type=Path)
    making = actions.add_parser("make")
    making.add_argument("--key", type=Path, required=True)
    making.add_argument("--version", required=True)
    making.add_argument("--image", type=Path, default=ROOT / "build/app.romfs")
    making.add_argument("--family", default=FAMILY)
    making.add_argument("file", type=Path)
    actions.add_parser("show").add_argument("file", type=Path)
    return parser.parse_args()


def main() -> int:
    given = _arguments()
    try:
        if given.action == "key":
            print(new_key(given.file).public_key().public_bytes_raw().hex())
        elif given.action == "make":
            data = make(given.image.read_bytes(), given.version, read_key(given.key), given.family)
            given.file.write_bytes(data)
            print(f"{given.file}: {_described(data)}")
        else:
            print(_described(given.file.read_bytes()))
    except (GatewayError, OSError) as error:
        print(f"bundle.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
