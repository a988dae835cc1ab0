"""The concentrator's part of the service: the local broker, and who may speak for which meter there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..core.broker import Broker
from ..core.concentrator import Concentrator
from ..core.gateway import Gateway
from ..errors import ConfigurationError
from ..transmission.custody import hop_key
from ..transmission.ids import parse_uuid
from ..transmission.model import Reading
from ..transmission.platform_json import parse
from ..transmission.sealing import key_id
from .config_broker import BrokerSection, LocalSection
from .logs import log
from .secret_files import read_secret

FindKey = Callable[[bytes, bytes], bytes | None]

ANY = "any adapter"


def credential(section: BrokerSection) -> bytes | None:
    """What proves the cloud's receipts, or None where the broker's acknowledgement counts. Raises
    ConfigurationError."""
    if section.custody == "broker":
        return None
    file = section.credential_file or section.password_file
    assert file is not None  # config.load has seen to it
    return read_secret(file)


def serve(gateway: Gateway, broker: Broker, local: LocalSection, cloud: bytes | None) -> None:
    """Have `gateway` serve the adapters of `local`, whose broker is `broker`; `cloud`: the secret shared with
    the cloud, if any. Raises ConfigurationError."""
    find_keys(local, cloud)  # tells now what is wrong; credentials are read again on each connection
    concentrator = Concentrator(
        gateway.name,
        gateway.outbox,
        broker,
        gateway.sender,
        lambda: find_keys(local, cloud),
        _reading if local.readings else None,
        lambda: [meter.meter_id for meter in gateway.meters if meter.meter_id is not None],
        log,
    )
    gateway.concentrate(concentrator)


def find_keys(local: LocalSection, cloud: bytes | None) -> FindKey:
    """`find(meter, key id)`: the hop key of an adapter that may speak for this meter, or None.

    Raises ConfigurationError where a credential can't be read, two adapters have the same, or one has the
    `cloud`'s: whoever knows that can give receipts in the cloud's place.
    """
    found: dict[bytes, tuple[str, bytes, frozenset[bytes]]] = {}
    for name, file, meters in _credentials(local):
        secret = read_secret(file)
        if secret == cloud:
            raise ConfigurationError(
                f"{file}: holds the secret that is shared with the cloud; {name} could give receipts in its "
                "place. Give it another"
            )
        key = hop_key(secret)
        earlier = found.setdefault(key_id(key), (name, key, frozenset(parse_uuid(one) for one in meters)))
        if earlier[0] != name:
            raise ConfigurationError(
                f"{file}: holds the same secret for {name} as another file for {earlier[0]}: nobody could "
                "tell them apart. Give each its own"
            )

    def find(meter: bytes, name: bytes) -> bytes | None:
        _, key, meters = found.get(name, ("", None, frozenset()))
        return key if not meters or meter in meters else None

    return find


def _credentials(local: LocalSection) -> Iterator[tuple[str, Path, Sequence[str]]]:
    """(who, file, for which meters; none: any)."""
    if local.credential_file is not None:
        yield ANY, local.credential_file, ()
    for adapter in local.adapter:
        yield f"adapter {adapter.name}", adapter.credential_file, adapter.meters


def described(local: LocalSection, cloud: bytes | None) -> Iterator[str]:
    """For `check`: who is served, and for which meters. Raises ConfigurationError as `find_keys`."""
    find_keys(local, cloud)
    for name, file, meters in _credentials(local):
        yield f"    {name} with the credential in {file}, for {', '.join(meters) or 'any meter'}"
    if local.readings:
        yield "    JSON of other makers' adapters as well, where the broker lets them publish it"


def _reading(meter: bytes, payload: bytes) -> Reading:
    return parse(payload, meter)[1]
