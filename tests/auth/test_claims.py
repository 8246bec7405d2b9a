from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.auth.claims import ClaimRules
from cardume.auth.identity import Identity, InvalidToken
from tests.auth.forge import GOOD, NOW

RULES = ClaimRules()
STRICT = ClaimRules(frozenset({"hub", "hub2"}), "https://issuer.example")


def reason(claims: Any, rules: ClaimRules = RULES, now: float = NOW) -> str | None:
    try:
        rules.check(claims, now)
    except InvalidToken as refusal:
        return refusal.reason
    return None


def test_the_least_that_is_enough() -> None:
    assert RULES.check({"sub": "ana", "exp": NOW + 1}, NOW).expires_at == NOW + 1


@pytest.mark.parametrize("claims", [None, [], "x", 5, True, [GOOD]])
def test_what_is_no_claim_set(claims: Any) -> None:
    assert reason(claims) == "malformed"


@pytest.mark.parametrize(
    "exp", [None, True, False, str(NOW + 60), "", [NOW + 60], {}, 1e308, -1, -1e308, 10**30]
)
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_a_time_that_is_none(name: str, exp: Any) -> None:
    assert reason({**GOOD, name: exp}) == "malformed_time"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_time_that_json_cannot_even_say(value: float) -> None:
    assert reason({**GOOD, "exp": value}) == "malformed_time"


def test_fractions_of_a_second_are_times() -> None:
    assert RULES.check({**GOOD, "exp": NOW + 0.5}, NOW).expires_at == NOW + 0.5


def test_exp_is_required() -> None:
    assert reason({"sub": "ana"}) == "no_expiry"
    assert reason({"sub": "ana", "exp": 0}) == "expired"


@pytest.mark.parametrize(
    ("claims", "now", "refused"),
    [
        ({"exp": NOW}, NOW - 0.001, None),
        ({"exp": NOW}, NOW, "expired"),
        ({"exp": NOW}, NOW + 1, "expired"),
        ({"nbf": NOW}, NOW - 30, None),
        ({"nbf": NOW}, NOW - 30.001, "not_yet_valid"),
        ({"nbf": NOW}, NOW - 31, "not_yet_valid"),
        ({"iat": NOW}, NOW - 30, None),
        ({"iat": NOW}, NOW - 31, "not_yet_valid"),
        ({"nbf": NOW - 60, "iat": NOW + 60}, NOW, "not_yet_valid"),
        ({"nbf": NOW - 60, "iat": NOW - 60}, NOW, None),
    ],
)
def test_the_edges_of_the_leeway(claims: dict[str, Any], now: float, refused: str | None) -> None:
    assert reason({**GOOD, **claims}, now=now) == refused


@pytest.mark.parametrize(
    ("aud", "refused"),
    [
        ("hub", None),
        (["hub"], None),
        (["other", "hub2"], None),
        ("other", "audience"),
        ("HUB", "audience"),
        ("hub ", "audience"),
        ("hu", "audience"),
        ("hub,hub2", "audience"),
        ([], "audience"),
        (["other"], "audience"),
        (["hub", 5], "audience"),
        ([["hub"]], "audience"),
        ({"hub": 1}, "audience"),
        (None, "audience"),
        (5, "audience"),
        (True, "audience"),
    ],
)
def test_audience(aud: Any, refused: str | None) -> None:
    assert reason({**GOOD, "iss": "https://issuer.example", "aud": aud}, STRICT) == refused


@pytest.mark.parametrize(
    ("iss", "refused"),
    [
        ("https://issuer.example", None),
        ("https://issuer.example/", "issuer"),
        ("https://issuer.exampl", "issuer"),
        ("https://issuer.example.evil", "issuer"),
        ("issuer.example", "issuer"),
        ("", "issuer"),
        (["https://issuer.example"], "issuer"),
        (None, "issuer"),
    ],
)
def test_issuer(iss: Any, refused: str | None) -> None:
    assert reason({**GOOD, "aud": "hub", "iss": iss}, STRICT) == refused


def test_configured_audience_and_issuer_are_required() -> None:
    assert reason(GOOD, STRICT) == "audience"
    assert reason({**GOOD, "aud": "hub"}, STRICT) == "issuer"


def test_a_token_for_somebody_is_not_for_us() -> None:
    # RFC 7519 §4.1.3: who does not find himself in `aud` must reject.
    assert reason({**GOOD, "aud": "billing"}) == "audience"
    assert reason({**GOOD, "iss": "anybody"}) is None


@pytest.mark.parametrize(
    "sub", [None, "", 5, True, ["ana"], {}, "a" * 256, "a\x00b", "a\nb", "\x1b[31m", "a\x7f"]
)
def test_a_subject_that_is_none(sub: Any) -> None:
    assert reason({**GOOD, "sub": sub}) == "subject"


@pytest.mark.parametrize("sub", ["a", "a" * 255, "auth0|5f", "josé", "a b"])
def test_subjects(sub: str) -> None:
    assert RULES.check({**GOOD, "sub": sub}, NOW).sub == sub


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
_NAMES = ("sub", "exp", "nbf", "iat", "aud", "iss", "role", "kind", "channels", "aquariums")


@given(_json | st.fixed_dictionaries({}, optional={name: _json for name in _NAMES}))
def test_no_claims_break_it(claims: Any) -> None:
    for rules in (RULES, STRICT):
        try:
            identity = rules.check(claims, NOW)
        except InvalidToken:
            continue
        assert isinstance(identity, Identity)
        identity.grants("aquariums", 7)
        identity.may_subscribe_by_claim("cards")
