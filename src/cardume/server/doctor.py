"""`cardume doctor`: what is wrong before it goes wrong, and how to mend it."""

from __future__ import annotations

import os
import socket
import sqlite3
import tomllib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cardume.auth.policy import check_origins
from cardume.clock import SystemClock
from cardume.errors import ConfigurationError
from cardume.server.compose import check
from cardume.server.serve import bind
from cardume.server.tokens import verifier
from cardume.settings import Settings, misspelt
from cardume.storage.migrate import revisions
from cardume.storage.sqlite import checked_url


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    what: str
    ok: bool
    says: str


def examine(given: Mapping[str, Any]) -> list[Finding]:
    """Look at everything that `serve` needs, with these options."""
    try:
        settings = Settings(**given)
    except ValidationError as error:
        return [_setting(fault) for fault in error.errors(include_input=False)]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        says = f"cardume.toml or .env cannot be read: {error}"
        return [Finding("settings", ok=False, says=says)]
    return [
        _apps(settings),
        _tokens(settings),
        _api_key(settings),
        _origins(settings),
        _port("HTTP port", settings.host, settings.port, "--port or CARDUME_PORT"),
        _port(
            "MQTT port",
            settings.mqtt_host or settings.host,
            settings.mqtt_port,
            "--mqtt-port or CARDUME_MQTT_PORT",
        ),
        _database(settings),
    ]


def _setting(fault: Any) -> Finding:
    name = "CARDUME_" + "_".join(str(part) for part in fault["loc"]).upper()
    return Finding("settings", ok=False, says=f"{name}: {fault['msg']}")


def _apps(settings: Settings) -> Finding:
    try:
        check(settings)
    except ConfigurationError as error:
        return Finding("settings", ok=False, says=str(error))
    unheard = misspelt(os.environ)
    if unheard:
        return Finding("settings", ok=False, says=f"nobody reads {', '.join(unheard)}: a typo?")
    return Finding("settings", ok=True, says=f"readable; apps: {', '.join(settings.apps)}")


def _tokens(settings: Settings) -> Finding:
    try:
        verifier(settings, SystemClock())
    except ConfigurationError as error:
        return Finding("tokens", ok=False, says=str(error))
    source = "a secret" if settings.jwt_secret else "a JWKS" if settings.jwks_url else "a key"
    return Finding("tokens", ok=True, says=f"checked with {source}")


def _api_key(settings: Settings) -> Finding:
    if settings.api_key is None:
        return Finding("API key", ok=True, says="none: `POST /api/publish` is closed")
    return Finding("API key", ok=True, says="set")


def _origins(settings: Settings) -> Finding:
    try:
        allowed = check_origins(settings.allowed_origins)
    except ConfigurationError as error:
        return Finding("origins", ok=False, says=f"CARDUME_ALLOWED_ORIGINS: {error}")
    return Finding("origins", ok=True, says=", ".join(allowed) or "this server's own pages")


def _port(what: str, host: str, port: int, setting: str) -> Finding:
    try:
        bind(host, port).close()
    except ConfigurationError:
        if _answers(host, port):
            says = f"{port} is in use: stop what uses it, or choose another with {setting}"
        else:
            says = f"cannot listen on {host}:{port}: choose another with {setting} or --host"
        return Finding(what, ok=False, says=says)
    return Finding(what, ok=True, says=f"{port} is free")


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1.0).close()
    except OSError:
        return False
    return True


def _database(settings: Settings) -> Finding:
    """Without creating or migrating one: a doctor changes nothing."""
    try:
        url = checked_url(settings.database_url)
    except ConfigurationError as error:
        return Finding("database", ok=False, says=str(error))
    path = Path(str(url.database).removeprefix("file:"))
    if not path.exists():
        return _creatable(path)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return _schema(path, database)
    except sqlite3.Error as error:
        return Finding("database", ok=False, says=f"{path} cannot be used: {error}")


def _schema(path: Path, database: sqlite3.Connection) -> Finding:
    names = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    held = None
    if "alembic_version" in names:
        held = database.execute("SELECT version_num FROM alembic_version").fetchone()
    known = revisions()
    if held is None and names:
        return Finding("database", ok=False, says=f"{path} is the database of something else")
    if held is not None and held[0] not in known:
        return Finding("database", ok=False, says=f"{path} was made by a newer Cardume")
    if not os.access(path, os.W_OK):
        return Finding("database", ok=False, says=f"{path} cannot be written")
    if held is None or held[0] != known[0]:
        return Finding("database", ok=True, says=f"{path} is brought up to date at the next start")
    return Finding("database", ok=True, says=f"{path}, schema up to date")


def _creatable(path: Path) -> Finding:
    folder = path.absolute().parent
    if not folder.is_dir():
        return Finding("database", ok=False, says=f"no folder {folder}: make it first")
    try:
        probe = folder / f".{path.name}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Finding("database", ok=False, says=f"cannot write in {folder}: {error.strerror}")
    return Finding("database", ok=True, says=f"{path} is made at the first start")
