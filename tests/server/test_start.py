"""What keeps a server from starting: one line that says what to do, exit code 1, no traceback."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from pydantic import ValidationError

from cardume.errors import ConfigurationError
from cardume.server.compose import Composition
from cardume.settings import Settings
from tests.support.server import ENVIRONMENT, cardume


def says(folder: Path, *arguments: str, **env: str | None) -> str:
    """The one line on standard error of a real process."""
    quiet = {"CARDUME_LOG_LEVEL": "warning", **env}
    ended = cardume("serve", "--port", "0", "--mqtt-port", "0", *arguments, cwd=folder, **quiet)
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith("cardume: ")
    return line


def test_a_taken_http_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = says(tmp_path, "--port", port)
    assert port in line
    assert "--port" in line


def test_a_taken_mqtt_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = says(tmp_path, "--mqtt-port", port)
    assert port in line
    assert "CARDUME_MQTT_PORT" in line


def test_no_secret(tmp_path: Path) -> None:
    assert "CARDUME_JWT_SECRET" in says(tmp_path, CARDUME_JWT_SECRET=None)


def test_a_database_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "cardume.db").write_bytes(b"a shopping list, not a database" * 50)
    assert "cannot be used" in says(tmp_path)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Those of a server that could start, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CARDUME_JWT_SECRET", "short", "at least 32 bytes"),
        ("CARDUME_APPS", "aquarium, teapot", "'teapot'"),
        ("CARDUME_MQTT_URL", "mqtt://me:hunter2@localhost/x", "CARDUME_MQTT_URL"),
        ("CARDUME_ENGINE_URL", "carrier-pigeon://", "carrier-pigeon"),
        ("CARDUME_ALLOWED_ORIGINS", "https://a.example/path", "origin"),
        ("CARDUME_DATABASE_URL", "mysql://me:hunter2@localhost/x", "sqlite"),
        ("CARDUME_JWT_ALGORITHMS", "none", "none"),
    ],
)
def test_settings_that_cannot_be(
    settings: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    settings.setenv(name, value)
    with pytest.raises(ConfigurationError, match=expected) as refused:
        Composition(Settings())
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CARDUME_PORT", "http"),
        ("CARDUME_PORT", "65536"),
        ("CARDUME_OFFLINE_AFTER", "0"),
        ("CARDUME_LWT_HOLD", "-1"),
        ("CARDUME_LOG_LEVEL", "loud"),
        ("CARDUME_MQTT_PREFIX", "a/#"),
        ("CARDUME_CONNECTIONS_PER_USER", "0"),
        ("CARDUME_CONNECTIONS_PER_ADDRESS", "-1"),
    ],
)
def test_settings_of_a_wrong_kind(settings: pytest.MonkeyPatch, name: str, value: str) -> None:
    settings.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_settings_come_from_files_too_and_the_environment_wins(
    settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cardume.toml").write_text('mqtt_prefix = "toml"\nlog_level = "WARNING"\n')
    assert (Settings().mqtt_prefix, Settings().log_level) == ("toml", "warning")
    (tmp_path / ".env").write_text("CARDUME_MQTT_PREFIX=dotenv\n")
    assert Settings().mqtt_prefix == "dotenv"
    settings.setenv("CARDUME_MQTT_PREFIX", "environment")
    assert Settings().mqtt_prefix == "environment"
    assert Settings(mqtt_prefix="option").mqtt_prefix == "option"


def test_no_secret_is_shown_by_printing_the_settings(settings: pytest.MonkeyPatch) -> None:
    text = repr(Settings())
    assert ENVIRONMENT["CARDUME_JWT_SECRET"] not in text
    assert ENVIRONMENT["CARDUME_API_KEY"] not in text
