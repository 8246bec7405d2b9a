from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.auth.identity import Identity, InvalidToken
from cardume.auth.keys import StaticKeys, secret_key
from cardume.auth.tokens import TokenVerifier, build_verifier, from_environment
from cardume.errors import ConfigurationError
from cardume.testing import FakeClock
from tests.auth.forge import (
    ED25519,
    GOOD,
    NOW,
    OTHER_SECRET,
    P256,
    P384,
    RSA,
    RSA_OTHER,
    SECRET,
    at_once,
    b64,
    pem,
    raw_token,
    token,
)


def verifier(clock: FakeClock | None = None, **settings: Any) -> TokenVerifier:
    return build_verifier(clock=clock or FakeClock(NOW), **(settings or {"secret": SECRET}))


def reason(text: str, **settings: Any) -> str:
    with pytest.raises(InvalidToken) as refusal:
        at_once(verifier(**settings), text)
    assert text == "" or text not in str(refusal.value)
    return refusal.value.reason


async def test_a_good_token() -> None:
    claims = {**GOOD, "role": "admin", "aquariums": [7], "channels": ["room:*"]}
    ana = await verifier().verify(token(claims))
    assert ana == Identity.from_claims(claims)
    assert (ana.sub, ana.is_admin, ana.grants("aquariums", 7)) == ("ana", True, True)


def test_with_keys_at_hand_nothing_waits() -> None:
    assert at_once(verifier(), token()) == Identity.from_claims(GOOD)


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "NONE", "", " ", "HS256 ", "hs256", "x"])
@pytest.mark.parametrize("signature", ["sound", "empty", "junk"])
def test_alg_none_and_its_spellings(alg: str, signature: str) -> None:
    sound = token(header={"alg": alg})
    body = sound.rpartition(".")[0]
    text = {"sound": sound, "empty": f"{body}.", "junk": f"{body}.AAAA"}[signature]
    assert reason(text) == ("malformed" if signature == "empty" else "algorithm")


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "ES256K", "EdDSA", "HS384", "HS512"])
def test_an_algorithm_that_is_not_listed(alg: str) -> None:
    assert reason(token(header={"alg": alg})) == "algorithm"


def test_the_public_key_as_the_secret() -> None:
    material = pem(RSA).encode()
    assert reason(token(secret=material), public_key=pem(RSA)) == "algorithm"
    both = {"public_key": pem(RSA), "secret": SECRET}
    assert reason(token(secret=material), **both) == "signature"
    assert reason(token(secret=material, header={"alg": "RS256"}), **both) == "signature"


@pytest.mark.parametrize(
    "kid",
    [
        "",
        "../../../../dev/null",
        "' OR 1=1 --",
        "http://127.0.0.1:1/k",
        "\x00",
        "é" * 500,
        "k" * 5000,
    ],
)
def test_a_hostile_kid_is_only_a_word(kid: str) -> None:
    assert at_once(verifier(), token(header={"kid": kid})) is not None
    assert reason(token(header={"kid": kid}, secret="")) == "signature"
    assert reason(token(header={"kid": kid}, secret=b"\x00" * 32)) == "signature"


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "malformed"),
        (b"null", "malformed"),
        (b"[]", "malformed"),
        (b'"ana"', "malformed"),
        (b'{"sub":"ana"', "malformed"),
        (b'{"sub":"ana","exp":1e309}', "malformed"),
        (b'{"sub":"ana","exp":NaN}', "malformed"),
        (b'{"sub":"ana","exp":Infinity}', "malformed"),
        (b'{"sub":"\xff","exp":1795003600}', "malformed"),
        (b'{"sub":"\\ud800","exp":1795003600}', "malformed"),
        (b'{"sub":"ana","exp":1795003600,"x":' + b"[" * 40 + b"]" * 40 + b"}", "malformed"),
        (b'{"sub":"ana","exp":' + b"9" * 5000 + b"}", "malformed"),
        (b'{"sub":"ana","exp":1e308}', "malformed_time"),
        (b'{"sub":"ana","exp":"1795003600"}', "malformed_time"),
        (b'{"sub":"ana","exp":true}', "malformed_time"),
        (b'{"sub":"ana"}', "no_expiry"),
        (b'{"exp":1795003600}', "subject"),
    ],
)
def test_well_signed_nonsense(payload: bytes, said: str) -> None:
    text = raw_token(b'{"alg":"HS256"}', payload)
    # An empty payload leaves an empty segment.
    assert reason(text) == said


def test_other_secrets_and_other_keys() -> None:
    assert reason(token(secret=OTHER_SECRET)) == "signature"
    foreign = jwt.encode(dict(GOOD), RSA_OTHER, algorithm="RS256")
    assert reason(foreign, public_key=pem(RSA)) == "signature"


