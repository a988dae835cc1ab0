"""`osgp-gateway forget-security`: that a meter may be met again with less than TLS."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigurationError
from . import config
from .state_dir import state_dir
from .tls_memory import TlsMeters


def forget(name: str, configuration: Path | None) -> str:
    """What was forgotten, in words. `name`: a meter's in the configuration, or a port."""
    port = name
    directory = None
    if configuration is not None:
        settings = config.load(configuration)
        directory = settings.gateway.state_dir
        port = next((meter.port for meter in settings.meter if meter.name == name), name)
    meters = TlsMeters(state_dir(directory))
    gone = meters.forget(name, port)
    if not gone:
        raise ConfigurationError(
            f"{name}: nothing is remembered of a meter of this name, or at this port, in {meters.path}"
        )
    return (
        f"forgotten that {' and '.join(gone)} has spoken TLS. A gateway that runs now remembers it until its "
        'next start. With security = "auto" the meter is trusted once more when it is next met'
    )
