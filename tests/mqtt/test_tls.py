"""TLS in front of the listener: real certificates, real clients, and those who are neither."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import paho.mqtt.client as paho
import pytest
import uvloop
from paho.mqtt.enums import CallbackAPIVersion

from cardume.certificates import LOOK_EVERY, Certificates, Names
from cardume.clock import Clock, SystemClock
from cardume.errors import ConfigurationError
from cardume.mqtt.codec.encoder import encode
from cardume.mqtt.codec.packets import Connack, Connect, Publish, Will
from cardume.mqtt.doors.sealed import Sealed
from cardume.mqtt.doors.tls import TlsPort
from cardume.mqtt.doors.wire import Wire
from cardume.mqtt.intake import Intake
from cardume.mqtt.limits import Limits
from cardume.mqtt.listener import Listener
from cardume.testing import FakeClock
from tests.client.authority import Authority
from tests.mqtt.clients import PATIENCE, Raw, mosquitto, needs_mosquitto, until
from tests.mqtt.conftest import House, Keeper, Store

READING = "aquabook/tank/reading"
COMMAND = "aquabook/tank/command"
NAMES = Names("CERT", "KEY", "CA")
LOGIN = Connect("tank", username="tank", password=b"tank")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pem(authority: Authority) -> str:
    """A server's key and certificate in one file."""
    return str(authority.server())


@asynccontextmanager
async def sealed(
    pem: str,
    ca: str | None = None,
    *,
    clock: Clock | None = None,
    limits: Limits | None = None,
    max_pending: int = 4096,
) -> AsyncIterator[tuple[House, int]]:
    """A listener with a second port that speaks TLS."""
    clock = clock or SystemClock()
    store, keeper = Store(), Keeper()
    intake = Intake(store, clock, max_pending=max_pending)
    door = TlsPort(0, Certificates(NAMES, pem, pem, ca))
    listener = Listener("127.0.0.1", 0, keeper, intake, clock, limits, tls=door)
    await listener.start()
    port = listener.tls_port
    assert port
    try:
        yield House(listener, intake, store, keeper), port
    finally:
        store.open.set()
        await listener.stop(2.0)
        await intake.drain(2.0)
        await Raw.hang_up()
        stats = listener.stats()
        assert (stats.connections, stats.faults) == (0, 0)


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.ca))


@asynccontextmanager
async def dialled(port: int, context: ssl.SSLContext) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=4096)
    raw = Raw(reader, writer)
    try:
        yield raw
    finally:
        raw.cut()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def login(raw: Raw, packet: Connect = LOGIN) -> None:
    await raw.send(packet)
    assert await raw.next() == Connack(0)


@needs_mosquitto
async def test_mosquitto_publishes_beside_a_plain_device(authority: Authority, pem: str) -> None:
    async with sealed(pem) as (house, port):
        arguments = ("-t", READING, "-m", "25", "-q", "1")
        trust = ("--cafile", str(authority.ca))
        assert await mosquitto("pub", port, *arguments, *trust) == (0, "")
        assert await mosquitto("pub", house.port, *arguments) == (0, "")
        assert house.store.payloads == [b"25", b"25"]
        assert house.drops == {}


def test_paho_on_uvloop_sends_much_and_hears_much(authority: Authority, pem: str) -> None:
    """The loop that `cardume serve` runs on, and packets of many records."""
    large = bytes(range(256)) * 250

    async def main() -> None:
        heard: list[bytes] = []
        client = paho.Client(CallbackAPIVersion.VERSION2, "tank", protocol=paho.MQTTv311)
        client.username_pw_set("tank", "tank")
        client.tls_set(str(authority.ca))
        client.on_message = lambda _client, _data, message: heard.append(bytes(message.payload))
        async with sealed(pem) as (house, port):
            client.connect_async("127.0.0.1", port)
            client.loop_start()
            try:
                await until(client.is_connected)
                client.subscribe(COMMAND, 1)
                receipts = [client.publish(READING, large, qos=1) for _ in range(10)]
                await until(lambda: all(receipt.is_published() for receipt in receipts))
                await until(lambda: house.listener.publish(COMMAND, b"ready", qos=1))
                for _ in range(10):
                    house.listener.publish(COMMAND, large, qos=1)
                await until(lambda: len(heard) == 11)
            finally:
                client.disconnect()
                client.loop_stop()
            assert house.store.payloads == [large] * 10
            assert heard == [b"ready"] + [large] * 10
            assert house.drops == {}

    uvloop.run(main())


