from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import jwt
import pytest

from cardume.auth.identity import InvalidToken
from cardume.auth.jwks import MAX_BYTES, MAX_KEYS, JwksKeys, parse_key_set
from cardume.auth.tokens import TokenVerifier
from cardume.errors import ConfigurationError, Invalid, Unavailable
from cardume.testing import FakeClock
from tests.auth.forge import (
    GOOD,
    NOW,
    P256,
    RSA,
    RSA_OTHER,
    SECRET,
    Private,
    at_once,
    b64,
    jwk,
    token,
)
from tests.auth.issuer import Issuer, key_set
from tests.support.waiting import PATIENCE


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    running = Issuer()
    yield running
    running.close()


def signed(key: Private = RSA, kid: str | None = "a", alg: str = "RS256", **claims: Any) -> str:
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode({**GOOD, "exp": NOW + 10**6, **claims}, key, alg, headers=headers)


class Setup:
    def __init__(self, url: str, **settings: Any) -> None:
        self.clock = FakeClock(NOW)
        self.keys = JwksKeys(url, self.clock, **settings)
        self.verifier = TokenVerifier(
            self.keys, self.clock, algorithms=["RS256", "ES256", "HS256"], audience=None
        )

    async def reason(self, text: str) -> str:
        with pytest.raises(InvalidToken) as refusal:
            await self.verifier.verify(text)
        return refusal.value.reason


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - another thread makes it true
            await asyncio.sleep(0.002)


async def test_one_fetch_serves_many(issuer: Issuer) -> None:
    it = Setup(issuer.url)
    assert at_once(it.verifier, signed()) is None
    assert (await it.verifier.verify(signed())).sub == "ana"
    assert at_once(it.verifier, signed()) is not None
    for _ in range(20):
        await it.verifier.verify(signed())
    assert issuer.hits == it.keys.fetches == 1