def test_the_signature_comes_before_the_claims() -> None:
    # Or a forged token could be told "expired", which clients take for "ask for a fresh one".
    assert reason(token({"sub": "ana", "exp": 1}, secret=OTHER_SECRET)) == "signature"


async def test_expiry_follows_the_clock_that_was_given() -> None:
    clock = FakeClock(NOW)
    ours = verifier(clock)
    text = token({"sub": "ana", "exp": NOW + 60})
    await ours.verify(text)
    await clock.advance(59)
    await ours.verify(text)
    await clock.advance(1)
    with pytest.raises(InvalidToken) as refusal:
        await ours.verify(text)
    assert refusal.value.expired
    clock.step_wall(-60)
    await ours.verify(text)


def test_leeway_may_be_none() -> None:
    assert reason(token({"sub": "ana", "exp": NOW}), secret=SECRET, leeway=0) == "expired"
    assert at_once(verifier(secret=SECRET, leeway=0), token({"sub": "ana", "exp": NOW + 1}))


def test_two_secrets_while_one_replaces_the_other() -> None:
    rotating = verifier(secret=OTHER_SECRET, previous_secret=SECRET)
    assert at_once(rotating, token())
    assert at_once(rotating, token(secret=OTHER_SECRET))
    assert reason(token(), secret=OTHER_SECRET) == "signature"
    assert (
        reason(token(secret="x" * 40), secret=OTHER_SECRET, previous_secret=SECRET) == "signature"
    )


def test_a_secret_and_a_public_key_together() -> None:
    both = verifier(secret=SECRET, public_key=pem(P256) + pem(RSA) + pem(ED25519))
    assert at_once(both, token())
    for key, alg in ((P256, "ES256"), (RSA, "RS256"), (ED25519, "EdDSA")):
        assert at_once(both, jwt.encode(dict(GOOD), key, algorithm=alg))


async def test_two_issuers_each_with_its_own_key() -> None:
    first = verifier(public_key=pem(RSA), issuer="https://a.example")
    second = verifier(public_key=pem(RSA_OTHER), issuer="https://b.example")
    kid = {"kid": "same"}
    of_a = jwt.encode({**GOOD, "iss": "https://a.example"}, RSA, "RS256", headers=kid)
    claims_b = {**GOOD, "iss": "https://b.example"}
    await first.verify(of_a)
    await second.verify(jwt.encode(claims_b, RSA_OTHER, "RS256", headers=kid))
    for text in (of_a, jwt.encode(claims_b, RSA, "RS256", headers=kid)):
        with pytest.raises(InvalidToken):
            await second.verify(text)


async def test_a_subscription_token_is_no_connection_token_and_back() -> None:
    ours = verifier()
    for_room = token({**GOOD, "channel": "room:7"})
    assert reason(for_room) == "purpose"
    with pytest.raises(InvalidToken, match="purpose"):
        await ours.verify(for_room)
    assert (await ours.verify_subscription(for_room, "room:7", "ana")).expires_at == NOW + 3600
    for text, channel, sub in (
        (token(), "room:7", "ana"),
        (for_room, "room:8", "ana"),
        (for_room, "room:7", "eva"),
        (token({**GOOD, "channel": ["room:7"]}), "room:7", "ana"),
        (token({**GOOD, "channel": "room:*"}), "room:7", "ana"),
    ):
        with pytest.raises(InvalidToken, match="purpose"):
            await ours.verify_subscription(text, channel, sub)


@given(st.text(max_size=300))
def test_no_text_breaks_it(text: str) -> None:
    with pytest.raises(InvalidToken):
        at_once(verifier(), text)


@given(st.binary(max_size=120), st.binary(max_size=200))
def test_nothing_well_signed_breaks_it(header: bytes, payload: bytes) -> None:
    with pytest.raises(InvalidToken):
        at_once(verifier(), raw_token(header, payload))


@given(st.data())
def test_no_single_change_goes_unnoticed(data: st.DataObject) -> None:
    good = token()
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.characters().filter(lambda character: character != good[place]))
    with pytest.raises(InvalidToken):
        at_once(verifier(), good[:place] + other + good[place + 1 :])


@given(st.integers(0, 200))
def test_no_shortened_token_is_one(cut: int) -> None:
    good = token()
    if cut < len(good):
        with pytest.raises(InvalidToken):
            at_once(verifier(), good[:cut])


# -- settings ---------------------------------------------------------------------------------


