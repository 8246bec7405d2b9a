"""Who may be on a channel by name: whoever a token, a claim or the channel's own guard lets in.

For the ways to a channel that are no WebSocket address of its own: there the guard alone decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from cardume.auth.identity import Identity, InvalidToken
from cardume.errors import Refused
from cardume.wire import codes

if TYPE_CHECKING:
    from cardume.hub.hub import Hub


@runtime_checkable
class SubscriptionVerifier(Protocol):
    """A verifier that knows tokens for one channel."""

    async def verify_subscription(self, token: str, channel: str, sub: str) -> Identity:
        """Raises `InvalidToken`, or `Unavailable`."""


class Access(NamedTuple):
    """What being let in comes with."""

    parameters: dict[str, Any] | None
    """The channel's, for its snapshot; None where nobody declared it."""
    expires_at: float | None = None
    """Wall-clock seconds at which a subscription token ends."""
    info: Any = None
    """What its claim `info` lets others on the channel know."""


async def access(
    hub: Hub,
    identity: Identity,
    channel: str,
    scope: Mapping[str, Any],
    token: str | None = None,
) -> Access:
    """Let `identity` onto `channel`: by `token`, else by its claim, else by the channel's guard.

    A token that does not fit is not made up for by a guard that would let its owner in.

    Raises:
        Invalid: no name of a channel.
        Refused: unknown channel (102), not this one (103), the token's time is over (109), or
            what the guard says.
        Unavailable: the issuer's keys are out of reach.
    """
    hub.options_of(channel)
    found = hub.namespaces.find(channel)
    parameters = None if found is None else found[0].guard.convert(found[1])
    if token is not None:
        granted = await _granted(hub, identity, channel, token)
        return Access(parameters, granted.expires_at, granted.claims.get("info"))
    if not identity.may_subscribe_by_claim(channel):
        if found is None or parameters is None:
            raise Refused(codes.PERMISSION_DENIED, "a token or a claim for this channel is needed")
        await found[0].guard.check(identity, parameters, scope)
    return Access(parameters)


async def _granted(hub: Hub, identity: Identity, channel: str, token: str) -> Identity:
    verifier = hub.auth
    if not isinstance(verifier, SubscriptionVerifier):
        raise Refused(codes.PERMISSION_DENIED, "subscription tokens are not taken here")
    try:
        return await verifier.verify_subscription(token, channel, identity.sub)
    except InvalidToken as error:
        if error.expired:
            raise Refused(codes.TOKEN_EXPIRED) from None
        raise Refused(codes.PERMISSION_DENIED, "the subscription token is not valid") from None
