"""`cardume serve` with certificates: HTTPS, wss and MQTT over TLS; and settings that cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from cardume.auth.signer import TokenSigner
from cardume.clock import SystemClock
from cardume.errors import ConfigurationError
from cardume.server.doctor import Finding, examine
from cardume.server.offline import add_device
from cardume.server.tls import https, mqtt, pinned
from cardume.settings import Settings
from cardume.storage.owner import Owned
from tests.client.authority import Authority
from tests.mqtt.clients import mosquitto, needs_mosquitto
from tests.support.server import API_KEY, ENVIRONMENT, SECRET, environment

_UP = re.compile(
    r"Cardume is up: https://127\.0\.0\.1:(\d+)/, MQTT on 127\.0\.0\.1:\d+, "
    r"with TLS on 127\.0\.0\.2:(\d+)\. Stop"
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextlib.contextmanager
def serving(folder: Path, **env: str) -> Iterator[tuple[int, int]]:
    """The ports of a server: HTTPS, and MQTT with TLS."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cardume", "serve", "--port", "0", "--mqtt-port", "0"],
            cwd=folder,
            env=environment(**env),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    try:
        found = _UP.match(process.stdout.readline())
        assert found is not None, (folder / "log").read_text()
        yield int(found[1]), int(found[2])
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


@needs_mosquitto
def test_serve_speaks_https_mqtts_and_wss_to_its_own_pages(
    authority: Authority, tmp_path: Path
) -> None:
    pem, elsewhere = str(authority.server()), str(authority.server("127.0.0.2"))
    trust = ssl.create_default_context(cafile=str(authority.ca))
    env = {
        "CARDUME_TLS_CERT": pem,
        "CARDUME_TLS_KEY": pem,
        "CARDUME_MQTT_TLS_PORT": "0",
        "CARDUME_MQTT_TLS_HOST": "127.0.0.2",
        "CARDUME_MQTT_TLS_CERT": elsewhere,
        "CARDUME_MQTT_TLS_KEY": elsewhere,
    }
    with serving(tmp_path, **env) as (port, mqtt_port):
        with httpx2.Client(base_url=f"https://127.0.0.1:{port}", verify=trust) as client:
            assert client.get("/health").status_code == 200
            client.headers["Authorization"] = f"Bearer {_admin()}"
            made = client.post("/api/v1/aquariums", json={"name": "Reef", "kind": "reef"})
            assert made.status_code == 201
        assert _device_added_beside_it(tmp_path, pem)
        with pytest.raises(Owned):  # that is not the certificate it shows
            _device_added_beside_it(tmp_path, elsewhere)
        for junk in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x00\x00", b""):
            for place in (("127.0.0.1", port), ("127.0.0.2", mqtt_port)):
                with socket.create_connection(place) as stranger:
                    stranger.sendall(junk)
        url = f"wss://127.0.0.1:{port}/mqtt"
        offer = [Subprotocol("mqtt")]
        with pytest.raises(InvalidStatus) as refused:
            connect(url, ssl=trust, subprotocols=offer, origin=Origin("https://evil.example"))
        assert refused.value.response.status_code == 403
        ours = Origin(f"https://127.0.0.1:{port}")
        with connect(url, ssl=trust, subprotocols=offer, origin=ours) as page:
            # A service: the API key is its password.
            body = b"\x00\x04MQTT\x04\xc2\x00\x00\x00\x01p\x00\x01p" + _text(API_KEY)
            page.send(bytes((0x10, len(body))) + body)
            assert page.recv() == b"\x20\x02\x00\x00"
            arguments = ("-t", "x/y", "-m", "1", "-q", "1", "-P", API_KEY)
            cafile = ("-h", "127.0.0.2", "--cafile", str(authority.ca))
            answer = asyncio.run(mosquitto("pub", mqtt_port, *arguments, *cafile))
            assert answer == (0, "")
    assert "Traceback" not in (tmp_path / "log").read_text()


def _device_added_beside_it(folder: Path, certificate: str) -> str:
    """As `cardume device add` does it: through the server that has the database."""
    settings = Settings(
        database_url=f"sqlite+aiosqlite:///{folder}/cardume.db",
        jwt_secret=SecretStr(SECRET),
        tls_cert=certificate,
    )
    return asyncio.run(add_device(settings, "probe", 1, None, None))


