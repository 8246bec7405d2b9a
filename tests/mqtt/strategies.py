"""Packets as hypothesis draws them."""

from __future__ import annotations

from hypothesis import strategies as st

from cardume.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)

_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_topics = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=20
)
_filters = st.one_of(_topics, st.sampled_from(["#", "+", "a/+/b", "a/#", "+/+"]))
_ids = st.integers(1, 0xFFFF)
_payloads = st.binary(max_size=300)
_wills = st.builds(Will, _topics, _payloads, st.integers(0, 2), st.booleans())
_credentials = st.one_of(
    st.just((None, None)), st.tuples(_text, st.none()), st.tuples(_text, st.binary(max_size=20))
)
_connects = st.builds(
    lambda client_id, clean, keepalive, who, will: Connect(
        client_id, clean, keepalive, username=who[0], password=who[1], will=will
    ),
    _text,
    st.booleans(),
    st.integers(0, 0xFFFF),
    _credentials,
    st.none() | _wills,
)
_publishes = st.one_of(
    st.builds(Publish, _topics, _payloads, st.just(0), st.booleans()),
    st.builds(Publish, _topics, _payloads, st.integers(1, 2), st.booleans(), st.booleans(), _ids),
)
_asked = st.lists(st.tuples(_filters, st.integers(0, 2)), min_size=1, max_size=4).map(tuple)

packets: st.SearchStrategy[Packet] = st.one_of(
    _connects,
    _publishes,
    st.builds(Connack, st.integers(0, 5), st.booleans()),
    st.builds(Puback, _ids),
    st.builds(Subscribe, _ids, _asked),
    st.builds(Suback, _ids, st.lists(st.integers(0, 255), max_size=4).map(tuple)),
    st.builds(Unsubscribe, _ids, st.lists(_filters, min_size=1, max_size=4).map(tuple)),
    st.builds(Unsuback, _ids),
    st.sampled_from([Pingreq(), Pingresp(), Disconnect()]),
)
