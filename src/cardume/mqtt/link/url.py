"""Where a broker is and how to log in there: `CARDUME_MQTT_URL`, read without ever quoting it.

A URL holds a password, so no message and no repr of this file shows more than scheme, host, port.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from cardume.errors import ConfigurationError

PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_RIGHT: Final = "it looks like mqtt://user:password@host:1883 or mqtts://user:password@host:8883"
_ESCAPE: Final = "write / ? # @ : % in a user or password as %2F %3F %23 %40 %3A %25"


class BrokerAddress(msgspec.Struct, frozen=True, kw_only=True):
    """A broker, and who we are to it."""

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    __repr__ = __str__


def parse_url(url: str) -> BrokerAddress:
    """Read ``mqtt[s]://[user[:password]@]host[:port]``.

    Raises:
        ConfigurationError: it is not such a URL; the message says what is wrong, not what was sent.
    """
    parts, port = _split(url)
    if parts.scheme not in PORTS:
        raise _wrong(f"it begins with mqtt:// or mqtts://; {_RIGHT}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _wrong(f"nothing follows the port; {_ESCAPE}")
    if parts.netloc.count("@") > 1:
        raise _wrong(f"it has more than one @; {_ESCAPE}")
    if not parts.hostname:
        raise _wrong(f"it names no host; {_RIGHT}")
    if parts.password and not parts.username:
        raise _wrong("a password needs a user")  # MQTT 3.1.1 §3.1.2.9
    return BrokerAddress(
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        tls=parts.scheme == "mqtts",
        username=_text("user", parts.username),
        password=_text("password", parts.password),
    )


def _split(url: str) -> tuple[SplitResult, int | None]:
    if not url.isprintable() or " " in url:
        raise _wrong("it holds a blank or a character that cannot be printed")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text quotes the URL
        raise _wrong(f"its host or port cannot be read; {_RIGHT}; {_ESCAPE}") from None
    if port == 0:
        raise _wrong("a port is a number from 1 to 65535")
    return parts, port


def _text(what: str, quoted: str | None) -> str | None:
    if not quoted:
        return None
    try:
        text = unquote(quoted, errors="strict")
    except UnicodeDecodeError:
        raise _wrong(f"the {what} is not UTF-8 once its %-escapes are read") from None
    if "\0" in text:  # MQTT 3.1.1 §1.5.3
        raise _wrong(f"the {what} holds a NUL")
    return text


def _wrong(why: str) -> ConfigurationError:
    return ConfigurationError(f"CARDUME_MQTT_URL: {why}")


def tls_context(
    address: BrokerAddress, *, ca: str | None, cert: str | None, key: str | None
) -> ssl.SSLContext | None:
    """How to check the broker, and to show who we are; None where there is no TLS.

    Without `ca` the authorities of this system are believed. The host's name is always checked.

    Raises:
        ConfigurationError: a file cannot be read, or does not fit the others.
    """
    given = {"CARDUME_MQTT_CA": ca, "CARDUME_MQTT_CERT": cert, "CARDUME_MQTT_KEY": key}
    if not address.tls:
        for name, value in given.items():
            if value:
                raise ConfigurationError(f"{name} is for mqtts://, and CARDUME_MQTT_URL is mqtt://")
        return None
    if key and not cert:
        raise ConfigurationError("CARDUME_MQTT_KEY needs its certificate in CARDUME_MQTT_CERT")
    for name, value in given.items():
        if value:
            _readable(name, value)
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except (ssl.SSLError, ValueError):
        raise ConfigurationError(f"CARDUME_MQTT_CA: {ca} holds no PEM certificate") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert:
        _show(context, cert, key or None)
    return context


def _show(context: ssl.SSLContext, cert: str, key: str | None) -> None:
    try:
        # An empty password: one that is asked for at a terminal would hang the start.
        context.load_cert_chain(cert, key, password="")
    except (ssl.SSLError, ValueError):
        of = f"{cert} and {key}" if key else cert
        raise ConfigurationError(
            f"CARDUME_MQTT_CERT, CARDUME_MQTT_KEY: {of} are no PEM certificate with its key, "
            "or the key is encrypted"
        ) from None


def _readable(name: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise ConfigurationError(f"{name}: cannot read {path}: {error.strerror}") from None
