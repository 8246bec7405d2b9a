"""Templates between names and parameters, and what a word before the colon means."""

from __future__ import annotations

import time
from enum import Enum

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cardume.engines.base import Retention
from cardume.errors import ConfigurationError, Invalid
from cardume.hub.namespaces import ChannelOptions, ChannelTemplate, Namespace, Namespaces
from cardume.hub.outbox import SlowPolicy
from tests.support.peers import OpenGuard

VALUE = st.text(alphabet="ab1_.-@=,~", min_size=1, max_size=6)
TEMPLATES = [
    "room:{a}",
    "room:{a}-{b}",
    "room:{a}.{b}.x",
    "room:x{a}--{b}~{c}",
    "room:{a}ab{b}",
    "room:{a}.log",
]


def test_a_name_without_parameters() -> None:
    template = ChannelTemplate("agents")
    assert (template.namespace, template.parameters) == ("agents", ())
    assert template.match("agents") == {}
    assert template.match("agents:1") is None
    assert template.fill({}) == "agents"


def test_a_name_with_a_parameter() -> None:
    template = ChannelTemplate("room:{room_id}")
    assert (template.namespace, template.parameters) == ("room", ("room_id",))
    assert template.match("room:7") == {"room_id": "7"}
    assert template.match("room:") is None
    assert template.match("rooms:7") is None
    assert template.fill({"room_id": 7, "unrelated": 1}) == "room:7"


@pytest.mark.parametrize("value", ["", " ", "a b", "a:b", "a/b", "é", "a\n", "{x}", "x" * 191, "*"])
def test_a_value_that_has_no_place_in_a_name(value: str) -> None:
    with pytest.raises(Invalid):
        ChannelTemplate("room:{room_id}").fill({"room_id": value})


@pytest.mark.parametrize("text", TEMPLATES)
@given(a=VALUE, b=VALUE, c=VALUE)
def test_fill_and_match_are_inverse(text: str, a: str, b: str, c: str) -> None:
    template = ChannelTemplate(text)
    given = {name: {"a": a, "b": b, "c": c}[name] for name in template.parameters}
    try:
        channel = template.fill(given)
    except Invalid:
        # Refused only where a sign of the template itself is inside a value.
        assume(len(given) > 1)
        return
    assert template.match(channel) == given


@pytest.mark.parametrize("text", TEMPLATES)
@given(st.data())
def test_two_sets_of_parameters_never_meet_on_one_channel(text: str, data: st.DataObject) -> None:
    template = ChannelTemplate(text)
    one, other = (
        data.draw(st.fixed_dictionaries(dict.fromkeys(template.parameters, VALUE)))
        for _ in range(2)
    )
    assume(one != other)
    names = []
    for parameters in (one, other):
        try:
            names.append(template.fill(parameters))
        except Invalid:
            return
    assert names[0] != names[1]


def test_the_guard_of_one_channel_is_not_asked_about_another() -> None:
    """`x-y` in `z` and `x` in `y-z` would be the same name: one of the two is refused."""
    template = ChannelTemplate("seat:{row}-{number}")
    assert template.fill({"row": "x", "number": "y-z"}) == "seat:x-y-z"
    with pytest.raises(Invalid):
        template.fill({"row": "x-y", "number": "z"})


def test_matching_is_linear() -> None:
    template = ChannelTemplate("r:{a}-{b}-{c}-{d}-{e}.x")
    began = time.thread_time()
    for _ in range(100):
        assert template.match("r:" + "-" * 190) is None
        assert template.match("r:" + "a-" * 95) is None
    assert time.thread_time() - began < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "a:b:c",
        "a:{x}:{y}",
        "{x}:a",
        "room-{x}",
        "a:{x}{y}",
        "a:{x}-{x}",
        "a:{0}",
        "a:{}",
        "a:{x!r}",
        "a:{x.__class__}",
        "é",
    ],
)
def test_a_template_that_cannot_be(text: str) -> None:
    with pytest.raises(ConfigurationError):
        ChannelTemplate(text)


class Colour(Enum):
    RED = "red"


def test_an_enumeration_is_written_by_its_value() -> None:
    assert ChannelTemplate("paint:{colour}").fill({"colour": Colour.RED}) == "paint:red"


def test_options() -> None:
    assert ChannelOptions().retention is None
    assert ChannelOptions(history=5, history_ttl=60).retention == Retention(5, 60)
    for wrong in ({"history": -1}, {"history_ttl": 0}, {"history_ttl": -1}):
        with pytest.raises(ConfigurationError):
            ChannelOptions(**wrong)  # type: ignore[arg-type]
    ChannelOptions(on_slow=SlowPolicy.DROP_OLDEST)
    with pytest.raises(ConfigurationError, match="drop_oldest"):
        ChannelOptions(history=1, on_slow=SlowPolicy.DROP_OLDEST)


def declared(text: str, **options: int) -> Namespace:
    return Namespace(ChannelTemplate(text), ChannelOptions(**options), OpenGuard())  # type: ignore[arg-type]


def test_the_first_template_that_fits_wins() -> None:
    namespaces = Namespaces()
    namespaces.add(declared("cards", history=1))
    namespaces.add(declared("card:{id}", history=2))
    namespaces.add(declared("card:{id}.log", history=3))
    for channel, history in (("cards", 1), ("card:7", 2), ("card:7.log", 2)):
        options = namespaces.options(channel)
        assert options is not None
        assert options.history == history
    assert namespaces.find("card:7") is not None
    assert namespaces.options("card") is None


def test_the_same_template_twice() -> None:
    namespaces = Namespaces()
    namespaces.add(declared("card:{id}"))
    with pytest.raises(ConfigurationError, match="twice"):
        namespaces.add(declared("card:{id}"))


def test_the_fallback_is_for_words_nobody_declared() -> None:
    namespaces = Namespaces(ChannelOptions(history=9))
    namespaces.add(declared("cards"))
    fallback = namespaces.options("chat:1")
    assert fallback is not None
    assert fallback.history == 9
    assert namespaces.options("cards:1") is None, "a mistake, not another namespace"
    assert Namespaces().options("chat:1") is None
