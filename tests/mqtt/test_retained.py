from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cardume.mqtt.retained import Retained
from cardume.mqtt.sessions.message import Message
from cardume.mqtt.topics import matches
from cardume.testing import FakeClock
from tests.mqtt.test_topics import filters, topics


@given(
    st.lists(st.tuples(topics, st.binary(max_size=3)), max_size=20),
    st.dictionaries(filters, st.integers(0, 1), max_size=4),
)
def test_selection_agrees_with_a_naive_model(
    kept: list[tuple[str, bytes]], asked: dict[str, int]
) -> None:
    store = Retained(1000, 1_000_000, FakeClock())
    naive: dict[str, bytes] = {}
    for topic, payload in kept:
        assert store.keep(Message(topic, payload))
        naive[topic] = payload
        if not payload:
            del naive[topic]
    expected = {
        topic: max(qos for name, qos in asked.items() if matches(name, topic))
        for topic in naive
        if any(matches(name, topic) for name in asked)
    }
    selected = list(store.select(asked))
    assert dict(selected) == expected
    assert len(selected) == len(expected)
    assert len(store) == len(naive)


def test_bounded_by_count_and_by_bytes() -> None:
    store = Retained(2, 1000, FakeClock())
    assert store.keep(Message("a", b"1"))
    assert store.keep(Message("b", b"1"))
    assert not store.keep(Message("c", b"1"))
    assert not store.keep(Message("a", bytes(1000)))
    assert store.get("a") is None  # rather nothing than something that is no longer so
    assert store.keep(Message("b", b""))
    assert store.keep(Message("b", bytes(800)))
    assert len(store) == 1