def test_a_command_trusts_the_servers_certificate_and_not_its_issuer(
    authority: Authority, tmp_path: Path
) -> None:
    ours, theirs = authority.server(), authority.server("127.0.0.2")
    chain = tmp_path / "chain.pem"
    chain.write_bytes(ours.read_bytes() + authority.ca.read_bytes())
    trust = pinned(Settings(tls_cert=str(chain), tls_key=str(chain)))
    assert trust is not None
    _shake_hands(trust, chain)
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake_hands(trust, theirs)


def _shake_hands(trust: ssl.SSLContext, shown: Path) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(shown)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        trust.wrap_bio(back, there, server_hostname="127.0.0.1"),
        server.wrap_bio(there, back, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    assert ends[0].version() is not None


def _admin() -> str:
    return TokenSigner(SECRET, SystemClock()).mint("root", ttl=60, role="admin")


def _text(value: str) -> bytes:
    return len(value).to_bytes(2, "big") + value.encode()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.chdir(tmp_path)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CARDUME_PORT", "0")
    monkeypatch.setenv("CARDUME_MQTT_PORT", "0")
    return monkeypatch


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"TLS_CERT": "x"}, "CARDUME_TLS_CERT is set without CARDUME_TLS_KEY"),
        ({"TLS_KEY": "x"}, "CARDUME_TLS_KEY is set without CARDUME_TLS_CERT"),
        ({"TLS_CERT": "no.pem", "TLS_KEY": "no.pem"}, "CARDUME_TLS_CERT: cannot read no.pem"),
        ({"MQTT_TLS_PORT": "0"}, "CARDUME_MQTT_TLS_PORT needs a certificate"),
        ({"MQTT_TLS_PORT": "0", "MQTT_TLS_KEY": "x"}, "without CARDUME_MQTT_TLS_CERT"),
        ({"MQTT_TLS_CERT": "x", "MQTT_TLS_KEY": "x"}, "nobody listens.*CARDUME_MQTT_TLS_PORT"),
        ({"MQTT_TLS_PORT": "0", "MQTT_URL": "mqtt://x"}, "devices speak to that broker"),
        ({"MQTT_TLS_CA": "x"}, "CARDUME_MQTT_TLS_CA is set and nobody listens"),
        ({"MQTT_TLS_HOST": "::"}, "CARDUME_MQTT_TLS_HOST is set and nobody listens"),
    ],
)
def test_settings_that_cannot_be(
    settings: pytest.MonkeyPatch, given: dict[str, str], says: str
) -> None:
    for name, value in given.items():
        settings.setenv(f"CARDUME_{name}", value)

    def both() -> None:
        https(Settings())
        mqtt(Settings())

    with pytest.raises(ConfigurationError, match=says):
        both()
    assert any(re.search(says, bad.says) for bad in examine({}) if not bad.ok)


def test_what_is_unset_is_off(settings: pytest.MonkeyPatch) -> None:
    settings.setenv("CARDUME_MQTT_TLS_CA", "")
    assert https(Settings()) is None
    assert mqtt(Settings()) is None
    assert not [finding for finding in examine({}) if "TLS" in finding.what]


def test_the_doctor_knows_when_a_certificate_ends(
    settings: pytest.MonkeyPatch, authority: Authority
) -> None:
    def look(days: float) -> Finding:
        pem = str(authority.server(days=days))
        settings.setenv("CARDUME_TLS_CERT", pem)
        settings.setenv("CARDUME_TLS_KEY", pem)
        return next(finding for finding in examine({}) if finding.what == "HTTPS")

    good, soon, late = look(60), look(5), look(-1)
    assert (good.ok, soon.ok, late.ok) == (True, True, False)
    assert "renew" not in good.says
    assert "renew it soon" in soon.says
    assert "expired on" in late.says


def test_the_doctor_finds_the_port_taken(
    settings: pytest.MonkeyPatch, authority: Authority, tmp_path: Path
) -> None:
    pem = tmp_path / "pem"
    shutil.copy(authority.server(), pem)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings.setenv("CARDUME_MQTT_TLS_PORT", str(taken.getsockname()[1]))
        settings.setenv("CARDUME_MQTT_TLS_CERT", str(pem))
        settings.setenv("CARDUME_MQTT_TLS_KEY", str(pem))
        (bad,) = [finding for finding in examine({}) if not finding.ok]
    assert bad.what == "MQTT TLS port"
    assert "CARDUME_MQTT_TLS_PORT" in bad.says