@needs_mosquitto
async def test_a_client_shows_a_certificate_of_our_ca(
    authority: Authority, pem: str, tmp_path: Path
) -> None:
    stranger = str(Authority(tmp_path, "another").server())
    async with sealed(pem, str(authority.ca)) as (house, port):
        arguments = ("-t", READING, "-m", "25", "-q", "1", "--cafile", str(authority.ca))
        assert await mosquitto("pub", port, *arguments, "--cert", pem, "--key", pem) == (0, "")
        code, _ = await mosquitto("pub", port, *arguments)
        assert code != 0
        code, _ = await mosquitto("pub", port, *arguments, "--cert", stranger, "--key", stranger)
        assert code != 0
        assert house.store.payloads == [b"25"]
        await until(lambda: house.drops == {"tls_client_certificate": 2})


async def test_old_versions_are_refused(authority: Authority, pem: str) -> None:
    old = trusting(authority)
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    async with sealed(pem) as (house, port):
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection("127.0.0.1", port, ssl=old)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            new = trusting(authority)
            new.minimum_version = new.maximum_version = version
            async with dialled(port, new) as raw:
                await login(raw)
                await raw.publish(READING, b"1")
        assert house.drops.pop("lost", 0) == 0
        assert house.drops == {"tls_version": 1}


async def test_a_flood_of_bad_handshakes_is_counted_and_said_in_a_line_each(
    pem: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    noise: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: noise.append(context))
    junk = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        encode(LOGIN),
        os.urandom(400),
        b"\x16\x03\x01\x40\x00" + os.urandom(400),
        b"\x16\x03\x01",
        b"",
    ]
    async with sealed(pem) as (house, port):
        for data in junk * 10:
            raw = await Raw.dial(port)
            await raw.write(data)
            raw.writer.write_eof()
            assert await _drained(raw)
        with pytest.raises(ssl.SSLError):
            await asyncio.to_thread(_distrust, port)
        await until(lambda: sum(house.drops.values()) == 10 * len(junk) + 1)
        assert {*house.drops} <= {
            *("tls_handshake", "tls_not_spoken", "tls_version", "tls_left", "tls_not_trusted")
        }
        assert house.drops["tls_not_trusted"] == 1
        assert house.drops["tls_not_spoken"] >= 10
    assert noise == []
    assert not [record for record in caplog.records if record.exc_info]
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 5


def _distrust(port: int) -> None:
    """As a client that knows no CA of ours, and says so: asyncio's would only hang up."""
    context = ssl.create_default_context()
    with socket.create_connection(("127.0.0.1", port)) as plain:
        context.wrap_socket(plain, server_hostname="127.0.0.1")


async def _drained(raw: Raw) -> bool:
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionError):
            while await raw._reader.read(4096):
                pass
    return True


async def test_half_a_handshake_has_ten_seconds(authority: Authority, pem: str) -> None:
    clock = FakeClock()
    async with sealed(pem, clock=clock) as (house, port):
        silent, half = await Raw.dial(port), await Raw.dial(port)
        await half.write(b"\x16\x03\x01\x02\x00\x01")
        assert house.listener._handshakes is not None
        pending = house.listener._handshakes
        await until(lambda: len(pending) == 2)
        await clock.advance(9.0)
        async with dialled(port, trusting(authority)) as good:
            await login(good)
            await clock.advance(1.6)
            assert await silent.closed()
            assert await half.closed()
            await good.quiet()
        assert house.drops == {"tls_timeout": 2}
        assert len(pending) == 0


async def test_handshakes_under_way_are_bounded(authority: Authority, pem: str) -> None:
    async with sealed(pem, limits=Limits(max_handshakes=3)) as (house, port):
        waiting = [await Raw.dial(port) for _ in range(3)]
        pending = house.listener._handshakes
        assert pending is not None
        await until(lambda: len(pending) == 3)
        fourth = await Raw.dial(port)
        assert await fourth.closed()
        assert house.drops == {"too_many_handshakes": 1}
        waiting[0].cut()
        await until(lambda: len(pending) == 2)
        async with dialled(port, trusting(authority)) as good:
            await login(good)


async def test_the_cap_on_connections_holds_here_too(authority: Authority, pem: str) -> None:
    async with sealed(pem, limits=Limits(max_connections=1)) as (house, port):
        plain = await Raw.login(house.port)
        async with dialled(port, trusting(authority)) as second:
            assert await second.closed()
        assert house.drops == {"too_many_connections": 1}
        plain.cut()
        await until(lambda: house.listener.stats().connections == 0)
        async with dialled(port, trusting(authority)) as third:
            await login(third)


