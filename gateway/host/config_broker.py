"""The brokers in the configuration: where frames go, and where adapters hand theirs over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field

from .config_fields import BrokerUrl, CaFile, Finding, MeterId, SecretFile, Section, TopicLevel, is_loopback

PLAIN_CONSENT = "yes, without encryption"
ROLES = ("both", "adapter", "concentrator")


class BrokerLink(Section):
    """How an MQTT broker is reached."""

    url: BrokerUrl = Field(description="mqtts://host:port or mqtt://host:port")
    username: str | None = None
    password_file: SecretFile | None = None
    ca_file: CaFile | None = Field(default=None, description="PEM; default: the system's certificates")
    allow_plain: Literal["yes, without encryption"] | None = Field(
        default=None, description=f'"{PLAIN_CONSENT}" lets mqtt:// go beyond this machine'
    )

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def tls(self) -> bool:
        return self.url.startswith("mqtts:")

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or (8883 if self.tls else 1883)


class BrokerSection(BrokerLink):
    custody: Literal["cloud", "broker"] = Field(
        default="cloud", description="who must have stored a frame before the gateway forgets it"
    )
    credential_file: SecretFile | None = Field(
        default=None,
        description="secret shared with the cloud (an adapter: with its concentrator), which proves its "
        "receipts; default: the broker's password",
    )


class AdapterSection(Section):
    """An adapter with a credential of its own."""

    name: TopicLevel = Field(description="what logs call it; best its [gateway] id")
    credential_file: SecretFile = Field(description="secret shared with this adapter")
    meters: list[MeterId] = Field(
        default=[], description="ids of the meters that it may speak for; default: any"
    )


class LocalSection(BrokerLink):
    """The broker of adapters, for which this gateway is the concentrator."""

    credential_file: SecretFile | None = Field(
        default=None, description="secret shared with all adapters that have none of their own"
    )
    readings: bool = Field(
        default=True, description="takes JSON of other makers' adapters, which proves nothing of its origin"
    )
    adapter: list[AdapterSection] = Field(default=[], description="adapters with credentials of their own")


def contradictions(data: dict[str, Any]) -> Iterator[Finding]:
    """What is wrong between the fields of a file as it is."""
    broker, local = data.get("broker"), data.get("local")
    for name, section in (("broker", broker), ("local", local)):
        if isinstance(section, dict):
            yield from _link_contradictions(name, section)
    if isinstance(broker, dict):
        yield from _custody_contradictions(broker)
    if isinstance(local, dict):
        yield from _local_contradictions(local)
        if isinstance(broker, dict) and _place(broker) is not None and _place(local) == _place(broker):
            yield (
                ("local", "url"),
                "is the same broker as that of [broker]: what is relayed from one to the other would go in "
                "circles. Adapters that reach the cloud's broker need no concentrator",
            )
    yield from _role_contradictions(data)


def _custody_contradictions(broker: dict[str, Any]) -> Iterator[Finding]:
    if broker.get("custody", "cloud") == "cloud" and not {"credential_file", "password_file"} & set(broker):
        yield (
            ("broker", "credential_file"),
            "is missing: the cloud's receipts are checked with a secret that it shares with this gateway, by "
            'default the broker\'s password; with a plain broker and no cloud, set custody = "broker"',
        )


def _role_contradictions(data: dict[str, Any]) -> Iterator[Finding]:
    gateway = data.get("gateway")
    role = gateway.get("role", ROLES[0]) if isinstance(gateway, dict) else ROLES[0]
    if role not in ROLES:
        return  # which pydantic tells
    if role == "concentrator":
        if "local" not in data:
            yield ("local",), "is missing: a concentrator needs the broker of its adapters"
        if data.get("meter"):
            yield ("gateway", "role"), 'is "concentrator", which reads no [[meter]]: "both" does'
    elif not data.get("meter"):
        also = ': with role = "concentrator" there may be none' if "local" in data else ""
        yield ("meter",), "is missing: at least one [[meter]] is needed" + also
    if role == "adapter" and "local" in data:
        yield (
            ("local",),
            'is not for role = "adapter", whose [broker] is the concentrator\'s; "both" serves adapters',
        )


def _local_contradictions(local: dict[str, Any]) -> Iterator[Finding]:
    adapters = local.get("adapter")
    if not adapters and "credential_file" not in local:
        yield (
            ("local", "credential_file"),
            "is missing: adapters are known by a secret that they share with this gateway; or give each "
            "its own in [[local.adapter]]",
        )
    for field in ("name", "credential_file"):
        seen: dict[str, int] = {}
        for number, adapter in enumerate(adapters if isinstance(adapters, list) else []):
            value = adapter.get(field) if isinstance(adapter, dict) else None
            if isinstance(value, str):
                if value in seen:
                    yield (
                        ("local", "adapter", number, field),
                        f"is the same as that of adapter {seen[value] + 1}",
                    )
                seen.setdefault(value, number)


def _link_contradictions(name: str, section: dict[str, Any]) -> Iterator[Finding]:
    parts = _parts(section)
    plain = parts is not None and parts.scheme == "mqtt"
    host = parts.hostname if parts else None
    if host and plain and not is_loopback(host) and not section.get("allow_plain"):
        yield (
            (name, "url"),
            f"mqtt:// sends readings and password to {host} without encryption: use mqtts://, "
            f'or say allow_plain = "{PLAIN_CONSENT}"',
        )
    if plain and "ca_file" in section:
        yield (name, "ca_file"), "has no use without TLS: change url to mqtts://, or leave ca_file out"
    if "password_file" in section and "username" not in section:
        yield (name, "password_file"), "needs a username"


def _parts(section: dict[str, Any]) -> SplitResult | None:
    url = section.get("url")
    try:
        return urlsplit(url) if isinstance(url, str) else None
    except ValueError:
        return None


def _place(section: dict[str, Any]) -> tuple[str, int] | None:
    parts = _parts(section)
    try:
        port = parts.port if parts else None
    except ValueError:
        return None
    if parts is None or not parts.hostname:
        return None
    host = "localhost" if is_loopback(parts.hostname) else parts.hostname
    return host, port or (8883 if parts.scheme == "mqtts" else 1883)