async def test_a_crowd_waits_for_one_fetch(issuer: Issuer) -> None:
    it = Setup(issuer.url)
    issuer.open.clear()
    crowd = [asyncio.create_task(it.verifier.verify(signed())) for _ in range(50)]
    await until(lambda: issuer.hits == 1)
    crowd[0].cancel()
    issuer.open.set()
    done = await asyncio.gather(*crowd, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert all(getattr(answer, "sub", None) == "ana" for answer in done[1:])
    assert issuer.hits == 1


async def test_rotation(issuer: Issuer) -> None:
    it = Setup(issuer.url)
    await it.verifier.verify(signed())
    issuer.body = key_set(jwk(RSA, kid="a"), jwk(RSA_OTHER, kid="b"))
    await it.clock.advance(30)
    await it.verifier.verify(signed(RSA_OTHER, "b"))
    await it.verifier.verify(signed())
    issuer.body = key_set(jwk(RSA_OTHER, kid="b"))
    await it.clock.advance(600)
    await it.verifier.verify(signed(RSA_OTHER, "b"))  # starts the refresh
    await until(lambda: it.keys.find("RS256", "a") == ())
    assert await it.reason(signed()) == "unknown_key"  # at once, and for good
    await it.verifier.verify(signed(RSA_OTHER, "b"))
    assert issuer.hits == 3


async def test_a_good_new_key_is_never_called_bad(issuer: Issuer) -> None:
    it = Setup(issuer.url)
    await it.verifier.verify(signed())
    issuer.body = key_set(jwk(RSA, kid="a"), jwk(RSA_OTHER, kid="b"))
    await it.clock.advance(5)
    with pytest.raises(Unavailable):  # too early to ask: come back
        await it.verifier.verify(signed(RSA_OTHER, "b"))
    await it.clock.advance(25)
    await it.verifier.verify(signed(RSA_OTHER, "b"))


async def test_a_flood_of_unknown_kids(issuer: Issuer) -> None:
    it = Setup(issuer.url)
    await it.verifier.verify(signed())
    signature = b64(bytes(256))
    for second in range(100):
        for number in range(100):
            head = b64(json.dumps({"alg": "RS256", "kid": f"{second}-{number}"}).encode())
            payload = b64(json.dumps({**GOOD, "exp": NOW + 999}).encode())
            with pytest.raises((InvalidToken, Unavailable)):
                await it.verifier.verify(f"{head}.{payload}.{signature}")
        await it.clock.advance(1)
    assert issuer.hits == 4  # at 0, 30, 60 and 90 seconds
    assert at_once(it.verifier, signed()) is not None


async def test_an_unknown_kid_is_remembered_as_unknown(issuer: Issuer) -> None:
    it = Setup(issuer.url)
    assert await it.reason(signed(kid="zzz")) == "unknown_key"
    assert await it.reason(signed(kid="zzz")) == "unknown_key"
    assert issuer.hits == 1
    await it.clock.advance(30)
    assert await it.reason(signed(kid="zzz")) == "unknown_key"
    assert issuer.hits == 2


async def test_a_token_without_a_kid_tries_what_fits(issuer: Issuer) -> None:
    issuer.body = key_set(jwk(RSA_OTHER, kid="b"), jwk(P256, kid="c"), jwk(RSA, kid="a"))
    it = Setup(issuer.url)
    await it.verifier.verify(signed(kid=None))
    await it.verifier.verify(signed(P256, None, "ES256"))
    assert it.keys.find("RS256", None) is not None
    assert len(it.keys.find("RS256", None) or ()) == 2


async def test_a_kid_is_bound_to_its_key(issuer: Issuer) -> None:
    issuer.body = key_set(jwk(RSA, kid="a"), jwk(RSA_OTHER, kid="b"))
    it = Setup(issuer.url)
    assert await it.reason(signed(RSA, "b")) == "signature"


async def test_a_published_secret_is_no_key(issuer: Issuer) -> None:
    secret = {"kty": "oct", "k": b64(SECRET.encode()), "kid": "s", "alg": "HS256", "use": "sig"}
    issuer.body = key_set(secret, jwk(RSA, kid="a"))
    it = Setup(issuer.url)
    text = token({**GOOD, "exp": NOW + 999}, header={"kid": "s"})
    assert await it.reason(text) == "unknown_key"


@pytest.mark.parametrize(
    "claims", [{"exp": NOW - 60}, {"aud": "billing"}, {"sub": ""}, {"nbf": NOW + 60}]
)
async def test_a_token_that_will_not_do_asks_nobody(issuer: Issuer, claims: Any) -> None:
    it = Setup(issuer.url)
    await it.reason(signed(**claims))
    assert issuer.hits == 0


async def test_a_token_cannot_send_us_anywhere(issuer: Issuer) -> None:
    evil = Issuer()
    try:
        evil.body = key_set(jwk(RSA_OTHER, kid="a"))
        it = Setup(issuer.url)
        brought = {"kid": evil.url, "jku": evil.url, "x5u": evil.url, "jwk": jwk(RSA_OTHER)}
        claims = {**GOOD, "iss": evil.url}
        assert await it.reason(jwt.encode(claims, RSA_OTHER, "RS256", headers=brought))
        assert evil.hits == 0
    finally:
        evil.close()


def _broken(issuer: Issuer, how: str) -> None:
    if how == "status":
        issuer.status = 500
    elif how == "empty":
        issuer.body = b""
    elif how == "html":
        issuer.body = b"<html>"
    elif how == "not a set":
        issuer.body = b'{"keys":{}}'
    elif how == "no key":
        issuer.body = key_set({"kty": "oct", "k": "AA"}, 5, None)
    elif how == "deep":
        issuer.body = b'{"keys":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    elif how == "not utf-8":
        issuer.body = b'{"keys":["\xff"]}'
    elif how == "10 MB":
        issuer.body = key_set(jwk(RSA, kid="a"), jwk(RSA, kid="new")) + b" " * (10 << 20)
    elif how == "elsewhere":
        issuer.status, issuer.location = 302, "http://127.0.0.1:1/jwks.json"
    elif how == "in circles":
        issuer.status, issuer.location = 302, issuer.url
    elif how == "hanging":
        issuer.open.clear()
    elif how == "dripping":
        issuer.drip = 0.02
    else:
        issuer.close()


BROKEN = [
    "status",
    "empty",
    "html",
    "not a set",
    "no key",
    "deep",
    "not utf-8",
    "10 MB",
    "elsewhere",
    "in circles",
    "hanging",
    "dripping",
]


@pytest.mark.parametrize("how", BROKEN)
async def test_a_broken_issuer(issuer: Issuer, how: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "cardume.auth")
    it = Setup(issuer.url, timeout=0.2)
    _broken(issuer, how)
    started = time.monotonic()
    for _ in range(3):  # at first nobody can be told apart
        with pytest.raises(Unavailable):
            await it.verifier.verify(signed())
    assert time.monotonic() - started < PATIENCE
    assert (it.keys.fetches, it.keys.failures) == (1, 1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "127.0.0.1" not in caplog.text


@pytest.mark.parametrize("how", BROKEN)
async def test_the_last_good_keys_are_kept(issuer: Issuer, how: str) -> None:
    it = Setup(issuer.url)
    await it.verifier.verify(signed())
    it.keys._timeout = 0.2
    _broken(issuer, how)
    for round_ in (1, 2):
        await it.clock.advance(600)
        await it.verifier.verify(signed())  # served at once, while a refresh is on its way
        await until(lambda round_=round_: it.keys.failures == round_)  # type: ignore[misc]
        if how in ("hanging", "dripping"):
            break  # its thread may be busy yet
        assert at_once(it.verifier, signed()) is not None
    assert await it.reason(signed(RSA_OTHER)) == "signature"
    with pytest.raises(Unavailable):
        await it.verifier.verify(signed(kid="new"))


async def test_an_issuer_that_is_gone(issuer: Issuer) -> None:
    gone = Issuer()
    gone.close()
    it = Setup(gone.url)
    with pytest.raises(Unavailable):
        await it.verifier.verify(signed())
    await it.clock.advance(29)
    with pytest.raises(Unavailable):
        await it.verifier.verify(signed())
    assert it.keys.fetches == 1
    await it.clock.advance(1)
    with pytest.raises(Unavailable):
        await it.verifier.verify(signed())
    assert it.keys.fetches == 2


async def test_a_thread_that_hangs_is_the_only_one(issuer: Issuer) -> None:
    over = threading.Event()

    def endless_header(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\nx: ")
        while not over.wait(0.01):
            handler.wfile.write(b"x")

    issuer.answer = endless_header  # type: ignore[method-assign]
    it = Setup(issuer.url, timeout=0.5)  # which never passes between two bytes
    try:
        for _ in range(5):
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(Unavailable):
                    await it.verifier.verify(signed())
            await it.clock.advance(31)
        await until(lambda: issuer.hits > 0)
        assert it.keys.fetches == issuer.hits == 1
    finally:
        over.set()


async def test_an_unknown_kid_while_the_issuer_is_down(issuer: Issuer) -> None:
    it = Setup(issuer.url)
    await it.verifier.verify(signed())
    issuer.status = 500
    await it.clock.advance(30)
    for _ in range(2):  # it may be a new key: nobody can tell
        with pytest.raises(Unavailable):
            await it.verifier.verify(signed(RSA_OTHER, "new"))
    assert issuer.hits == 2


async def test_a_redirect_to_elsewhere(issuer: Issuer) -> None:
    evil = Issuer()
    try:
        issuer.status, issuer.location = 302, evil.url
        with pytest.raises(Unavailable):
            await Setup(issuer.url).verifier.verify(signed())
        assert evil.hits == 0
    finally:
        evil.close()


async def test_a_redirect_within_the_issuer(issuer: Issuer) -> None:
    issuer.status, issuer.location = 302, "/keys/v2"
    answer = issuer.answer

    def first_redirect(handler: BaseHTTPRequestHandler) -> None:
        if handler.path != "/jwks.json":
            issuer.status = 200
        answer(handler)

    issuer.answer = first_redirect  # type: ignore[method-assign]
    it = Setup(issuer.url)
    assert (await it.verifier.verify(signed())).sub == "ana"


async def test_the_loop_goes_on_while_an_issuer_hangs(issuer: Issuer) -> None:
    it = Setup(issuer.url, timeout=1.0)
    issuer.open.clear()
    waiting = asyncio.create_task(it.verifier.verify(signed()))
    await until(lambda: issuer.hits == 1)
    assert not waiting.done()
    await it.verifier.aclose()
    with pytest.raises(Unavailable):
        await waiting
    await it.verifier.aclose()


def test_a_key_set_is_bounded() -> None:
    members = [jwk(RSA, kid=str(number)) for number in range(MAX_KEYS + 10)]
    assert len(parse_key_set(key_set(*members))) == MAX_KEYS
    assert len(key_set(*members)) < MAX_BYTES


def test_members_we_cannot_use_are_passed_over() -> None:
    keys = parse_key_set(key_set(5, {}, jwk(RSA, use="enc"), jwk(P256, kid="c")))
    assert [key.kid for key in keys] == ["c"]
    with pytest.raises(Invalid):
        parse_key_set(key_set())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "ftp://a/",
        "file:///etc/passwd",
        "http://a.example/",
        "http://127.0.0.1.a.example/",
        "http://user@127.0.0.1/",
        "https://user:pw@a.example/",
        "https:///x",
        "data:,x",
    ],
)
def test_addresses_nobody_should_fetch(url: str) -> None:
    with pytest.raises(ConfigurationError, match="https"):
        JwksKeys(url, FakeClock())
