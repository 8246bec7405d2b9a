"""`HubClient` over HTTPS: a real hub behind TLS, and a CA that nobody else knows."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cardume import ConfigurationError, HubClient, Position, Unavailable
from tests.client.authority import Authority
from tests.client.faulty import faulty
from tests.support.backend import API_KEY, Backend, backend


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("authorities")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def place(authority: Authority) -> Iterator[Backend]:
    with backend(pem=authority.server()) as made:
        yield made


async def test_a_hub_behind_a_certificate_of_our_own_ca(
    place: Backend, authority: Authority
) -> None:
    assert place.url.startswith("https://")
    async with HubClient(place.url, API_KEY, ca=authority.ca) as hub:
        first = await hub.publish("room:1", "said", {"n": 1})
        assert await hub.publish("room:1", "said", {"n": 2}) == Position(first.epoch, 2)
        assert (await hub.history("room:1", limit=9)).position.offset == 2


def test_one_connection_serves_many_calls(authority: Authority) -> None:
    with faulty(pem=authority.server()) as server:
        with HubClient(server.url, API_KEY, ca=str(authority.ca), retries=0) as hub:
            for _ in range(5):
                hub.publish_sync("room:1")
        assert server.connections == 1


def test_a_context_decides_by_itself(place: Backend, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.ca))
    with HubClient(place.url, API_KEY, ca=context) as hub:
        assert hub.call_sync("info")


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(
    authority: Authority, folder: Path
) -> None:
    other = Authority(folder, "somebody else")
    with faulty(pem=authority.server()) as server:
        for ca in (None, other.ca):
            with (
                HubClient(server.url, API_KEY, ca=ca) as hub,
                pytest.raises(ConfigurationError, match=r"not to be trusted.*ca="),
            ):
                hub.publish_sync("room:1")
        assert server.asked == []
        assert server.connections <= 2  # not tried again


@pytest.mark.parametrize(("address", "days"), [("127.0.0.2", 1), ("127.0.0.1", -1)])
def test_another_name_and_a_time_that_is_over_are_refused(
    authority: Authority, address: str, days: float
) -> None:
    with (
        faulty(pem=authority.server(address, days=days)) as server,
        HubClient(server.url, API_KEY, ca=authority.ca) as hub,
        pytest.raises(ConfigurationError, match="not to be trusted"),
    ):
        hub.publish_sync("room:1")
    assert server.asked == []


def test_a_server_without_tls_is_called_that(authority: Authority) -> None:
    with faulty() as server:
        url = server.url.replace("http:", "https:")
        with (
            HubClient(url, API_KEY, ca=authority.ca) as hub,
            pytest.raises(ConfigurationError, match="TLS"),
        ):
            hub.publish_sync("room:1")


def test_a_server_that_hangs_up_in_the_handshake_is_unavailable(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        came = 0

        def hang_up() -> None:
            nonlocal came
            for _ in range(2):
                connection, _address = server.accept()
                came += 1
                connection.recv(65536)
                connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        with (
            HubClient(url, API_KEY, ca=authority.ca, retries=1) as hub,
            pytest.raises(Unavailable),
        ):
            hub.publish_sync("room:1")
        thread.join(10)
    assert came == 2  # it is tried again


def test_what_is_no_ca_is_said_at_once(tmp_path: Path, authority: Authority) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate")
    for ca in (tmp_path / "nowhere.pem", empty, tmp_path):
        with pytest.raises(ConfigurationError, match="no certificates"):
            HubClient("https://localhost", API_KEY, ca=ca)
    with pytest.raises(ConfigurationError, match="https"):
        HubClient("http://localhost", API_KEY, ca=authority.ca)
