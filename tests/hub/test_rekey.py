"""Connections whose token was signed by a key that is withdrawn, over real WebSockets."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import jwt
import pytest
from fastapi import FastAPI

from cardume import Hub, Identity
from cardume.auth.jwks import MAX_AGE, MIN_INTERVAL, JwksKeys
from cardume.auth.keys import Key, KeysByFamily, StaticKeys, secret_key
from cardume.auth.tokens import TokenVerifier
from cardume.hub.rekey import EVERY, KeyWatcher
from cardume.testing import FakeClock
from tests.auth.forge import GOOD, NOW, RSA, RSA_OTHER, SECRET, Private, jwk
from tests.auth.issuer import Issuer, key_set
from tests.support.house import House
from tests.support.peers import Nobody
from tests.support.stages import Client, Closed, Stage, until, uvicorn_on

ROUND = 1.1 * EVERY
"""Within this time there is a round."""


class Watched(TokenVerifier):
    """Counts what it is asked."""

    asked: tuple[int, ...] = ()

    async def withdrawn(self, keys: Collection[Key]) -> frozenset[Key]:
        self.asked += (len(keys),)
        return await super().withdrawn(keys)


class RekeyedHouse(House):
    """One room, tokens of an issuer and of our own secret, a clock that stands still."""

    def __init__(self, issuer: Issuer) -> None:
        self.clock = FakeClock(NOW)
        self.published = JwksKeys(issuer.url, self.clock)
        keys = KeysByFamily(StaticKeys([secret_key(SECRET)]), self.published)
        self.verifier = Watched(keys, self.clock, algorithms=["RS256", "HS256"])
        self.hub = Hub(auth=self.verifier, clock=self.clock)
        self.loop = None
        self.app = FastAPI(lifespan=self._lifespan)
        self.app.include_router(self.hub.router)

        @self.hub.channel("room:{room_id}", path="/ws/room/{room_id}")
        async def room(room_id: int, identity: Identity) -> None: ...


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    running = Issuer()
    running.body = key_set(jwk(RSA, kid="a"), jwk(RSA_OTHER, kid="b"))
    yield running
    running.close()


@pytest.fixture
def house(issuer: Issuer) -> RekeyedHouse:
    return RekeyedHouse(issuer)


@pytest.fixture
def stage(house: RekeyedHouse) -> Iterator[Stage]:
    with uvicorn_on(house, "asyncio") as running:
        yield running


def signed(key: Private | str, kid: str | None) -> str:
    headers = None if kid is None else {"kid": kid}
    alg = "HS256" if isinstance(key, str) else "RS256"
    return jwt.encode({**GOOD, "exp": NOW + 10**6}, key, alg, headers=headers)


@contextmanager
def visit(stage: Stage, token: str) -> Iterator[Client]:
    with stage.connect(f"/ws/room/1?token={token}") as client:
        assert client.receive()["type"] == "connected"
        yield client


def rounds(stage: Stage, house: RekeyedHouse, seconds: float = MAX_AGE + ROUND) -> None:
    """Let time pass, and the rounds in it come to an end."""
    before = len(house.verifier.asked)
    stage.run(lambda: house.clock.advance(seconds))
    assert len(house.verifier.asked) > before


def is_here(client: Client) -> bool:
    """Whether it is answered."""
    client.send('{"type":"ping","data":{}}')
    return bool(client.receive()["type"] == "pong")


def closes_with(client: Client) -> int:
    with pytest.raises(Closed) as closed:
        client.receive()
    return closed.value.code


def test_a_withdrawn_key_ends_what_it_signed(
    stage: Stage, house: RekeyedHouse, issuer: Issuer
) -> None:
    with (
        visit(stage, signed(RSA, "a")) as old,
        visit(stage, signed(RSA, None)) as unnamed,
        visit(stage, signed(RSA_OTHER, "b")) as new,
        visit(stage, signed(SECRET, None)) as ours,
    ):
        issuer.body = key_set(jwk(RSA_OTHER, kid="b"))
        rounds(stage, house)
        assert closes_with(old) == closes_with(unnamed) == 3500
        assert is_here(new)
        assert is_here(ours)
    assert house.hub.rejects.counts["key_withdrawn"] == 2


def test_a_key_that_is_another_by_the_same_name_is_withdrawn(
    stage: Stage, house: RekeyedHouse, issuer: Issuer
) -> None:
    with visit(stage, signed(RSA, "a")) as old:
        issuer.body = key_set(jwk(RSA_OTHER, kid="a"))
        rounds(stage, house)
        assert closes_with(old) == 3500


def test_who_got_a_newer_token_stays(stage: Stage, house: RekeyedHouse, issuer: Issuer) -> None:
    with visit(stage, signed(RSA, "a")) as client:
        refresh = {"type": "refresh", "data": {"token": signed(RSA_OTHER, "b")}}
        client.send(json.dumps(refresh))
        assert client.receive()["type"] == "refreshed"
        issuer.body = key_set(jwk(RSA_OTHER, kid="b"))
        rounds(stage, house)
        assert is_here(client)


@pytest.mark.parametrize("body", [b"", b'{"keys":[]}', b"<html>"])
def test_an_issuer_that_is_broken_withdraws_nothing(
    stage: Stage, house: RekeyedHouse, issuer: Issuer, body: bytes
) -> None:
    with visit(stage, signed(RSA, "a")) as client:
        issuer.body = body
        rounds(stage, house)
        until(lambda: house.published.failures == 1)
        assert is_here(client)
        # And when it works again, what it says counts.
        issuer.body = key_set(jwk(RSA_OTHER, kid="b"))
        rounds(stage, house, MIN_INTERVAL + ROUND)
        assert closes_with(client) == 3500


def test_a_round_asks_about_keys_and_not_about_tokens(stage: Stage, house: RekeyedHouse) -> None:
    with (
        visit(stage, signed(RSA, "a")),
        visit(stage, signed(RSA, "a")),
        visit(stage, signed(RSA, None)),
        visit(stage, signed(RSA_OTHER, "b")),
    ):
        rounds(stage, house, ROUND)
        assert house.verifier.asked == (2,)


def test_an_issuer_nobody_came_from_is_not_asked(
    stage: Stage, house: RekeyedHouse, issuer: Issuer
) -> None:
    with visit(stage, signed(SECRET, None)) as client:
        rounds(stage, house)
        assert issuer.hits == 0
        assert is_here(client)


async def test_a_verifier_that_knows_no_keys_is_left_alone(clock: FakeClock) -> None:
    assert not isinstance(Nobody(), KeyWatcher)
    async with Hub(auth=Nobody(), clock=clock):
        await clock.advance(10 * ROUND)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
