"""CPython only: the bundles in tests/vectors/update.json; `python -m tests.update_vectors` makes them."""

import json
from pathlib import Path

from bundle import make
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from mpremote.romfs import VfsRomWriter

FILE = Path(__file__).parent / "vectors/update.json"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


def image(files: dict[str, bytes]) -> bytes:
    """A ROMFS image; names with at most one directory before them."""
    writer = VfsRomWriter()
    for folder in sorted({name.rpartition("/")[0] for name in files}):
        if folder:
            writer.opendir(folder)
        for name in sorted(files):
            if name.rpartition("/")[0] == folder:
                writer.mkfile(name.rpartition("/")[2], files[name])
        if folder:
            writer.closedir()
    return bytes(writer.finalise())


def bytecode(text: str, version: int = 6) -> bytes:
    return bytes((ord("M"), version, 0, 31)) + text.encode()


def files(version: str) -> dict[str, bytes]:
    return {
        "application.mpy": bytecode("application " + version),
        "texts.bin": bytes(range(200)),
        "gateway/empty.mpy": bytecode(""),
        "gateway/core.mpy": bytecode("core " + version),
    }


def vectors() -> dict:
    good = image(files("1.2.0"))
    foreign = image({"application.mpy": bytecode("", version=7)})
    bundles = {
        "1.2.0": make(good, "1.2.0", KEY),
        "1.10.0": make(image(files("1.10.0")), "1.10.0", KEY),
        "otherKey": make(good, "1.2.0", OTHER_KEY),
        "otherFamily": make(good, "1.2.0", KEY, "rp2"),
        "otherBytecode": make(foreign, "1.2.0", KEY),
        "noImage": make_unchecked(b"no ROMFS image at all", "1.2.0"),
    }
    return {
        "keys": [public(KEY)],
        "files": {name: data.hex() for name, data in files("1.2.0").items()},
        "bundles": {name: data.hex() for name, data in bundles.items()},
    }


def make_unchecked(data: bytes, version: str) -> bytes:
    """What a signer with another tool may sign."""
    import bundle

    known = bundle.bytecode_of
    bundle.bytecode_of = lambda image: 6
    try:
        return make(data, version, KEY)
    finally:
        bundle.bytecode_of = known


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n")
