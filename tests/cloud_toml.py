"""The configuration of a cloud that a test starts."""

from pathlib import Path


def cloud_toml(
    directory: Path,
    broker: int | str,
    credential: str = "secret",
    name: str = "cloud.toml",
    more: str = "",
) -> Path:
    """The file `name` in `directory`, where all else of this cloud is, too; its database is `readings.db`.

    `broker`: the port of one of its own, or the URL of another one, whose authority is in `ca.pem` if that
    speaks TLS. `credential`: a file there. `more`: further sections.
    """
    if isinstance(broker, int):
        engine = f'[engine]\nport = {broker}\nstore = "{directory}/nats"\n'
    else:
        authority = f'ca_file = "{directory}/ca.pem"\n' if broker.startswith("mqtts:") else ""
        engine = f'[broker]\nurl = "{broker}"\n{authority}'
    file = directory / name
    file.write_text(
        f'{engine}[database]\nurl = "sqlite:///{directory}/readings.db"\n'
        f'[custody]\ncredential_file = "{directory}/{credential}"\n{more}'
    )
    return file
