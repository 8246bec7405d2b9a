"""Who speaks: the verified claims of a token, as one immutable value."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from cardume.auth.policy import match
from cardume.errors import CardumeError


class InvalidToken(CardumeError):  # noqa: N818 - the peer's fault, not ours
    """A credential that proves nothing.

    `reason` is one of a small fixed set of words, safe for logs and counters; it never holds any
    part of the token.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid token: {reason}")
        self.reason = reason

    @property
    def expired(self) -> bool:
        """The signature is good and its time is over: a fresh token will do."""
        return self.reason == "expired"


class IdentityKind(StrEnum):
    USER = "user"
    DEVICE = "device"
    AGENT = "agent"
    SERVICE = "service"


_KINDS = {kind.value: kind for kind in IdentityKind}


def _no_claims() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody whose credential was verified."""

    sub: str
    _: KW_ONLY
    kind: IdentityKind = IdentityKind.USER
    role: str | None = None
    expires_at: float | None = None
    """Wall-clock seconds of the token's `exp`, leeway not included; None: never."""
    channels: tuple[str, ...] = ()
    """Patterns for `cardume.auth.policy.match`."""
    claims: Mapping[str, Any] = field(default_factory=_no_claims, hash=False, repr=False)
    """The whole verified claim set, read-only."""
    vouched_by: Hashable = field(default=None, compare=False, repr=False)
    """The key that signed the token, to ask its verifier about; None where there was none."""

    @classmethod
    def from_claims(cls, claims: Mapping[str, Any], vouched_by: Hashable = None) -> Identity:
        """The identity in claims whose `sub` and `exp` were checked.

        A malformed `role`, `kind` or `channels` grants nothing; it is no reason to refuse.
        """
        role = claims.get("role")
        channels = claims.get("channels")
        exp = claims.get("exp")
        return cls(
            claims["sub"],
            kind=_kind(claims.get("kind"), role),
            role=role if isinstance(role, str) else None,
            expires_at=None if exp is None else float(exp),
            channels=tuple(item for item in channels if isinstance(item, str))
            if isinstance(channels, list)
            else (),
            claims=MappingProxyType(dict(claims)),
            vouched_by=vouched_by,
        )

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    @property
    def is_service(self) -> bool:
        return self.role == "service"

    def grants(self, claim: str, value: int | str) -> bool:
        """Whether the list in `claim` holds `value`, as a number or as text.

        ``aquariums: [7]`` and ``["7"]`` grant both 7 and "7"; true, 7.0 and "07" do not.
        """
        held = self.claims.get(claim)
        if not isinstance(held, list | tuple):
            return False
        text = str(value)
        # By type: in Python True == 1 == 1.0, and a claim is somebody else's JSON.
        if any(type(item) is str and item == text for item in held):
            return True
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            return False
        number = int(text)
        return str(number) == text and any(type(item) is int and item == number for item in held)

    def may_subscribe_by_claim(self, channel: str) -> bool:
        """Whether a pattern in the `channels` claim covers `channel`."""
        return any(match(pattern, channel) for pattern in self.channels)


def _kind(claimed: object, role: object) -> IdentityKind:
    if isinstance(claimed, str) and claimed in _KINDS:
        return _KINDS[claimed]
    return IdentityKind.SERVICE if role == "service" else IdentityKind.USER
