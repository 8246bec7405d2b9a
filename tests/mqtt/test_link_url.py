"""`CARDUME_MQTT_URL`: what is read, what is refused, and that no password is ever said."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.errors import ConfigurationError
from cardume.mqtt.link.url import BrokerAddress, parse_url, tls_context
from cardume.server import link
from cardume.settings import Settings


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://broker", BrokerAddress(host="broker", port=1883)),
        ("mqtts://broker/", BrokerAddress(host="broker", port=8883, tls=True)),
        ("MQTT://Broker:1", BrokerAddress(host="broker", port=1)),
        ("mqtt://[::1]:1884", BrokerAddress(host="::1", port=1884)),
        ("mqtt://hub@broker", BrokerAddress(host="broker", port=1883, username="hub")),
        (
            "mqtt://h%40b:p%2Fw%25@broker",
            BrokerAddress(host="broker", port=1883, username="h@b", password="p/w%"),
        ),
    ],
)
def test_what_is_read(url: str, address: BrokerAddress) -> None:
    assert parse_url(url) == address


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "mqtt://"),
        ("broker:1883", "mqtt://"),
        ("http://hub:hunter2@broker", "mqtt://"),
        ("mqtt://", "no host"),
        ("mqtt://hub:hunter2@", "no host"),
        ("mqtt://hub:hunter2@broker:0", "1 to 65535"),
        ("mqtt://hub:hunter2@broker:x", "cannot be read"),
        ("mqtt://hub:hunter2@broker:70000", "cannot be read"),
        ("mqtt://hub:hunter2@[::1", "cannot be read"),
        ("mqtt://hub:hunter2/more@broker", "%2F"),
        ("mqtt://hub:hunter2@broker/topic", "follows the port"),
        ("mqtt://hub:hunter2@broker?a=b", "follows the port"),
        ("mqtt://hub:hunter2#@broker", "%23"),
        ("mqtt://hub:hunter2@more@broker", "%40"),
        ("mqtt://:hunter2@broker", "needs a user"),
        ("mqtt://hub:hunter2 @broker", "blank"),
        ("mqtt://hub:hunter2\n@broker", "cannot be printed"),
        ("mqtt://hub:hunter2%ff@broker", "UTF-8"),
        ("mqtt://hub:hunter2%00@broker", "NUL"),
    ],
)
def test_what_is_refused_and_that_the_password_is_not_said(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_url(url)
    assert str(refused.value).startswith("CARDUME_MQTT_URL: ")
    assert says in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
)
def test_any_user_and_password_can_be_written(user: str, password: str) -> None:
    address = parse_url(f"mqtts://{quote(user, safe='')}:{quote(password, safe='')}@broker:1")
    assert (address.username, address.password) == (user, password)
    assert str(address) == repr(address) == "mqtts://broker:1"


@given(st.text())
def test_anything_else_is_a_clear_error(text: str) -> None:
    try:
        address = parse_url(text)
    except ConfigurationError:
        return
    assert address.host


# -- TLS ---------------------------------------------------------------------------------------

TLS = BrokerAddress(host="broker", port=8883, tls=True)
PLAIN = BrokerAddress(host="broker", port=1883)


def test_without_tls_there_is_nothing_to_check_and_nothing_to_ignore() -> None:
    assert tls_context(PLAIN, ca=None, cert=None, key=None) is None
    with pytest.raises(ConfigurationError, match="CARDUME_MQTT_CA is for mqtts://"):
        tls_context(PLAIN, ca="ca.pem", cert=None, key=None)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("-----BEGIN NOTHING-----")
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(ConfigurationError, match=r"CARDUME_MQTT_CA: cannot read .*: No such file"):
        tls_context(TLS, ca=missing, cert=None, key=None)
    with pytest.raises(ConfigurationError, match=r"CARDUME_MQTT_CA: .* no PEM certificate"):
        tls_context(TLS, ca=str(junk), cert=None, key=None)
    with pytest.raises(ConfigurationError, match="CARDUME_MQTT_CERT: cannot read"):
        tls_context(TLS, ca=None, cert=missing, key=None)
    with pytest.raises(ConfigurationError, match="CARDUME_MQTT_KEY needs its certificate"):
        tls_context(TLS, ca=None, cert=None, key=str(junk))
    with pytest.raises(ConfigurationError, match="no PEM certificate with its key"):
        tls_context(TLS, ca=None, cert=str(junk), key=str(junk))


def test_the_name_of_the_broker_is_always_checked() -> None:
    context = tls_context(TLS, ca=None, cert=None, key=None)
    assert context is not None
    assert context.check_hostname


# -- settings that need a URL ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["CA", "CERT", "KEY"])
def test_a_file_for_a_link_that_there_is_not(name: str) -> None:
    given: dict[str, Any] = {f"mqtt_{name.lower()}": "x.pem"}
    says = f"CARDUME_MQTT_{name} is for the link .* or CARDUME_MQTT_TLS_{name} if the listener"
    with pytest.raises(ConfigurationError, match=says):
        link.check(Settings(**given))


@pytest.mark.parametrize("given", [{"mqtt_client_id": "hub"}, {"mqtt_protocol": "3.1.1"}])
def test_a_name_or_a_version_for_a_link_that_there_is_not(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="CARDUME_MQTT_URL is not set: set both or none"):
        link.check(Settings(**given))


def test_what_is_left_at_its_default_needs_no_url() -> None:
    link.check(Settings(mqtt_ca="", mqtt_protocol="auto"))
