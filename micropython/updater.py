"""Updates that a command brings to this board: gateway.core.updates over ota.py and slots.py."""

import sys

from gateway._compat import TYPE_CHECKING

if TYPE_CHECKING:
    from ota import Update

    from gateway.core.updates import Updater
else:
    Updater = object  # which lies in a module that only an update needs

_MODULES = ("ota", "bundle_head", "ed25519", "sha512", "romfs_files")


class BoardUpdater(Updater):
    def start(self, size: int, lower: bool) -> "Update":
        from ota import Update

        update = Update()
        update.begin(size, lower)
        return update

    def outcome(self, note: str) -> "tuple[bool, str] | None":
        import slots

        places = slots.opened()
        if places.state["trial"] and places.state["note"] == note:
            return None
        last = places.state["last"]
        if last is None or last[0] != note:
            return False, "the gateway was ended while it carried this out"
        runs = places.version(places.running())
        if last[2]:
            return True, "version %s is what runs" % runs
        return False, "version %s was tried and is not kept: %s; version %s runs" % (last[1], last[3], runs)

    def ended(self) -> None:
        for name in _MODULES:
            sys.modules.pop(name, None)

    def restart(self) -> None:
        import crashes

        crashes.restart("to try a new version")
