"""What an empty variable means, and what a wrong one is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cardume.errors import ConfigurationError
from cardume.server.compose import check
from cardume.server.console import settings_with
from cardume.server.doctor import examine
from cardume.settings import Settings
from tests.support.server import cardume


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_an_empty_variable_is_unset(
    monkeypatch: pytest.MonkeyPatch, folder: Path, name: str
) -> None:
    """As `NAME: ${NAME}` in a compose file makes it."""
    unset = getattr(Settings(), name)
    monkeypatch.setenv(f"CARDUME_{name.upper()}", "")
    assert getattr(Settings(), name) == unset
    monkeypatch.delenv(f"CARDUME_{name.upper()}")
    (folder / ".env").write_text(f"CARDUME_{name.upper()}=\n")
    assert getattr(Settings(), name) == unset


def test_an_empty_host_is_this_machine_or_an_error_and_never_every_address(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("CARDUME_HOST", "")
    assert Settings().host == "127.0.0.1"
    with pytest.raises(ConfigurationError, match="CARDUME_HOST is empty"):
        check(Settings(host=""))
    (folder / "cardume.toml").write_text('host = ""\n')
    with pytest.raises(ConfigurationError, match="CARDUME_HOST is empty"):
        check(Settings())


def test_an_empty_option_is_not_a_variable() -> None:
    assert settings_with(apps="").apps == ()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MQTT_PREFIX", "a/#", "letters, digits, - and _, in levels divided by /"),
        ("MQTT_PREFIX", "/a", "letters, digits, - and _, in levels divided by /"),
        ("MQTT_PREFIX", "a\n", "letters, digits, - and _, in levels divided by /"),
        ("MQTT_CLIENT_ID", "two words", "1 to 128 printable ASCII characters without a space"),
        ("MQTT_CLIENT_ID", "x" * 129, "1 to 128 printable ASCII characters without a space"),
    ],
)
def test_what_a_name_may_be_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"CARDUME_{name}", value)
    (bad,) = examine({})
    assert bad.says.startswith(f"CARDUME_{name}: {says}")


@pytest.mark.parametrize(
    ("name", "value"), [("mqtt_prefix", "farm-1/tank_2"), ("mqtt_client_id", "!hub~")]
)
def test_names_that_may_be(name: str, value: str) -> None:
    assert getattr(Settings(**{name: value}), name) == value  # type: ignore[arg-type]


def test_a_command_tells_it_in_one_line(folder: Path) -> None:
    ended = cardume("serve", cwd=folder, CARDUME_MQTT_PREFIX="a/#")
    assert ended.stderr == (
        "cardume: CARDUME_MQTT_PREFIX: letters, digits, - and _, in levels divided by /, "
        "such as aquabook or farm/tanks\n"
    )


def test_a_typo_in_the_file_is_named_as_one_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("CARDUME_PROT", "1")
    (folder / ".env").write_text("export CARDUME_HSOT=::1\nCARDUME_URL=http://x\nOTHERS=1\n")
    (settings,) = (found for found in examine({}) if found.what == "settings")
    assert not settings.ok
    assert settings.says == "nobody reads CARDUME_HSOT, CARDUME_PROT: a typo?"


def test_serve_names_a_typo_in_the_file(folder: Path) -> None:
    (folder / ".env").write_text("CARDUME_HSOT=::1\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = cardume("serve", "--port", str(taken.getsockname()[1]), cwd=folder)
    assert ended.stderr.startswith("cardume: nobody reads CARDUME_HSOT: a typo?\n")
