"""Nothing acknowledged is ever lost, and nothing redelivered is kept twice: kill -9 and see.

Every test leaves the server running, for the next one to kill.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.server.process.devices import Browser, Device
from tests.server.process.proxy import Proxy
from tests.support.serving import Served
from tests.support.waiting import PATIENCE, wait_for


@pytest.fixture
def proxy(server: Served) -> Iterator[Proxy]:
    with Proxy.running(server.mqtt_port) as proxy:
        yield proxy


@pytest.fixture
def device(server: Served, aquarium: int, proxy: Proxy) -> Iterator[Device]:
    id = f"probe-{aquarium}"
    with Device.connected(id, server.device(id, aquarium), proxy.port) as device:
        yield device


def test_between_the_commit_and_the_acknowledgement(
    server: Served, aquarium: int, proxy: Proxy, device: Device
) -> None:
    """With neither `id` nor `ts`, with an `id` and with a `ts`: stored once, announced once."""
    with Browser.watching(server, aquarium) as before:
        proxy.withholding = True
        sent = [
            device.read(1.0),
            device.read(2.0, id="two"),
            device.read(3.0, ts=time.time() + 5),  # so that it is the latest
        ]
        wait_for(lambda: proxy.withheld == 3, "three commits")
        before.saw(1.0, 2.0, 3.0)
        proxy.target = None
        server.kill()
    assert server.values(aquarium) == [1.0, 2.0, 3.0]
    assert not any(info.is_published() for info in sent)
    assert proxy.again == 0

    server.start()
    with Browser.watching(server, aquarium) as after:
        assert after.snapshot is not None
        assert {m["metric"]: m["value"] for m in after.snapshot["metrics"]}["temperature"] == 3.0
        proxy.withholding = False
        proxy.target = server.mqtt_port
        for info in sent:
            info.wait_for_publish(PATIENCE)
        assert proxy.again == 3
        device.read(4.0).wait_for_publish(PATIENCE)
        after.saw(4.0)
    assert server.values(aquarium) == [1.0, 2.0, 3.0, 4.0]


def test_before_the_commit(server: Served, aquarium: int, proxy: Proxy, device: Device) -> None:
    with Browser.watching(server, aquarium) as before, server.locked():
        sent = [device.read(1.0), device.read(2.0, id="two"), device.read(3.0, ts=time.time())]
        device.is_heard()
        proxy.target = None
        server.kill()
    assert server.values(aquarium) == before.readings == []
    assert not any(info.is_published() for info in sent)

    server.start()
    with Browser.watching(server, aquarium) as after:
        proxy.target = server.mqtt_port
        for info in sent:
            info.wait_for_publish(PATIENCE)
        assert proxy.again == 3
        after.saw(1.0, 2.0, 3.0)
    assert server.values(aquarium) == [1.0, 2.0, 3.0]


def test_wherever_it_is_while_readings_pour_in(
    server: Served, aquarium: int, proxy: Proxy, device: Device
) -> None:
    sent = [device.read(float(number)) for number in range(1000)]
    with Browser.watching(server, aquarium) as before:
        wait_for(sent[300].is_published, "a part of it")
        proxy.withholding = True  # else, on a busy machine, it may be through before it is killed
        sent.append(device.read(float(len(sent))))
        server.kill()
    acknowledged = {float(number) for number, info in enumerate(sent) if info.is_published()}
    assert len(acknowledged) < len(sent)
    assert acknowledged <= set(server.values(aquarium))

    proxy.withholding = False
    server.start()
    with Browser.watching(server, aquarium) as after:
        for info in sent:
            info.wait_for_publish(PATIENCE)
        assert proxy.again > 0
        device.read(-1.0).wait_for_publish(PATIENCE)
        wait_for(lambda: -1.0 in after.readings, "the last event")
    assert server.values(aquarium) == [-1.0, *(float(number) for number in range(len(sent)))]
    told = before.readings + after.readings
    assert len(told) == len(set(told))