def built(env: Mapping[str, str]) -> TokenVerifier:
    return from_environment(env, FakeClock(NOW))


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({}, "CARDUME_JWT_SECRET.*token_urlsafe.*CARDUME_JWKS_URL.*CARDUME_JWT_PUBLIC_KEY"),
        ({"CARDUME_JWT_SECRET": ""}, "no key to verify"),
        ({"CARDUME_JWT_SECRET": "short"}, "at least 32 bytes, this one has 5"),
        ({"CARDUME_JWT_SECRET": SECRET, "CARDUME_JWT_SECRET_PREVIOUS": "short"}, "at least 32"),
        ({"CARDUME_JWT_SECRET_PREVIOUS": SECRET}, "no key"),
        ({"CARDUME_JWT_SECRET_PREVIOUS": SECRET, "CARDUME_JWT_PUBLIC_KEY": pem(RSA)}, "beside"),
        ({"CARDUME_JWT_SECRET": pem(RSA)}, "CARDUME_JWT_PUBLIC_KEY"),
        ({"CARDUME_JWT_PUBLIC_KEY": "x"}, "PEM"),
        ({"CARDUME_JWT_PUBLIC_KEY": pem(P384)}, "fits ES384 only"),
        ({"CARDUME_JWKS_URL": "http://issuer.example/"}, "https"),
        ({"CARDUME_JWKS_URL": "file:///etc/passwd"}, "https"),
        ({"CARDUME_JWKS_URL": "https://"}, "https"),
        ({"CARDUME_JWKS_URL": "https://[::1"}, "https"),
        ({"CARDUME_JWKS_URL": "https://a:b@issuer.example/"}, "user name"),
        ({"CARDUME_JWKS_URL": "https://x", "CARDUME_JWT_PUBLIC_KEY": pem(RSA)}, "not both"),
        ({"CARDUME_JWT_SECRET": SECRET, "CARDUME_JWT_ALGORITHMS": "none"}, "none"),
        ({"CARDUME_JWT_SECRET": SECRET, "CARDUME_JWT_ALGORITHMS": "HS256,none"}, "none"),
        ({"CARDUME_JWT_SECRET": SECRET, "CARDUME_JWT_ALGORITHMS": "HS512"}, "64"),
        ({"CARDUME_JWT_SECRET": SECRET, "CARDUME_JWT_ALGORITHMS": "RS256"}, "fits HS256 only"),
        ({"CARDUME_JWT_SECRET": SECRET, "CARDUME_JWT_ALGORITHMS": "HS256,RS256"}, "RS256"),
        ({"CARDUME_JWKS_URL": "https://x", "CARDUME_JWT_ALGORITHMS": "HS256"}, "public-key"),
        ({"CARDUME_JWKS_URL": "https://x", "CARDUME_JWT_ALGORITHMS": "RS256,HS256"}, "HS256"),
    ],
)
def test_settings_that_refuse_to_start(env: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refusal:
        built(env)
    for secret in (SECRET, "short"):
        assert secret not in str(refusal.value)


def test_settings_for_a_secret() -> None:
    env = {"CARDUME_JWT_SECRET": OTHER_SECRET, "CARDUME_JWT_SECRET_PREVIOUS": SECRET}
    assert at_once(built(env), token())
    assert at_once(built(env), token(secret=OTHER_SECRET))


def test_settings_for_keys() -> None:
    env = {"CARDUME_JWT_PUBLIC_KEY": pem(P384), "CARDUME_JWT_ALGORITHMS": " ES384 ,"}
    assert at_once(built(env), jwt.encode(dict(GOOD), P384, algorithm="ES384"))
    assert built({"CARDUME_JWKS_URL": "https://issuer.example/jwks.json"})


def test_settings_for_audience_and_issuer() -> None:
    env = {"CARDUME_JWT_SECRET": SECRET, "CARDUME_JWT_AUDIENCE": "hub", "CARDUME_JWT_ISSUER": "us"}
    ours = built(env)
    assert at_once(ours, token({**GOOD, "aud": "hub", "iss": "us"}))
    for claims in (GOOD, {**GOOD, "aud": "hub"}, {**GOOD, "iss": "us"}):
        with pytest.raises(InvalidToken):
            at_once(ours, token(claims))


def test_algorithms_are_named_one_by_one() -> None:
    keys = StaticKeys([secret_key(SECRET)])
    for algorithms in ((), ("none",), ("HS256", "ES256K")):
        with pytest.raises(ConfigurationError, match="among"):
            TokenVerifier(keys, FakeClock(NOW), algorithms=algorithms)


def test_an_unsecured_token_as_libraries_write_it() -> None:
    text = jwt.encode(dict(GOOD), "", algorithm="none")
    assert reason(text) == "malformed"
    assert reason(f"{b64(b'{}')}.{b64(json.dumps(dict(GOOD)).encode())}.AA") == "malformed"
