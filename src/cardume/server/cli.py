"""The command line. Errors are one line that says what to do; exit 2 for usage, 1 for the rest."""

from __future__ import annotations

import asyncio
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer
from pydantic import SecretStr

import cardume
from cardume.auth.secrets import MAX_PASSWORD
from cardume.errors import CardumeError, ConfigurationError
from cardume.server import db
from cardume.server.console import Database
from cardume.server.console import one_line_errors as _one_line_errors
from cardume.server.console import settings_with as _settings
from cardume.settings import Settings, misspelt, named

app = typer.Typer(
    name="cardume",
    help="The real-time layer for FastAPI: one hub for devices, services and browsers.",
    epilog="Settings come from CARDUME_* variables, .env or cardume.toml. Start with: cardume demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
users = typer.Typer(help="Users who log in with a password.", no_args_is_help=True)
device = typer.Typer(help="Devices that connect over MQTT.", no_args_is_help=True)
app.add_typer(users, name="user")
app.add_typer(device, name="device")
app.add_typer(db.app, name="db")


class Role(StrEnum):
    ADMIN = "admin"
    SERVICE = "service"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


DEMO_DATABASE = "sqlite+aiosqlite:///cardume-demo.db"

# What is taken where nothing is set anywhere; a `[default: …]` in a help text would not be shown.
Host = Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")]
Port = Annotated[int | None, typer.Option(help="HTTP and WebSocket port.", show_default="8000")]
MqttPort = Annotated[int | None, typer.Option(help="MQTT listener's port.", show_default="1883")]
Apps = Annotated[
    str | None,
    typer.Option(
        help="Of aquarium, agents, cards, executions, separated by commas.", show_default="all four"
    ),
]
Ca = Annotated[
    str | None,
    typer.Option(
        envvar="CARDUME_CA",
        metavar="FILE",
        help="Who may sign the certificate of an https server, in PEM.",
        show_default="the system's",
    ),
]
Level = Annotated[
    LogLevel | None, typer.Option("--log-level", help="How much to log.", show_default="info")
]
DemoLevel = Annotated[
    LogLevel | None, typer.Option("--log-level", help="How much to log.", show_default="warning")
]
DemoDatabase = Annotated[str | None, typer.Option(help="Database URL.", show_default=DEMO_DATABASE)]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cardume {cardume.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say and leave.")
    ] = False,
) -> None:
    """Options that every command has."""


@app.command()
@_one_line_errors
def serve(
    host: Host = None,
    port: Port = None,
    mqtt_port: MqttPort = None,
    database: Database = None,
    apps: Apps = None,
    log_level: Level = None,
) -> None:
    """Run the hub with its apps. Needs CARDUME_JWT_SECRET, or another way to check tokens."""
    settings = _settings(
        host=host,
        port=port,
        mqtt_port=mqtt_port,
        database_url=database,
        apps=apps,
        log_level=log_level,
    )
    _serve(settings)


@app.command()
@_one_line_errors
def demo(
    host: Host = None,
    port: Port = None,
    mqtt_port: MqttPort = None,
    database: DemoDatabase = None,
    apps: Apps = None,
    log_level: DemoLevel = None,
) -> None:
    """Run everything with a sample aquarium, simulated MQTT devices, and a token for a day."""
    from cardume.auth.secrets import new_key

    impatient = {
        "log_level": LogLevel.WARNING,
        "offline_after": 20.0,
        "offline_sweep_every": 10.0,
        "lwt_hold": 5.0,
    }
    chosen = {
        "host": host,
        "port": port,
        "mqtt_port": mqtt_port,
        "apps": apps,
        "log_level": log_level,
        # Its own, whatever is configured: a demo touches nobody's data and opens nobody's door.
        "database_url": database or DEMO_DATABASE,
        "jwt_secret": SecretStr(new_key()),
        "api_key": SecretStr(new_key()),
    }
    configured = _settings(**chosen)
    unset = {k: v for k, v in impatient.items() if k not in configured.model_fields_set}
    unset |= {"tls_cert": None, "tls_key": None}  # whom it lets in comes from a plain local page
    # Its devices speak to its own listener.
    _serve(configured.model_copy(update={**unset, "mqtt_url": None}), with_demo=True)


def _serve(settings: Settings, *, with_demo: bool = False) -> None:
    from cardume.server import banner, logging, process
    from cardume.server.compose import Composition
    from cardume.server.demo import Demo
    from cardume.server.serve import bind, run

    logging.configure(settings.log_level)
    for name in misspelt(named()):
        typer.echo(f"cardume: nobody reads {name}: a typo?", err=True)
    for remark in process.remarks(settings.max_connections):
        typer.echo(f"cardume: {remark}", err=True)
    composition = Composition(settings, Demo() if with_demo else None)
    listening = bind(settings.host, settings.port)
    port = listening.getsockname()[1]
    composition.storage.address = banner.address(settings, port)
    run(
        composition,
        listening,
        settings.log_level,
        started=lambda: typer.echo(banner.text(composition, port)),
    )
    if composition.storage.lost is not None:
        raise CardumeError(composition.storage.lost)


