"""TLS towards the broker."""

from __future__ import annotations

import ssl
from pathlib import Path

from ..errors import ConfigurationError


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or later, certificate and name verified; `ca_file` (PEM) in place of the system's
    certificates. Raises ConfigurationError."""
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except FileNotFoundError:
        raise ConfigurationError(f"{ca_file}: there is no such file") from None
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(f"{ca_file}: holds no certificates in PEM form: {error}") from None
