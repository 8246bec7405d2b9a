"""What a token's claims must say before they make an identity (RFC 7519 §4.1). Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from cardume.auth.identity import Identity, InvalidToken

MAX_SUBJECT = 255
_LAST_SECOND = 253_402_300_799  # the end of the year 9999, where `datetime` ends too


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """Audience, issuer and clock skew of one verifier."""

    audience: frozenset[str] = frozenset()
    """A token must name one of these; without any, it must name none (RFC 7519 §4.1.3)."""
    issuer: str | None = None
    leeway: float = 30.0
    """Seconds by which `nbf` and `iat` may lie ahead of our clock."""

    def check(self, claims: object, now: float, signer: Hashable = None) -> Identity:
        """The identity in a claim set that `signer` signed, at wall time `now`.

        Raises:
            InvalidToken: `sub` or `exp` is missing, a time is out, or it is meant for others.
        """
        if not isinstance(claims, dict):
            raise InvalidToken("malformed")
        self._check_times(claims, now)
        self._check_audience(claims.get("aud"))
        if self.issuer is not None and claims.get("iss") != self.issuer:
            raise InvalidToken("issuer")
        _check_subject(claims.get("sub"))
        return Identity.from_claims(claims, signer)

    def _check_times(self, claims: Mapping[str, Any], now: float) -> None:
        exp, nbf, iat = (_numeric_date(claims, name) for name in ("exp", "nbf", "iat"))
        if exp is None:
            raise InvalidToken("no_expiry")
        # No leeway at the end: a connection closes at `exp`, and a token that were still good
        # for a handshake then would reconnect in a circle until it is not.
        if now >= exp:
            raise InvalidToken("expired")
        if max(nbf or 0, iat or 0) > now + self.leeway:
            raise InvalidToken("not_yet_valid")

    def _check_audience(self, aud: object) -> None:
        if aud is None and not self.audience:
            return
        named = [aud] if isinstance(aud, str) else aud
        if not isinstance(named, list) or not all(isinstance(item, str) for item in named):
            raise InvalidToken("audience")
        if self.audience.isdisjoint(named):
            raise InvalidToken("audience")


def _numeric_date(claims: Mapping[str, Any], name: str) -> float | None:
    """Seconds since the epoch; fractions are allowed (RFC 7519 §2), text and booleans are not."""
    if name not in claims:
        return None
    value = claims[name]
    if type(value) not in (int, float) or not 0 <= value <= _LAST_SECOND:
        raise InvalidToken("malformed_time")
    return float(value)


def _check_subject(sub: object) -> None:
    if not isinstance(sub, str) or not 0 < len(sub) <= MAX_SUBJECT:
        raise InvalidToken("subject")
    # It becomes a key in storage and a word in logs; PostgreSQL takes no NUL.
    if any(character < " " or character == "\x7f" for character in sub):
        raise InvalidToken("subject")
