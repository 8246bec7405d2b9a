"""Waits between two tries, and what is said meanwhile."""

from __future__ import annotations

import pytest

from cardume.mqtt.link.ends import Ended
from cardume.mqtt.link.retry import LONGEST_WAIT, SAY_AGAIN, STEADY, Retry
from cardume.mqtt.link.url import BrokerAddress
from cardume.testing import FakeClock

ADDRESS = BrokerAddress(host="broker", port=1883, username="hub", password="hunter2")
GONE = Ended("connection refused")


def waits(retry: Retry, *ends: tuple[Ended, float]) -> list[float]:
    return [retry.wait(ended, lasted, "hub", 1.0) for ended, lasted in ends]


def test_they_double_up_to_a_bound_and_begin_anew_after_a_steady_one() -> None:
    retry = Retry(ADDRESS, FakeClock())
    assert waits(retry, *[(GONE, 0.1)] * 8) == [0.5, 1, 2, 4, 8, 16, 20, 20]
    assert waits(retry, (GONE, STEADY - 1), (GONE, STEADY), (GONE, 0.1)) == [20, 0.5, 1]
    assert retry.wait(GONE, 0.1, "hub", 0.25) == 0.5


async def test_a_reason_is_said_when_it_is_new_or_old_enough(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    retry = Retry(ADDRESS, clock)
    waits(retry, (GONE, 0.1), (GONE, 0.1))
    waits(retry, (Ended("another"), 0.1), (GONE, 0.1))
    await clock.advance(SAY_AGAIN)
    waits(retry, (GONE, 0.1))
    retry.linked()
    waits(retry, (GONE, 0.1))
    said = [record.getMessage() for record in caplog.records]
    whys = [message.split(": ")[1].split(";")[0] for message in said]
    assert whys == ["connection refused", "another", *["connection refused"] * 3]
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("ends", "rival"),
    [
        ([Ended("sent away", taken_over=True)], True),
        ([Ended("closed", hung_up=True)] * 3, True),
        ([Ended("closed", hung_up=True)] * 2 + [GONE], False),
    ],
)
def test_a_rival_is_given_time_and_named_once(
    ends: list[Ended], rival: bool, caplog: pytest.LogCaptureFixture
) -> None:
    retry = Retry(ADDRESS, FakeClock())
    last = waits(retry, *[(ended, 1.0) for ended in ends * 2])[-1]
    assert (last == LONGEST_WAIT) is rival
    assert caplog.text.count("CARDUME_MQTT_CLIENT_ID") == rival