async def test_a_pause_in_reading_loses_nothing(authority: Authority, pem: str) -> None:
    """What was decrypted waits in OpenSSL, where no event of the socket wakes it."""
    async with sealed(pem, max_pending=2) as (house, port):
        async with dialled(port, trusting(authority)) as raw:
            await login(raw)
            house.store.open.clear()
            for number in range(200):
                raw.writer.write(encode(Publish(READING, b"%d" % number * 200)))
            await until(lambda: house.store.entered)
            assert house.listener.stats().received < 200
            house.store.open.set()
            await raw.writer.drain()
            await until(lambda: len(house.store.messages) == 200)
        assert house.store.payloads == [b"%d" % n * 200 for n in range(200)]


async def test_a_reader_that_does_not_read_is_bounded_and_then_cut(
    authority: Authority, pem: str
) -> None:
    clock = FakeClock()
    async with sealed(pem, clock=clock, limits=Limits(outbound=200_000)) as (house, port):
        async with dialled(port, trusting(authority)) as raw:
            await login(raw)
            assert await raw.subscribe(COMMAND) == 0
            raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
            async with asyncio.timeout(PATIENCE):
                # Time passes only here, so it is the kernel's buffers that have to be full.
                while house.listener.stats().connections:
                    house.listener.publish(COMMAND, bytes(60_000))
                    await clock.advance(0.25)
                    await asyncio.sleep(0.001)
        assert house.drops["qos0_slow_reader"] > 0
        assert house.drops["slow_reader"] == 1


async def test_a_will_is_published_when_the_socket_breaks_and_not_after_goodbye(
    authority: Authority, pem: str
) -> None:
    packet = Connect(
        "tank", username="tank", password=b"tank", will=Will(f"{READING}", b"a will", qos=1)
    )
    async with sealed(pem) as (house, port):
        async with dialled(port, trusting(authority)) as raw:
            await login(raw, packet)
        await until(lambda: house.store.wills == [b"a will"])
        async with dialled(port, trusting(authority)) as raw:
            await login(raw, packet)
            await raw.write(b"\xe0\x00")
            assert await raw.closed()
        await until(lambda: house.listener.stats().connections == 0)
        assert len(house.store.wills) == 1


async def test_bytes_that_break_the_seal_end_it(authority: Authority, pem: str) -> None:
    async with sealed(pem) as (house, port):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        inner = trusting(authority).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        raw = await Raw.dial(port)
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                inner.do_handshake()
                break
            await raw.write(outgoing.read())
            incoming.write(await raw._reader.read(4096))
        await raw.write(outgoing.read())
        await until(lambda: house.listener.stats().connections == 1)
        await raw.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        assert await _drained(raw)
        await until(lambda: house.listener.stats().connections == 0)
        assert house.drops == {"tls_broken": 1}


async def test_it_leaves_nothing_behind(authority: Authority, pem: str) -> None:
    async with sealed(pem) as (house, port):
        gc.collect()
        gc.disable()
        try:
            async with dialled(port, trusting(authority)) as raw:
                await login(raw)
                assert _alive() == {"Sealed", "Connection"}
            await until(lambda: not house.listener.stats().connections)
            await until(lambda: not _alive(), "their memory")
        finally:
            gc.enable()


def _alive() -> set[str]:
    """What is there, garbage included that nobody has collected."""
    return {type(each).__name__ for each in gc.get_objects() if isinstance(each, Sealed | Wire)}


async def test_stop_hangs_up_on_handshakes_and_connections(authority: Authority, pem: str) -> None:
    async with sealed(pem) as (house, port):
        silent = await Raw.dial(port)
        async with dialled(port, trusting(authority)) as raw:
            await login(raw)
            async with asyncio.timeout(PATIENCE):
                await house.listener.stop(1.0)
            assert await raw.closed()
            assert await silent.closed()


