"""That the meter has spoken TLS, kept in a file of one digit: nothing less is spoken with it again.

To forget it, because the meter was exchanged or its port set to RC4, delete the file.
"""

import errno
import os

from gateway.drivers.mep.security import LEVELS, TlsMemory
from gateway.errors import ConfigurationError


class TlsFile(TlsMemory):
    """`path`: the file; what can't be read as such a file is a ConfigurationError, and no way back either."""

    def __init__(self, path: str) -> None:
        text = ""
        try:
            with open(path) as file:
                text = file.read(8).strip()
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise ConfigurationError("%s: can't be read: %s" % (path, error)) from None
        else:
            if text not in ("0", "1"):
                raise ConfigurationError("%s: is damaged; delete it to trust the meter once more" % path)
        super().__init__(LEVELS[int(text)] if text else None)
        self._path = path

    def remember(self, level: int) -> None:
        # Whenever the power goes, one of the two is whole: with half a file a board would not start.
        new = self._path + ".new"
        try:
            with open(new, "w") as file:
                file.write("%d\n" % level)
            os.rename(new, self._path)
        except OSError as error:
            raise ConfigurationError("%s: can't be written: %s" % (self._path, error)) from None
        super().remember(level)
