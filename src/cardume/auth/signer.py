"""The HS256 tokens that we mint ourselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jwt

from cardume.auth.jws import MAX_TOKEN
from cardume.auth.keys import secret_bytes
from cardume.clock import Clock


class TokenSigner:
    """Mints HS256 tokens that a verifier with the same secret, audience and issuer accepts."""

    def __init__(
        self,
        secret: str | bytes,
        clock: Clock,
        *,
        audience: str | None = None,
        issuer: str | None = None,
    ) -> None:
        self._secret = secret_bytes(secret)
        self._clock = clock
        self._fixed = {"aud": audience, "iss": issuer}

    def mint(
        self,
        sub: str,
        *,
        ttl: float,
        role: str | None = None,
        aquariums: Iterable[int | str] | None = None,
        channels: Iterable[str] | None = None,
        **claims: Any,
    ) -> str:
        """A token for `sub` that is good for `ttl` seconds. `iat` and `exp` are ours to set.

        Raises:
            ValueError: no lifetime, or more claims than a token may carry.
        """
        if not ttl > 0:
            raise ValueError("a token lives for some seconds")
        now = self._clock.now()
        payload = {
            **claims,
            **self._fixed,
            "sub": sub,
            "iat": int(now),
            "exp": int(now + ttl),
            "role": role,
            "aquariums": None if aquariums is None else list(aquariums),
            "channels": None if channels is None else list(channels),
        }
        said = {name: value for name, value in payload.items() if value is not None}
        token = jwt.encode(said, self._secret, algorithm="HS256")
        if len(token) > MAX_TOKEN:
            raise ValueError(f"a token holds at most {MAX_TOKEN} characters")
        return token
