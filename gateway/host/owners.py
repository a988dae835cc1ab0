"""Who may command the meters, as the configuration has it."""

from __future__ import annotations

from ..core.commands import Commands
from ..core.gateway import Gateway
from ..transmission.commands import command_key
from .config import Configuration
from .logs import log
from .secret_files import read_secret


def take_commands(gateway: Gateway, settings: Configuration) -> None:
    """To be called before the gateway runs. Raises ConfigurationError."""
    owners = {}
    for meter in settings.meter:
        file = settings.command_credential(meter)
        if file is not None:
            owners[meter.name] = command_key(read_secret(file)), settings.commands.actions()
    if owners:
        gateway.take(Commands(gateway.outbox, owners, log))
