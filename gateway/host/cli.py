"""The command `osgp-gateway`.

Exit codes: 0 done, 1 failed while working, 2 wrong usage or configuration, 3 meter unreachable or key
refused, 130 ended by Ctrl-C before it was done. Commands that run until they are ended (run, simulate,
replay --listen, demo) end on Ctrl-C with 0. What each command needs is imported when it runs, so that
--help is quick.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import ConfigurationError, GatewayError
from ..simulator.command import simulate
from . import cli_outbox, cli_service

_EVERY_DAY = ("read", "run", "check", "status", "backfill", "outbox")


class _EveryDayFirst(TyperGroup):
    """In its help, what people do with their own meter comes first."""

    def list_commands(self, context: Any) -> list[str]:
        others = [name for name in super().list_commands(context) if name not in _EVERY_DAY]
        return [*_EVERY_DAY, *others]


app = typer.Typer(
    name="osgp-gateway",
    cls=_EveryDayFirst,
    help="Reads OSGP smart meters and streams their readings over MQTT.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(simulate)
cli_service.add_to(app)
cli_outbox.add_to(app)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration (TOML).")
]
PortOption = Annotated[str, typer.Option(metavar="PORT", help="/dev/ttyUSB0 or tcp://host:port.")]
KeyFileOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The meter's key; only its owner may read the file (chmod 600)."),
]
OpticalOption = Annotated[
    bool, typer.Option("--optical", help="The port is the meter's optical port; it needs --password-file.")
]
PasswordFileOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="With --optical: the password (MK, PK or RK).")
]
BaudOption = Annotated[
    int,
    typer.Option(min=300, max=921_600, help="Rate of a serial port; with --optical, the session's rate."),
]
SecurityOption = Annotated[
    str,
    typer.Option(
        metavar="MODE",
        help="MEP: digest, rc4, tls, or auto: TLS, or RC4 with a meter that has never spoken TLS.",
    ),
]
KeyLevelOption = Annotated[
    str | None, typer.Option(metavar="LEVEL", help="TLS: mbk or mak; otherwise the meter is asked.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
WhatArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="WHAT...",
        help="identity, clock, registers, present, self-reads, load-profile, alarms, events, mbus, or all.",
    ),
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Read what the meter stores from then on, as in 2026-01-01T00:00:00Z; else all that it has.",
    ),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            print("osgp-gateway", version("osgp-gateway"))
        except PackageNotFoundError:
            print("osgp-gateway (not installed, run from its sources)")
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    config: ConfigOption,
    record: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Record all link traffic, one file per meter, into DIR."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every step.")] = False,
) -> None:
    """Run the gateway until it is ended."""
    from . import lifecycle, logs

    logs.set_up(verbose)
    asyncio.run(lifecycle.run(config, record))


@app.command()
def read(
    what: WhatArgument,
    port: Annotated[str | None, typer.Option(metavar="PORT", help="/dev/ttyUSB0 or tcp://host:port.")] = None,
    key_file: KeyFileOption = None,
    since: SinceOption = None,
    as_json: JsonOption = False,
    baud: BaudOption = 9600,
    security: SecurityOption = "digest",
    key_level: KeyLevelOption = None,
    optical: OpticalOption = False,
    password_file: PasswordFileOption = None,
    config: cli_service.ConfigOption = None,
    meter: cli_service.MeterOption = None,
) -> None:
    """Read a meter now: over its port, or through the gateway that runs and has the port.

    Without --port and a secret it is a meter of the running gateway, or of the configuration.
    """
    from . import ask
    from . import read as reading

    wish = reading.Wish(reading.parse_kinds(what), as_json, reading.parse_since(since))
    if port is None:
        asyncio.run(ask.read_named(wish, config, meter))
        return
    if config is not None or meter is not None:
        raise ConfigurationError("--port is for a meter without -c and --meter: leave it out, or them")
    asyncio.run(
        ask.read_port(
            wish,
            port,
            lambda: _access(port, key_file, baud, security, key_level, optical, password_file),
        )
    )


@app.command()
def check(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration (TOML).")
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of the file instead.")
    ] = False,
) -> None:
    """Check a configuration; tells everything that is wrong at once."""
    if schema:
        import json

        from . import config as configuration

        print(json.dumps(configuration.json_schema(), indent=2))
        return
    if config is None:
        raise ConfigurationError("name the configuration with -c FILE")
    from . import check as checking

    print("\n".join(checking.summary(config)))


@app.command()
def forget_security(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The meter's name, or its port.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="The configuration that names the meter."),
    ] = None,
) -> None:
    """Forget that a meter has spoken TLS, so that less may be spoken with it: when it was exchanged, or its
    port was set to RC4."""
    from .forget_security import forget

    print(forget(name, config))


@app.command()
def decode(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A frame; - or nothing: standard input.")
    ] = None,
    meter_id: Annotated[
        str | None,
        typer.Option(metavar="UUID", help="The meter that a bare frame is of: the third level of its topic."),
    ] = None,
    flat: Annotated[bool, typer.Option("--flat", help="The reference implementation's flat form.")] = False,
) -> None:
    """Show a frame as the platform's JSON, one reading per line.

    FILE holds an envelope, or a bare frame as bytes, hex or base64; a bare frame needs --meter-id.
    """
    from . import decode as decoding

    decoding.decode(file, meter_id, flat)


@app.command()
def record(
    what: WhatArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="A new file for the recording.")
    ],
    port: PortOption,
    key_file: KeyFileOption = None,
    since: SinceOption = None,
    baud: BaudOption = 9600,
    security: SecurityOption = "digest",
    key_level: KeyLevelOption = None,
    optical: OpticalOption = False,
    password_file: PasswordFileOption = None,
) -> None:
    """Read a meter and record all traffic on the line, for a bug report or a test.

    The recording holds no key and no password. It does hold what the meter said: serial number and readings.
    It is kept also when reading fails, which is when it is wanted.
    """
    from . import read as reading

    kinds = reading.parse_kinds(what)
    begin = reading.parse_since(since)
    access = _access(port, key_file, baud, security, key_level, optical, password_file)
    recorder = access.record_to(output)
    try:
        asyncio.run(reading.read(access, reading.Wish(kinds, as_json=False, since=begin)))
    finally:
        recorder.close()
        if not recorder.failure:
            print(f"recorded to {output}", file=sys.stderr)
    if recorder.failure:
        raise typer.Exit(1)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording.")],
    listen: Annotated[
        str | None,
        typer.Option(metavar="pty|tcp:HOST:PORT", help="Play the meter there; port 0 is any free one."),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --listen: the key that clients shall prove, any you like."),
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --listen, optical port: the password clients shall send."),
    ] = None,
    hurry: Annotated[
        bool, typer.Option("--hurry", help="With --listen, MEP port: answer at once, not as recorded.")
    ] = False,
) -> None:
    """Show a recording in words, or with --listen play the meter from it.

    Played answers are those that were recorded for the same request, in their order. On a MEP port they are
    signed anew with the key of --key-file, on an optical port they are for who sends the password of
    --password-file: the recording's own are not needed. Requests that were not recorded are answered 04.
    Recordings of encrypted traffic can be shown, not played.
    """
    from . import record as recording
    from . import replay as replaying

    loaded = recording.load(file)
    if listen is None:
        if loaded.about.get("protocol") == "optical":
            from .transcript_optical import transcript
        else:
            from .replay import transcript
        print("\n".join(transcript(loaded)))
        return
    from .links import split_address
    from .meter_access import read_key, read_password
    from .replay_optical import OpticalPlayer

    address = None
    if listen != "pty":
        address = split_address(listen.removeprefix("tcp:").removeprefix("//"), f"--listen {listen}")
    if loaded.about.get("protocol") == "optical":
        if password_file is None:
            raise ConfigurationError("--listen needs --password-file: the password that clients shall send")
        optical = OpticalPlayer(loaded, read_password(password_file)[0])
        asyncio.run(replaying.play(optical, optical, address))
        return
    if key_file is None:
        raise ConfigurationError("--listen needs --key-file: the key that clients shall prove")
    player = replaying.Player(loaded, read_key(key_file)[0])
    channel = replaying.PlayerChannel(player, int(loaded.about.get("baud") or 9600), hurry)
    asyncio.run(replaying.play(player, channel, address))


@app.command()
def demo(
    seconds: Annotated[int | None, typer.Option(min=1, help="End by itself after so long.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the whole way: a virtual meter, the gateway, a broker and the cloud, on this machine alone."""
    from . import demo as demonstration

    asyncio.run(demonstration.demo(seconds, as_json))


def _access(
    port: str,
    key_file: Path | None,
    baud: int,
    security: str,
    key_level: str | None,
    optical: bool,
    password_file: Path | None,
) -> Any:
    from .links import parse_port
    from .meter_access import OpticalAccess, mep_access

    if optical:
        if key_file or security != "digest" or key_level:
            raise ConfigurationError(
                "--key-file, --security and --key-level are for the MEP port: leave them out"
            )
        if password_file is None:
            raise ConfigurationError("--optical needs --password-file: a file with the meter's MK, PK or RK")
        return OpticalAccess(parse_port(port), password_file, baud)
    if password_file:
        raise ConfigurationError("--password-file is for the optical port: add --optical")
    if key_file is None:
        raise ConfigurationError("name the meter's key with --key-file FILE, or add --optical")
    return mep_access(parse_port(port), key_file, baud, security, key_level)


def main() -> None:
    """The entry point: our errors become a message and their exit code, never a traceback."""
    try:
        app(prog_name="osgp-gateway")
    except GatewayError as error:
        print(f"osgp-gateway: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
