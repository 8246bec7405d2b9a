"""Filters by tags, against a model that reads the node anew every time."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.errors import Invalid
from cardume.hub.tags import MAX_NODES, MAX_VALUES, parse, tags_of
from cardume.wire.messages import Publication

KEYS = st.sampled_from(["a", "b", "type"])
TEXTS = st.sampled_from(["x", "xy", "yx", "7", "10", "-2.50", "+3", "1e3", "٣", "é"])
NUMBERS = st.sampled_from(["7", "10", "-2.50", "+3", "0.000000000000000000001"])
TAGS = st.dictionaries(KEYS, TEXTS)


def _leaf(cmp: str, **more: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"key": KEYS, "cmp": st.just(cmp), **more})


LEAVES = st.one_of(
    *[_leaf(cmp, val=TEXTS) for cmp in ("eq", "neq", "sw", "ew", "ct")],
    *[_leaf(cmp, val=NUMBERS) for cmp in ("lt", "lte", "gt", "gte")],
    *[_leaf(cmp, vals=st.lists(TEXTS, min_size=1, max_size=4)) for cmp in ("in", "nin")],
    *[_leaf(cmp) for cmp in ("ex", "nex")],
)


def _branches(nodes: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(nodes, min_size=1, max_size=3)
    return st.one_of(
        st.fixed_dictionaries({"op": st.sampled_from(["and", "or"]), "nodes": several}),
        st.fixed_dictionaries({"op": st.just("not"), "nodes": st.tuples(nodes).map(list)}),
    )


NODES = st.recursive(LEAVES, _branches, max_leaves=8)


def model(node: dict[str, Any], tags: dict[str, str]) -> bool:
    """What client.proto says of a `FilterNode`."""
    match node.get("op", ""):
        case "and":
            return all(model(child, tags) for child in node["nodes"])
        case "or":
            return any(model(child, tags) for child in node["nodes"])
        case "not":
            return not model(node["nodes"][0], tags)
    held = tags.get(node["key"])
    val: str = node.get("val", "")
    vals: list[str] = node.get("vals", [])
    match node["cmp"]:
        case "nex":
            return held is None
        case "neq":
            return held != val
        case "nin":
            return held not in vals
    if held is None:
        return False
    match node["cmp"]:
        case "ex":
            return True
        case "eq":
            return held == val
        case "in":
            return held in vals
        case "sw":
            return held[: len(val)] == val
        case "ew":
            return held[-len(val) :] == val
        case "ct":
            return val in held
    try:
        if not held.isascii() or "e" in held:
            return False
        ours, other = Fraction(held), Fraction(val)
    except ValueError:
        return False
    answers = {"lt": ours < other, "lte": ours <= other, "gt": ours > other, "gte": ours >= other}
    return answers[node["cmp"]]


@given(NODES, TAGS)
def test_a_filter_says_what_its_node_says(node: dict[str, Any], tags: dict[str, str]) -> None:
    assert parse(node).matches(tags) is model(node, tags)


@given(NODES)
def test_the_same_node_is_the_same_filter(node: dict[str, Any]) -> None:
    one, other = parse(node), parse(dict(node))
    assert one == other
    assert hash(one) == hash(other)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["op", "key", "cmp", "val", "vals", "nodes"]), inner, max_size=5
        )
    ),
)


@given(ANY)
def test_what_is_no_filter_is_refused(value: Any) -> None:
    try:
        parsed = parse(value)
    except Invalid:
        return
    parsed.matches({"a": "1"})


LEAF = {"key": "a", "cmp": "eq", "val": "x"}


@pytest.mark.parametrize(
    "node",
    [
        {},
        {"key": "a", "cmp": "eq"},
        {"cmp": "eq", "val": "x"},
        {"key": "a", "cmp": "eq", "val": "x", "vals": ["y"]},
        {"key": "a", "cmp": "in", "vals": []},
        {"key": "a", "cmp": "in", "vals": ["x"], "val": "x"},
        {"key": "a", "cmp": "in", "vals": ["x"] * (MAX_VALUES + 1)},
        {"key": "a", "cmp": "ex", "val": "x"},
        {"key": "a", "cmp": "gt", "val": "many"},
        {"key": "a", "cmp": "like", "val": "x"},
        {"key": "a" * 256, "cmp": "eq", "val": "x"},
        {"key": "a", "cmp": "eq", "val": "\ud800"},
        {"op": "xor", "nodes": [LEAF]},
        {"op": "and", "nodes": []},
        {"op": "not", "nodes": [LEAF, LEAF]},
        {"op": "or", "nodes": [LEAF] * MAX_NODES},
    ],
    ids=str,
)
def test_a_node_that_says_nothing_is_an_error(node: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        parse(node)


def test_the_largest_filter_is_taken() -> None:
    assert parse({"op": "or", "nodes": [LEAF] * (MAX_NODES - 1)}).matches({"a": "x"})


def test_a_filter_sees_the_type_as_a_tag() -> None:
    tags = {"type": "mine", "a": "1"}
    typed = Publication(data=b"1", time=1.0, type="alert", tags=tags)
    assert tags_of(typed) == {"type": "alert", "a": "1"}
    assert tags_of(Publication(data=b"1", time=1.0, tags=tags)) == tags
    assert tags_of(Publication(data=b"1", time=1.0)) == {}
