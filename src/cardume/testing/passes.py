"""Tokens for tests: a verifier that also knows the identities a test has handed out."""

from __future__ import annotations

import secrets
from typing import Any

from cardume.auth.identity import Identity, InvalidToken
from cardume.clock import Clock
from cardume.hub.hub import Hub, Verifier


class Passes:
    """In front of the hub's own verifier; whoever comes with another token is left to that."""

    def __init__(self, verifier: Verifier, clock: Clock) -> None:
        self._verifier = verifier
        self._clock = clock
        self._issued: dict[str, Identity] = {}

    def issue(self, identity: Identity) -> str:
        """A token that proves `identity`, until its `expires_at`."""
        token = f"test-{secrets.token_urlsafe(12)}"
        self._issued[token] = identity
        return token

    async def verify(self, token: str) -> Identity:
        identity = self._issued.get(token)
        if identity is None:
            return await self._verifier.verify(token)
        if identity.expires_at is not None and identity.expires_at <= self._clock.now():
            raise InvalidToken("expired")
        return identity

    def __getattr__(self, name: str) -> Any:
        return getattr(self._verifier, name)


class _PassesAndSubscriptions(Passes):
    """Where the hub's own verifier also knows tokens for one channel."""

    async def verify_subscription(self, token: str, channel: str, sub: str) -> Identity:
        verifier: Any = self._verifier
        identity: Identity = await verifier.verify_subscription(token, channel, sub)
        return identity


def passes_of(hub: Hub) -> Passes:
    """Those of a running hub. They stay in front of its verifier.

    Raises:
        HubNotRunning: it has no verifier yet.
    """
    verifier = hub.auth
    if isinstance(verifier, Passes):
        return verifier
    kind = _PassesAndSubscriptions if hasattr(verifier, "verify_subscription") else Passes
    made = kind(verifier, hub.clock)
    hub.verify_with(made)
    return made
