"""Where the server would listen: hosts that are none, and ports that meet."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from cardume.errors import ConfigurationError
from cardume.server.compose import check
from cardume.server.doctor import Finding, examine
from cardume.settings import Settings
from tests.client.authority import Authority
from tests.support.ports import free_port
from tests.support.server import ENVIRONMENT, cardume


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.chdir(tmp_path)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(Authority(tmp_path_factory.mktemp("authority")).server())


def by_ipv6(*given: object) -> list[object]:
    """Where the machine has none there is nothing to see."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return []
    return list(given)


def settings(pem: str = "", /, **given: Any) -> Settings:
    files = {"mqtt_tls_cert": pem, "mqtt_tls_key": pem} if pem else {}
    return Settings.model_validate({"port": 0, "mqtt_port": 0, **files, **given})


def faults() -> list[Finding]:
    return [finding for finding in examine({}) if not finding.ok]


# -- ports ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"port": 1883, "mqtt_port": 1883},
        {"port": 1883, "mqtt_port": 1883, "mqtt_host": "0.0.0.0"},
        {"port": 1883, "mqtt_port": 1883, "host": "0.0.0.0", "mqtt_host": "127.0.0.1"},
        {"port": 1883, "mqtt_port": 1883, "mqtt_host": "localhost"},
        *by_ipv6({"port": 1883, "mqtt_port": 1883, "host": "::", "mqtt_host": "127.0.0.1"}),
        *by_ipv6({"port": 1883, "mqtt_port": 1883, "host": "::1", "mqtt_host": "::"}),
    ],
)
def test_http_and_mqtt_on_one_port_are_refused_and_both_named(given: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="CARDUME_PORT and CARDUME_MQTT_PORT are both"):
        check(settings(**given))


def test_mqtt_with_and_without_tls_on_one_port_are_refused_and_both_named(pem: str) -> None:
    says = "CARDUME_MQTT_PORT and CARDUME_MQTT_TLS_PORT are both 1883"
    with pytest.raises(ConfigurationError, match=says):
        check(settings(pem, mqtt_port=1883, mqtt_tls_port=1883))
    check(settings(pem, mqtt_port=1883, mqtt_tls_port=1883, mqtt_tls_host="127.0.0.2"))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"port": 1883, "mqtt_port": 1883, "mqtt_host": "127.0.0.2"},
        {"port": 1883, "mqtt_port": 1883, "apps": "cards"},
        {"port": 1883, "mqtt_port": 1883, "mqtt_url": "mqtt://127.0.0.1"},
        *by_ipv6({"port": 1883, "mqtt_port": 1883, "host": "127.0.0.1", "mqtt_host": "::1"}),
    ],
)
def test_ports_that_do_not_meet(given: dict[str, object]) -> None:
    check(settings(**given))


def test_the_doctor_says_that_ports_meet_and_serve_does(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port = str(free_port())
    environment.setenv("CARDUME_PORT", port)
    environment.setenv("CARDUME_MQTT_PORT", port)
    (bad,) = faults()
    ended = cardume("serve", cwd=tmp_path, CARDUME_PORT=port, CARDUME_MQTT_PORT=port)
    assert (ended.returncode, ended.stderr) == (1, f"cardume: {bad.says}\n")
    assert f"CARDUME_PORT and CARDUME_MQTT_PORT are both {port}" in bad.says


def test_the_doctor_sees_a_port_taken_without_knocking_at_it(
    environment: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.setblocking(False)
        environment.setenv("CARDUME_PORT", "0")
        environment.setenv("CARDUME_MQTT_PORT", str(taken.getsockname()[1]))
        (bad,) = faults()
        with pytest.raises(BlockingIOError):
            taken.accept()
    assert (bad.what, "is in use" in bad.says) == ("MQTT port", True)


# -- hosts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["no.such.invalid", "192.0.2.1", "two words", "nul\0", "x" * 300])
@pytest.mark.parametrize("name", ["host", "mqtt_host", "mqtt_tls_host"])
def test_a_host_that_is_none_of_ours_is_named_by_its_setting(
    pem: str, name: str, host: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^CARDUME_{name.upper()}: ") as refused:
        check(settings(pem, mqtt_tls_port=0, **{name: host}))
    assert "no address of this machine" in str(refused.value)
    assert "port" not in str(refused.value)


@pytest.mark.parametrize("name", ["HOST", "MQTT_HOST"])
def test_the_doctor_says_so_once_and_serve_does(
    environment: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    ports = {"CARDUME_PORT": "0", "CARDUME_MQTT_PORT": "0", f"CARDUME_{name}": "192.0.2.1"}
    for variable, value in ports.items():
        environment.setenv(variable, value)
    (bad,) = faults()
    ended = cardume("serve", cwd=tmp_path, **ports)
    assert (ended.returncode, ended.stderr) == (1, f"cardume: {bad.says}\n")
    assert bad.says.startswith(f"CARDUME_{name}: ")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", *by_ipv6("::", "::1")])
def test_hosts_of_this_machine(pem: str, host: str) -> None:
    check(settings(pem, mqtt_tls_port=0, host=host))
    check(settings(pem, mqtt_tls_port=0, mqtt_host=host))
