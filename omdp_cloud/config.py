"""The cloud's configuration file (TOML): what may stand in it and what it means.

Every field has a default; a cloud without a file listens on loopback with its own engine and SQLite.
"""

import os
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import ConfigurationError

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _broker_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ValueError("is not mqtt://host:port or mqtts://host:port")
    if parts.username or parts.password:
        raise ValueError("must not hold a user or password: use username and password_file")
    return url


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Engine(_Section):
    """The embedded NATS server with its MQTT listener, used when [broker] names no url."""

    port: int = Field(default=1883, ge=0, le=65535, description="MQTT port on loopback; 0 takes a free one")
    store: Path = Field(default=Path("omdp-cloud/nats"), description="where the engine keeps its streams")


class Broker(_Section):
    """An MQTT broker that runs elsewhere."""

    url: Annotated[str, AfterValidator(_broker_url)]
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = Field(default=None, description="PEM file; default: the system's certificates")
    client_id: str = "omdp-cloud"
    plain_allowed: bool = Field(
        default=False, description="true: talk to a broker beyond loopback without encryption"
    )

    @model_validator(mode="after")
    def _secure(self) -> "Broker":
        parts = urlsplit(self.url)
        if parts.scheme == "mqtt" and parts.hostname not in LOOPBACK and not self.plain_allowed:
            raise ValueError(
                f"mqtt:// to {parts.hostname} is not encrypted: use mqtts://, or say plain_allowed = true"
            )
        return self


class Database(_Section):
    url: str = Field(default="sqlite:///omdp-cloud/readings.db", description="sqlite:///path")

    @model_validator(mode="after")
    def _known(self) -> "Database":
        if not self.url.startswith("sqlite:///"):
            raise ValueError("url is not sqlite:///path")
        return self


class Custody(_Section):
    """Receipts are authenticated under a key derived from the credential that both ends of the hop hold."""

    credential_file: Path | None = Field(
        default=None, description="shared with the gateways; without it no receipts are given"
    )


class Commands(_Section):
    """The secrets that commands are sealed with: whoever has one may command."""

    credential_file: Path | None = Field(
        default=None, description="shared with the gateways whose meters have no file in credential_dir"
    )
    credential_dir: Path | None = Field(
        default=None, description="directory with a file for each meter, named by its MeterIndividualId"
    )


class Settings(_Section):
    broker: Broker | None = None
    engine: Engine = Engine()
    database: Database = Database()
    custody: Custody = Custody()
    commands: Commands = Commands()


def load(path: Path | None) -> Settings:
    """The settings in the file, or the defaults. Raises ConfigurationError naming every wrong field."""
    if path is None:
        return Settings()
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"{path}: can't be read ({error.strerror}); give an existing file with -c"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: is not TOML: {error}") from None
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        lines = [
            f"{path}: {'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise ConfigurationError("\n".join(lines)) from None


def read_secret(path: Path) -> bytes:
    """The file's content without surrounding white space; only its owner may be able to read it."""
    try:
        mode = path.stat().st_mode
        secret = path.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"{path}: can't be read ({error.strerror})") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO) and not path.is_relative_to(
        os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent")
    ):
        raise ConfigurationError(f"{path}: others than its owner may read it; run: chmod 600 {path}")
    if not secret:
        raise ConfigurationError(f"{path}: is empty; it must hold the secret")
    return secret
