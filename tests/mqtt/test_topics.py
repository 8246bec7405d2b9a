from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.mqtt.topics import MAX_LEVELS, SubscriptionTree, matches, valid_filter, valid_topic

_words = st.sampled_from(["", "a", "b", "tank", "$SYS", "é"])
topics = st.lists(_words, min_size=1, max_size=5).map("/".join).filter(bool)
filters = (
    st.tuples(st.lists(st.one_of(_words, st.just("+")), max_size=4), st.sampled_from([[], ["#"]]))
    .map(lambda parts: "/".join([*parts[0], *parts[1]]))
    .filter(bool)
)


def model(topic_filter: str, topic: str) -> bool:
    """§4.7 again, as a regular expression."""
    pattern = "/".join(
        "[^/]*" if level == "+" else re.escape(level) for level in topic_filter.split("/")
    )
    if topic_filter == "#":
        pattern = ".*"
    elif topic_filter.endswith("/#"):
        pattern = pattern[: -len("/\\#")] + "(/.*)?"
    hidden = topic.startswith("$") and topic_filter[0] in "+#"
    return not hidden and re.fullmatch(pattern, topic, re.DOTALL) is not None


@given(filters, topics)
def test_matching_agrees_with_a_naive_model(topic_filter: str, topic: str) -> None:
    assert matches(topic_filter, topic) is model(topic_filter, topic)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [  # the examples of §4.7.1 and §4.7.2
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/uptime", False),
        ("+/uptime", "$SYS/uptime", False),
        ("$SYS/#", "$SYS/uptime", True),
    ],
)
def test_examples_of_the_specification(topic_filter: str, topic: str, expected: bool) -> None:
    assert matches(topic_filter, topic) is expected
    tree: SubscriptionTree[int] = SubscriptionTree()
    tree.add(topic_filter, 1, 0)
    assert bool(tree.match(topic)) is expected


@pytest.mark.parametrize("bad", ["", "a/+", "#", "a\0", "\ud800", "a" * 65_536, "/" * MAX_LEVELS])
def test_invalid_topics(bad: str) -> None:
    assert not valid_topic(bad)


@pytest.mark.parametrize("bad", ["", "a+", "a/#/b", "#a", "a/b#", "+a/b", "a\0", "\ud800/#", "##"])
def test_invalid_filters(bad: str) -> None:
    assert not valid_filter(bad)


@given(filters, topics)
def test_valid_ones_are_valid(topic_filter: str, topic: str) -> None:
    assert valid_filter(topic_filter)
    assert valid_topic(topic)
    assert valid_topic("é" * 32_767)
    assert not valid_topic("é" * 32_768)


@given(
    st.lists(st.tuples(st.booleans(), filters, st.integers(0, 3), st.integers(0, 1)), max_size=30),
    st.lists(topics, min_size=1, max_size=5),
)
def test_the_tree_agrees_with_a_list(
    steps: list[tuple[bool, str, int, int]], published: list[str]
) -> None:
    tree: SubscriptionTree[int] = SubscriptionTree()
    held: dict[tuple[str, int], int] = {}
    for adding, name, holder, qos in steps:
        if adding:
            tree.add(name, holder, qos)
            held[name, holder] = qos
        else:
            assert tree.remove(name, holder) is (held.pop((name, holder), None) is not None)
        assert bool(tree) is bool(held)  # empty branches are pruned
        for topic in published:
            naive: dict[int, int] = {}
            for (own, who), granted in held.items():
                if model(own, topic):
                    naive[who] = max(naive.get(who, 0), granted)
            assert tree.match(topic) == naive
