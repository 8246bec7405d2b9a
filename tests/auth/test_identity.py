from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.auth.identity import Identity, IdentityKind, InvalidToken


def identity(**claims: Any) -> Identity:
    return Identity.from_claims({"sub": "ana", "exp": 2, **claims})


def test_plain_user() -> None:
    ana = identity()
    assert (ana.sub, ana.kind, ana.role, ana.expires_at) == ("ana", IdentityKind.USER, None, 2.0)
    assert not ana.is_admin
    assert not ana.is_service


@pytest.mark.parametrize(
    ("claims", "kind"),
    [
        ({"kind": "agent"}, IdentityKind.AGENT),
        ({"kind": "device", "role": "service"}, IdentityKind.DEVICE),
        ({"role": "service"}, IdentityKind.SERVICE),
        ({"kind": "root", "role": "service"}, IdentityKind.SERVICE),
        ({"kind": "root"}, IdentityKind.USER),
        ({"kind": ["agent"]}, IdentityKind.USER),
        ({"kind": None}, IdentityKind.USER),
    ],
)
def test_kind(claims: dict[str, Any], kind: IdentityKind) -> None:
    assert identity(**claims).kind is kind


@pytest.mark.parametrize("role", [["admin"], {"admin": True}, True, 1, None])
def test_a_malformed_role_is_none(role: Any) -> None:
    ana = identity(role=role)
    assert ana.role is None
    assert not ana.is_admin


def test_roles() -> None:
    assert identity(role="admin").is_admin
    assert identity(role="service").is_service
    assert not identity(role="Admin").is_admin


@pytest.mark.parametrize(
    ("claim", "value", "granted"),
    [
        ([7], 7, True),
        ([7], "7", True),
        (["7"], 7, True),
        (["7"], "7", True),
        (["ab12"], "ab12", True),
        ([8, "9", 7], 7, True),
        ([], 7, False),
        (None, 7, False),
        (7, 7, False),
        ("7", 7, False),
        ("17", "7", False),
        ({"7": 7}, 7, False),
        ([True], 1, False),
        ([1], True, False),
        ([7.0], 7, False),
        ([[7]], 7, False),
        (["07"], 7, False),
        ([7], "07", False),
        ([7], " 7", False),
        ([7], "\u0667", False),  # ARABIC-INDIC DIGIT SEVEN: int() would take it
        ([None], "None", False),
        ([10**19], 10**19, False),
        ([7], "7" * 5000, False),
        (["*"], 7, False),
    ],
)
def test_grants(claim: Any, value: int | str, granted: bool) -> None:
    assert identity(aquariums=claim).grants("aquariums", value) is granted


def test_a_missing_claim_grants_nothing() -> None:
    assert not identity().grants("aquariums", 7)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists), st.text())
def test_grants_only_what_is_listed(claim: Any, value: str) -> None:
    listed = isinstance(claim, list) and value in [i for i in claim if isinstance(i, str)]
    assert identity(things=claim).grants("things", value) is listed


@pytest.mark.parametrize(
    ("channels", "kept"),
    [
        (["room:*", "cards"], ("room:*", "cards")),
        ("*", ()),
        ({"*": 1}, ()),
        ([1, None, ["*"], "cards"], ("cards",)),
    ],
)
def test_channels_claim(channels: Any, kept: tuple[str, ...]) -> None:
    assert identity(channels=channels).channels == kept


def test_subscribing_by_claim() -> None:
    ana = identity(channels=["room:*", "cards"])
    assert ana.may_subscribe_by_claim("room:7")
    assert ana.may_subscribe_by_claim("cards")
    assert not ana.may_subscribe_by_claim("card:7")
    assert not identity().may_subscribe_by_claim("cards")


def test_it_cannot_be_changed() -> None:
    claims = {"sub": "ana", "exp": 2, "role": "user"}
    ana = Identity.from_claims(claims)
    claims["role"] = "admin"
    assert ana.claims["role"] == "user"
    with pytest.raises(TypeError):
        ana.claims["role"] = "admin"  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        ana.role = "admin"  # type: ignore[misc]


def test_it_is_a_value() -> None:
    assert hash(identity()) == hash(identity())
    assert identity() == identity()
    assert identity() != identity(role="admin")
    assert Identity("device-1", kind=IdentityKind.DEVICE).expires_at is None
    assert "secret" not in repr(identity(note="secret"))


def test_invalid_token_says_why() -> None:
    assert InvalidToken("expired").expired
    assert not InvalidToken("signature").expired
    assert str(InvalidToken("signature")) == "invalid token: signature"