@app.command()
@_one_line_errors
def token(
    user: Annotated[str | None, typer.Option(help="Who the token speaks for: its `sub`.")] = None,
    agent: Annotated[
        str | None, typer.Option(help="Instead of --user: the agent that it speaks for, by its id.")
    ] = None,
    aquarium: Annotated[
        list[int] | None, typer.Option(help="An aquarium it may see; may be repeated.")
    ] = None,
    channel: Annotated[
        list[str] | None, typer.Option(help="A pattern of channels it may join; may be repeated.")
    ] = None,
    role: Annotated[Role | None, typer.Option(help="What it may do beyond its own.")] = None,
    broadcast: Annotated[
        bool, typer.Option("--broadcast", help="May say events with POST /ws/broadcast.")
    ] = False,
    ttl: Annotated[str, typer.Option(help="How long it lives: 90s, 15m, 1h, 7d.")] = "1h",
) -> None:
    """Print a token signed with CARDUME_JWT_SECRET."""
    from cardume.clock import SystemClock
    from cardume.server.tokens import signer

    if (user is None) == (agent is None):
        raise typer.BadParameter("say whose token it is: --user NAME, or --agent AGENT_ID")
    sub = user or agent or ""
    if not 0 < len(sub) <= 255 or not sub.isprintable():
        raise ConfigurationError("--user and --agent are 1 to 255 printable characters")
    claims: dict[str, Any] = {} if agent is None else {"kind": "agent"}
    if broadcast:
        claims["broadcast"] = True
    minter = signer(_settings(), SystemClock())
    if minter is None:
        raise ConfigurationError(
            "set CARDUME_JWT_SECRET to the secret of the server, in the environment or in .env"
        )
    try:
        text = minter.mint(
            sub, ttl=_seconds(ttl), role=role, aquariums=aquarium, channels=channel, **claims
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    typer.echo(text)


@users.command("add")
@_one_line_errors
def add_user(
    name: str,
    admin: Annotated[bool, typer.Option("--admin", help="May see and change everything.")] = False,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    database: Database = None,
) -> None:
    """Add a user, or give an existing one a new password. Asks for the password."""
    if password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    if not 8 <= len(password) <= MAX_PASSWORD:
        raise ConfigurationError(f"a password has 8 to {MAX_PASSWORD} characters")
    from cardume.server import offline

    asyncio.run(offline.add_user(_settings(database_url=database), name, password, admin=admin))
    typer.echo(f"user {name} may log in" + (" as an admin" if admin else ""))


@device.command("add")
@_one_line_errors
def add_device(
    device_id: str,
    aquarium: Annotated[int, typer.Option(help="The aquarium it watches.")],
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    interval: Annotated[
        float | None, typer.Option(help="Seconds between its messages, if known.")
    ] = None,
    database: Database = None,
) -> None:
    """Register a device and print its key, this once. A running server learns of it by itself."""
    from cardume.server import offline

    settings = _settings(database_url=database)
    key = asyncio.run(offline.add_device(settings, device_id, aquarium, name, interval))
    typer.echo(key)
    typer.echo(
        f"device {device_id} logs in over MQTT with its id and this key; it is not shown again",
        err=True,
    )


@app.command()
@_one_line_errors
def publish(
    channel: str,
    data: Annotated[str, typer.Argument(metavar="JSON", help="Any JSON, or - for stdin.")],
    type: Annotated[str | None, typer.Option(help="The event's name.")] = None,
    key: Annotated[str | None, typer.Option(help="What it is the latest state of.")] = None,
    url: Annotated[
        str, typer.Option(envvar="CARDUME_URL", help="Where the server is.")
    ] = "http://127.0.0.1:8000",
    ca: Ca = None,
) -> None:
    """Publish on a channel of a running server. Needs CARDUME_API_KEY; prints the position."""
    from cardume.server.publish import publish as send

    text = sys.stdin.read() if data == "-" else data
    typer.echo(send(_settings(), url, channel, text, type=type, key=key, ca=ca))


@app.command(
    "exec",
    context_settings={"allow_interspersed_args": False},
    epilog="Example: cardume exec --card card-12 -- make -j4 test",
)
@_one_line_errors
def execute(
    command: Annotated[list[str], typer.Argument(help="What to run, after --.")],
    card: Annotated[str | None, typer.Option(help="The card it belongs to.")] = None,
    name: Annotated[
        str | None, typer.Option(help="What viewers call it.", show_default="the command")
    ] = None,
    patience: Annotated[
        float,
        typer.Option(min=0, help="Seconds to wait for a server that is away when all is done."),
    ] = 600.0,
    url: Annotated[
        str, typer.Option(envvar="CARDUME_URL", help="Where the server is.")
    ] = "http://127.0.0.1:8000",
    ca: Ca = None,
) -> None:
    """Run a command on this machine while others watch. Exits as it does; token: CARDUME_TOKEN."""
    from cardume.runner.delivery import Pace
    from cardume.runner.run import Options, run

    options = Options(pace=Pace(patience=patience))
    raise typer.Exit(run(command, url, name=name, card_id=card, ca=ca, options=options))


@app.command()
@_one_line_errors
def doctor(
    host: Host = None,
    port: Port = None,
    mqtt_port: MqttPort = None,
    database: Database = None,
) -> None:
    """Check settings, ports, database; say how to mend what is wrong. Exit 0: all is well."""
    from cardume.server.doctor import examine

    given = {"host": host, "port": port, "mqtt_port": mqtt_port, "database_url": database}
    findings = examine({k: v for k, v in given.items() if v is not None})
    for finding in findings:
        mark = typer.style("ok  ", fg="green") if finding.ok else typer.style("FAIL", fg="red")
        typer.echo(f"{mark} {finding.what}: {finding.says}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _seconds(text: str) -> float:
    """``90s``, ``15m``, ``1h``, ``7d``; a bare number is seconds."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    unit = units.get(text[-1:])
    try:
        seconds = float(text) if unit is None else float(text[:-1]) * unit
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 10 * 366 * 86_400:
        raise ConfigurationError(f"--ttl {text!r}: write 90s, 15m, 1h or 7d")
    return seconds


def main() -> None:
    """The `cardume` command."""
    app()