async def test_a_taken_port_says_what_to_do_and_frees_the_other(pem: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        door = TlsPort(taken.getsockname()[1], Certificates(NAMES, pem, pem))
        clock = SystemClock()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            plain = probe.getsockname()[1]
        intake = Intake(Store(), clock)
        listener = Listener("127.0.0.1", plain, Keeper(), intake, clock, tls=door)
        with pytest.raises(ConfigurationError, match=f"{door.port}.*CARDUME_MQTT_TLS_PORT"):
            await listener.start()
        socket.create_server(("127.0.0.1", plain)).close()


async def test_the_goodbye_is_sealed_too(authority: Authority, pem: str) -> None:
    """Without it a client cannot tell an end from somebody who cut the line (RFC 8446 §6.1)."""

    def leave(port: int) -> bytes:
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            trusting(authority).wrap_socket(
                plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False
            ) as secured,
        ):
            secured.settimeout(PATIENCE)
            secured.sendall(encode(LOGIN) + b"\xe0\x00")
            return secured.recv(4) + secured.recv(4)

    async with sealed(pem) as (_, port):
        assert await asyncio.to_thread(leave, port) == encode(Connack(0))


# -- the files -------------------------------------------------------------------------------------


async def test_a_renewed_certificate_is_shown_to_whom_comes_next(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    current = tmp_path / "current.pem"

    def put(pem: bytes) -> None:
        """As renewals do: a new file in place of the old."""
        fresh = tmp_path / "fresh.pem"
        fresh.write_bytes(pem)
        fresh.replace(current)

    async def shown(port: int) -> MappingProxyType[str, Any]:
        async with dialled(port, trusting(authority)) as raw:
            found = raw.writer.get_extra_info("peercert")
        return MappingProxyType(found)

    put(authority.server(days=1).read_bytes())
    async with sealed(str(current), clock=clock) as (house, port):
        first = await shown(port)
        async with dialled(port, trusting(authority)) as old:
            await login(old)
            put(_mixed(authority))
            await clock.advance(LOOK_EVERY)
            assert await shown(port) == first
            assert "is not used" in caplog.text
            put(authority.server(days=2).read_bytes())
            assert await shown(port) == first  # it looks once a minute
            await clock.advance(LOOK_EVERY)
            assert await shown(port) != first
            await old.quiet()
        assert house.drops == {}


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> dict[str, str]:
    pem = authority.server(days=1).read_bytes()
    at = pem.index(b"-----BEGIN CERTIFICATE")
    made = {
        "good": pem,
        "key": pem[:at],
        "certificate": pem[at:],
        "other": authority.server(days=3).read_bytes(),
        "empty": b"",
        "broken": b"-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n",
        "encrypted": _encrypted(),
    }
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    return {"folder": str(tmp_path)} | {name: str(tmp_path / name) for name in [*made, "missing"]}


def _mixed(authority: Authority) -> bytes:
    """A certificate with the key of another, as they are between two steps of a renewal."""
    one, two = (authority.server(days=days).read_bytes() for days in (1, 3))
    at = b"-----BEGIN CERTIFICATE"
    return one[: one.index(at)] + two[two.index(at) :]


def _encrypted() -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
    )

    key = ec.generate_private_key(ec.SECP256R1())
    cipher = BestAvailableEncryption(b"password")
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, cipher)


@pytest.mark.parametrize(
    ("certificate", "key", "ca", "says"),
    [
        ("missing", "key", None, r"CERT: cannot read .*missing \(No such file"),
        ("certificate", "missing", None, r"KEY: cannot read .*missing \(No such file"),
        ("folder", "key", None, r"CERT: cannot read .* \(Is a directory"),
        ("empty", "key", None, r"CERT: .*empty holds no certificate in PEM"),
        ("key", "key", None, r"CERT: .*key holds no certificate in PEM"),
        ("certificate", "certificate", None, r"KEY: .*certificate holds no private key in PEM"),
        ("broken", "key", None, r"CERT: .*broken with .* cannot be used"),
        ("certificate", "other", None, r"KEY: the key in .*other is not that of .*certificate"),
        ("certificate", "encrypted", None, r"KEY: .*encrypted is encrypted.*openssl pkey"),
        ("certificate", "key", "missing", r"CA: cannot read .*missing"),
        ("certificate", "key", "broken", r"CA: .*broken cannot be used"),
    ],
)
def test_files_that_cannot_be(
    files: dict[str, str], certificate: str, key: str, ca: str | None, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says) as refused:
        Certificates(NAMES, files[certificate], files[key], ca and files[ca])
    assert "\n" not in str(refused.value)


def test_files_apart_and_in_one(files: dict[str, str]) -> None:
    Certificates(NAMES, files["certificate"], files["key"])
    Certificates(NAMES, files["good"], files["good"], files["other"])
