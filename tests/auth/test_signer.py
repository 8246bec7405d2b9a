from __future__ import annotations

import jwt
import pytest

from cardume.auth.identity import InvalidToken
from cardume.auth.tokens import TokenSigner, build_verifier
from cardume.errors import ConfigurationError
from cardume.testing import FakeClock
from tests.auth.forge import NOW, SECRET


async def test_what_it_mints_is_accepted_until_it_ends() -> None:
    clock = FakeClock(NOW)
    verifier = build_verifier(secret=SECRET, clock=clock)
    text = TokenSigner(SECRET, clock).mint(
        "ana", ttl=60, role="service", aquariums=[7, "8"], channels=["room:*"], kind="agent", n=1
    )
    ana = await verifier.verify(text)
    assert dict(ana.claims) == {
        "sub": "ana",
        "iat": NOW,
        "exp": NOW + 60,
        "role": "service",
        "aquariums": [7, "8"],
        "channels": ["room:*"],
        "kind": "agent",
        "n": 1,
    }
    await clock.advance(60)
    with pytest.raises(InvalidToken, match="expired"):
        await verifier.verify(text)


def test_other_libraries_can_read_it() -> None:
    text = TokenSigner(SECRET, FakeClock(NOW)).mint("ana", ttl=60)
    read = jwt.decode(text, SECRET, algorithms=["HS256"], options={"verify_exp": False})
    assert read == {"sub": "ana", "iat": NOW, "exp": NOW + 60}


async def test_audience_and_issuer_go_with_it() -> None:
    clock = FakeClock(NOW)
    signer = TokenSigner(SECRET, clock, audience="hub", issuer="us")
    verifier = build_verifier(secret=SECRET, clock=clock, audience="hub", issuer="us")
    await verifier.verify(signer.mint("ana", ttl=60))


def test_expiry_is_not_to_be_talked_away() -> None:
    text = TokenSigner(SECRET, FakeClock(NOW)).mint("ana", ttl=60, exp=NOW * 2, iat=0)
    read = jwt.decode(text, SECRET, algorithms=["HS256"], options={"verify_exp": False})
    assert (read["exp"], read["iat"]) == (NOW + 60, NOW)


@pytest.mark.parametrize("ttl", [0, -1, float("nan")])
def test_a_token_needs_a_lifetime(ttl: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        TokenSigner(SECRET, FakeClock(NOW)).mint("ana", ttl=ttl)


def test_a_token_nobody_would_accept_is_not_minted() -> None:
    with pytest.raises(ValueError, match="8192"):
        TokenSigner(SECRET, FakeClock(NOW)).mint("ana", ttl=1, aquariums=range(5000))


def test_a_short_secret_signs_nothing() -> None:
    with pytest.raises(ConfigurationError, match="32"):
        TokenSigner("short", FakeClock(NOW))
