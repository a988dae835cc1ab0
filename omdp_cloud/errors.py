"""The cloud's errors; `exit_code` is what the command returns: 1 failed while working, 2 configuration."""


class CloudError(Exception):
    exit_code = 1


class ConfigurationError(CloudError):
    exit_code = 2


class EngineError(CloudError):
    """The embedded message engine can't be started or stopped by itself."""


class StorageError(CloudError):
    """The database can't be opened, or written at this time: locked, full, damaged, away."""


class BusyError(StorageError):
    """Others have locked the database, or its disk is full: that passes."""


class SetBackError(StorageError):
    """The database's file was replaced, restored or deleted beneath us; it is open anew."""


class ContentError(CloudError):
    """The database refuses what it was given, now and whenever it is tried again."""


class InUseError(StorageError):
    """Another process has the database."""


class BrokerError(CloudError):
    """The broker can't be reached, or the connection to it ended."""
