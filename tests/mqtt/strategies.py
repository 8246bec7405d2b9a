"""Packets as hypothesis draws them, in either version."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from cardume.mqtt.codec.packets import (
    LEVEL,
    LEVEL_5,
    NO_LOCAL,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)
from cardume.mqtt.codec.properties import NONE, Properties

_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_topics = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=20
)
_filters = st.one_of(
    _topics, st.sampled_from(["#", "+", "a/+/b", "a/#", "+/+", "$share/g/a/+", "$share/+/a"])
)
_ids = st.integers(1, 0xFFFF)
_payloads = st.binary(max_size=300)
_bytes = st.binary(max_size=20)
_flag = st.integers(0, 1)
_two = st.integers(0, 0xFFFF)
_four = st.integers(0, 0xFFFF_FFFF)
_codes = st.lists(st.integers(0, 255), max_size=4).map(tuple)
_reasons = st.integers(0, 255)

_pairs = st.lists(st.tuples(_text, _text), max_size=3).map(tuple)
_message: dict[str, st.SearchStrategy[Any]] = {
    "payload_format": _flag,
    "message_expiry": _four,
    "content_type": _text,
    "response_topic": _topics,
    "correlation_data": _bytes,
    "user": _pairs,
}
_answer: dict[str, st.SearchStrategy[Any]] = {"reason_string": _text, "user": _pairs}


def _said(possible: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Properties]:
    """Any of the possible properties, often none."""
    some = st.fixed_dictionaries({}, optional=possible).map(lambda drawn: Properties(**drawn))
    return st.just(NONE) | some.map(lambda said: NONE if said == NONE else said)


def _with_a_method(said: Properties) -> Properties:
    """§3.1.2.11.10: without one there is no authentication data."""
    if said.authentication_method is not None or said.authentication_data is None:
        return said
    rest = replace(said, authentication_data=None)
    return NONE if rest == NONE else rest


_sub_ids = st.integers(1, 268_435_455)
_in_connect = _said(
    {
        "session_expiry": _four,
        "authentication_method": _text,
        "authentication_data": _bytes,
        "request_problem_information": _flag,
        "request_response_information": _flag,
        "receive_maximum": _ids,
        "topic_alias_maximum": _two,
        "user": _pairs,
        "maximum_packet_size": st.integers(1, 0xFFFF_FFFF),
    }
).map(_with_a_method)
_in_connack = _said(
    {
        "session_expiry": _four,
        "assigned_client_id": _text,
        "server_keep_alive": _two,
        "authentication_method": _text,
        "authentication_data": _bytes,
        "response_information": _text,
        "server_reference": _text,
        "reason_string": _text,
        "receive_maximum": _ids,
        "topic_alias_maximum": _two,
        "maximum_qos": _flag,
        "retain_available": _flag,
        "user": _pairs,
        "maximum_packet_size": st.integers(1, 0xFFFF_FFFF),
        "wildcard_available": _flag,
        "subscription_ids_available": _flag,
        "shared_available": _flag,
    }
)
_in_publish = _said(
    {**_message, "subscription_ids": st.lists(_sub_ids, max_size=3).map(tuple), "topic_alias": _two}
)
_in_answer = _said(_answer)
_in_subscribe = _said({"subscription_ids": st.tuples(_sub_ids), "user": _pairs})
_in_disconnect = _said({**_answer, "session_expiry": _four, "server_reference": _text})
_in_auth = _said({**_answer, "authentication_method": _text, "authentication_data": _bytes})
_just_none = st.just(NONE)


def _wills(properties: st.SearchStrategy[Properties]) -> st.SearchStrategy[Will]:
    return st.builds(Will, _topics, _payloads, st.integers(0, 2), st.booleans(), properties)


def _connects(
    level: int,
    credentials: st.SearchStrategy[Any],
    will: st.SearchStrategy[Will],
    properties: st.SearchStrategy[Properties],
) -> st.SearchStrategy[Connect]:
    return st.builds(
        lambda client_id, clean, keepalive, who, will, properties: Connect(
            client_id, clean, keepalive, who[0], who[1], will, level, properties
        ),
        _text,
        st.booleans(),
        _two,
        credentials,
        st.none() | will,
        properties,
    )


def _publishes(properties: st.SearchStrategy[Properties]) -> st.SearchStrategy[Publish]:
    return st.one_of(
        st.builds(Publish, _topics, _payloads, st.just(0), st.booleans(), properties=properties),
        st.builds(
            Publish, _topics, _payloads, st.integers(1, 2), st.booleans(), st.booleans(), _ids,
            properties,
        ),
    )  # fmt: skip


_qos = st.lists(st.tuples(_filters, st.integers(0, 2)), min_size=1, max_size=4).map(tuple)
_options = (
    st.lists(
        st.tuples(
            _filters,
            st.builds(
                lambda qos, flags, handling: qos | flags | handling << 4,
                st.integers(0, 2),
                st.sampled_from([0, 4, 8, 12]),
                st.integers(0, 2),
            ),
        ).filter(lambda asked: not (asked[0].startswith("$share/") and asked[1] & NO_LOCAL)),
        min_size=1,
        max_size=4,
    )
).map(tuple)
_names = st.lists(_filters, min_size=1, max_size=4).map(tuple)
_with_password = st.tuples(_text, _bytes)
_credentials = st.just((None, None)) | st.tuples(_text, st.none()) | _with_password

packets: st.SearchStrategy[Packet] = st.one_of(
    _connects(LEVEL, _credentials, _wills(_just_none), _just_none),
    _publishes(_just_none),
    st.builds(Connack, st.integers(0, 5), st.booleans()),
    st.builds(Puback, _ids),
    st.builds(Pubrec, _ids),
    st.builds(Pubrel, _ids),
    st.builds(Pubcomp, _ids),
    st.builds(Subscribe, _ids, _qos),
    st.builds(Suback, _ids, _codes),
    st.builds(Unsubscribe, _ids, _names),
    st.builds(Unsuback, _ids),
    st.sampled_from([Pingreq(), Pingresp(), Disconnect()]),
)
"""3.1.1"""

packets_5: st.SearchStrategy[Packet] = st.one_of(
    _connects(
        LEVEL_5,
        _credentials | st.tuples(st.none(), _bytes),
        _wills(_said({**_message, "will_delay": _four})),
        _in_connect,
    ),
    _publishes(_in_publish),
    st.builds(lambda n: Publish("", b"", properties=Properties(topic_alias=n)), _two),
    st.builds(Connack, _reasons, st.booleans(), _in_connack),
    st.builds(Puback, _ids, _reasons, _in_answer),
    st.builds(Pubrec, _ids, _reasons, _in_answer),
    st.builds(Pubrel, _ids, _reasons, _in_answer),
    st.builds(Pubcomp, _ids, _reasons, _in_answer),
    st.builds(Subscribe, _ids, _options, _in_subscribe),
    st.builds(Suback, _ids, _codes, _in_answer),
    st.builds(Unsubscribe, _ids, _names, _said({"user": _pairs})),
    st.builds(Unsuback, _ids, _codes, _in_answer),
    st.sampled_from([Pingreq(), Pingresp()]),
    st.builds(Disconnect, _reasons, _in_disconnect),
    st.builds(Auth, _reasons, _in_auth),
)
"""5.0"""

dialogues: st.SearchStrategy[tuple[int, list[Packet]]] = st.one_of(
    st.tuples(st.just(LEVEL), st.lists(packets, max_size=5)),
    st.tuples(st.just(LEVEL_5), st.lists(packets_5, max_size=5)),
)
"""A version, and packets in it."""
