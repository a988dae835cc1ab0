"""The MQTT client for a broker as the configuration names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from .config_broker import BrokerLink
from .mqtt import MqttBroker
from .secret_files import read_secret
from .tls import tls_context


def broker(section: BrokerLink, name: str, **more: Any) -> MqttBroker:
    """`name`: the client's, at the broker; `more`: what else MqttBroker is told."""
    return MqttBroker(
        section.host,
        section.port,
        name,
        tls=tls_context(section.ca_file) if section.tls else None,
        username=section.username,
        read_password=_password(section.password_file),
        **more,
    )


def _password(file: Path | None) -> Callable[[], str] | None:
    return (lambda: _text(file)) if file else None


def _text(path: Path) -> str:
    try:
        return read_secret(path).decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: holds no text in UTF-8") from None
