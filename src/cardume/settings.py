"""Every setting of `cardume serve`: from the environment, `.env` or `cardume.toml`.

The environment wins over `.env`, which wins over `cardume.toml`; a command's own options win over
all of them. An empty variable is unset. A library user needs none of it: `Hub()` reads the
`CARDUME_JWT_*` names alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

CommaList = Annotated[tuple[str, ...], NoDecode]


def _spelt(pattern: str, words: str) -> AfterValidator:
    """A text that matches; `words` tell people what a regular expression would not."""

    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise PydanticCustomError("spelling", words)
        return value

    return AfterValidator(check)


_Prefix = Annotated[
    str,
    _spelt(
        r"[A-Za-z0-9_\-]+(/[A-Za-z0-9_\-]+)*",
        "letters, digits, - and _, in levels divided by /, such as aquabook or farm/tanks",
    ),
]
_ClientId = Annotated[
    str, _spelt(r"[!-~]{1,128}", "1 to 128 printable ASCII characters without a space")
]


class Settings(BaseSettings):
    """Names are those of the environment without ``CARDUME_``; durations are seconds."""

    model_config = SettingsConfigDict(
        env_prefix="CARDUME_",
        env_file=".env",
        env_ignore_empty=True,
        toml_file="cardume.toml",
        extra="ignore",
        frozen=True,
    )

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    tls_cert: str | None = None
    tls_key: str | None = None
    """Files in PEM: with both, `port` speaks HTTPS."""
    apps: CommaList = ("aquarium", "agents", "cards", "executions")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    jwt_secret: SecretStr | None = None
    jwt_secret_previous: SecretStr | None = None
    jwt_public_key: str | None = None
    jwks_url: str | None = None
    jwt_algorithms: CommaList = ()
    jwt_audience: str | None = None
    jwt_issuer: str | None = None
    api_key: SecretStr | None = None
    allowed_origins: CommaList = ()

    database_url: str = Field("sqlite+aiosqlite:///cardume.db", repr=False)
    """May hold a password, so it is not shown."""
    owner_lease: float = Field(20.0, ge=1, le=3600)
    """Seconds without a heartbeat after which another server may take the database over."""
    readings_keep: int = Field(90, ge=0, le=36_500)
    """Days for which readings are kept one by one; then by the hour, for good. 0: for ever."""
    engine_url: str = "memory://"

    mqtt_host: str | None = None
    """Where the listener binds; the same as `host` unless set."""
    mqtt_port: int = Field(1883, ge=0, le=65535)
    mqtt_tls_port: int | None = Field(None, ge=0, le=65535)
    """Where the listener speaks TLS as well, by the files in PEM below; 8883 is usual."""
    mqtt_tls_host: str | None = None
    """Where it binds for that; the same as without TLS unless set."""
    mqtt_tls_cert: str | None = None
    mqtt_tls_key: str | None = None
    mqtt_tls_ca: str | None = None
    """Who signs the certificates of clients; unset, none is asked for."""
    mqtt_url: SecretStr | None = None
    """``mqtt://user:password@host:port`` or ``mqtts://…``: a broker that devices speak to, and not
    to the listener."""
    mqtt_ca: str | None = None
    mqtt_cert: str | None = None
    mqtt_key: str | None = None
    """Files in PEM for ``mqtts://``: who signed the broker's certificate, and ours if it asks."""
    mqtt_client_id: _ClientId | None = None
    """Our name at the broker; unset, one that belongs to the database."""
    mqtt_protocol: Literal["auto", "5", "3.1.1"] = "auto"
    mqtt_prefix: _Prefix = "aquabook"

    offline_after: float = Field(300.0, gt=0)
    offline_sweep_every: float = Field(120.0, gt=0)
    lwt_hold: float = Field(15.0, ge=0)

    agent_lease: float = Field(30.0, ge=1, le=86_400)
    """Seconds an agent may be silent after a heartbeat, unless it asked for others."""
    events: CommaList = ()
    """Event types for rooms beyond the 21."""
    execution_log_bytes: int = Field(256 * 1024 * 1024, ge=1024 * 1024)
    """What is kept of one execution's log."""

    messages_per_minute: float = Field(60.0, ge=0)
    max_connections: int | None = Field(None, gt=0)
    connections_per_user: int | None = Field(None, gt=0)
    connections_per_address: int | None = Field(None, gt=0)
    """By the peer's address: everybody behind one proxy shares it."""
    idle_timeout: float = Field(300.0, ge=0)
    """Seconds after which a WebSocket is sent away that holds no channel and says nothing."""
    drain_window: float = Field(5.0, ge=0)
    """Over how long the goodbyes are spread when the server stops."""

    @field_validator("apps", "events", "jwt_algorithms", "allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = TomlConfigSettingsSource(settings_cls)
        return (init_settings, env_settings, dotenv_settings, toml)


def secret(value: SecretStr | None) -> str | None:
    """The text of a secret setting."""
    return None if value is None else value.get_secret_value()


_OTHERS = frozenset(
    {"CARDUME_URL", "CARDUME_CA", "CARDUME_TOKEN", "CARDUME_DEVICE_KEY", "CARDUME_NO_SKIPS"}
)
"""Names that commands, examples and tests read by themselves."""


def misspelt(names: Iterable[str]) -> list[str]:
    """Variables that begin like ours and are none: a wish that nobody hears."""
    ours = {f"CARDUME_{name.upper()}" for name in Settings.model_fields} | _OTHERS
    return sorted(name for name in names if name.startswith("CARDUME_") and name not in ours)


def named() -> set[str]:
    """The variables of the environment, and those of `.env` that are not empty."""
    return {*os.environ, *(name.upper() for name in DotEnvSettingsSource(Settings).env_vars)}
