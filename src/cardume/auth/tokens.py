"""JSON Web Tokens in, identities out.

Measured here: HS256 10 µs, RS256 26, ES256 55, EdDSA 73, beside 300 for the handshake around it.
So verified tokens are not cached: it would gain little, and hold live credentials.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from cardume.auth.claims import ClaimRules
from cardume.auth.identity import Identity, InvalidToken
from cardume.auth.jwks import JwksKeys
from cardume.auth.jws import Signed, read
from cardume.auth.keys import (
    ALGORITHMS,
    HMAC,
    HOW_TO_MAKE_A_SECRET,
    Key,
    KeysByFamily,
    KeySource,
    StaticKeys,
    pem_keys,
    secret_key,
)
from cardume.auth.signer import TokenSigner
from cardume.clock import Clock
from cardume.errors import ConfigurationError, Invalid
from cardume.wire import json

__all__ = [
    "InvalidToken",
    "TokenSigner",
    "TokenVerifier",
    "build_verifier",
    "from_environment",
]

LEEWAY = 30.0
"""Seconds an issuer's clock may be ahead of ours. A token's end is its end."""
_PUBLIC_DEFAULT = ("RS256", "ES256", "EdDSA")


class TokenVerifier:
    """Says whose token it is.

    Signature first, then claims; the algorithm must be one of `algorithms` *and* fit the key.
    """

    def __init__(
        self,
        keys: KeySource,
        clock: Clock,
        *,
        algorithms: Collection[str],
        audience: str | Iterable[str] | None = None,
        issuer: str | None = None,
        leeway: float = LEEWAY,
    ) -> None:
        unknown = sorted(set(algorithms) - ALGORITHMS)
        if unknown or not algorithms:
            raise ConfigurationError(
                f"JWT algorithms {unknown} are not among {', '.join(sorted(ALGORITHMS))}"
            )
        audiences = (audience,) if isinstance(audience, str) else audience or ()
        self.leeway = leeway
        self._keys = keys
        self._clock = clock
        self._algorithms = frozenset(algorithms)
        self._rules = ClaimRules(frozenset(audiences), issuer, leeway)

    async def verify(self, token: str) -> Identity:
        """The identity `token` proves. Waits only where an issuer's keys must be fetched.

        Raises:
            InvalidToken: it proves none; `reason` says why, `expired` if only its time is over.
            Unavailable: the issuer's keys cannot be read now (close 3004, HTTP 503).
        """
        identity = await self._verify(token)
        if "channel" in identity.claims:
            raise InvalidToken("purpose")  # a subscription token opens one channel, no connection
        return identity

    async def verify_subscription(self, token: str, channel: str, sub: str) -> Identity:
        """The identity a subscription token proves for `channel` and the connection's own `sub`.

        A connection token is none, and the other way round (RFC 8725 §3.12).

        Raises:
            InvalidToken, Unavailable: as `verify`; also if it is another's or another channel's.
        """
        identity = await self._verify(token)
        if identity.claims.get("channel") != channel or identity.sub != sub:
            raise InvalidToken("purpose")
        return identity

    async def withdrawn(self, keys: Collection[Key]) -> frozenset[Key]:
        """Those of `keys` (`Identity.vouched_by`) whose issuer no longer publishes them.

        An issuer is asked anew where its keys are older than `jwks.MAX_AGE`; as long as it does
        not answer, nothing is withdrawn.
        """
        return await self._keys.withdrawn(keys)

    async def aclose(self) -> None:
        """Give up a fetch that may be under way."""
        await self._keys.aclose()

    async def _verify(self, token: str) -> Identity:
        signed = self._read(token)
        keys = self._keys.find(signed.alg, signed.kid)
        if keys is None:
            # Expired or meant for others: not worth a request, whoever signed it.
            self._check(signed)
            keys = await self._keys.fetch(signed.alg, signed.kid)
        return self._accept(signed, keys)

    def _read(self, token: str) -> Signed:
        signed = read(token)
        if signed.alg not in self._algorithms:
            raise InvalidToken("algorithm")
        return signed

    def _accept(self, signed: Signed, keys: Sequence[Key]) -> Identity:
        if not keys:
            raise InvalidToken("unknown_key")
        for key in keys:
            if key.verifies(signed):
                return self._check(signed, key)
        raise InvalidToken("signature")

    def _check(self, signed: Signed, signer: Key | None = None) -> Identity:
        try:
            claims = json.parse(signed.payload)
        except Invalid:
            raise InvalidToken("malformed") from None
        return self._rules.check(claims, self._clock.now(), signer)


def build_verifier(
    *,
    clock: Clock,
    secret: str | bytes | None = None,
    previous_secret: str | bytes | None = None,
    public_key: str | None = None,
    jwks_url: str | None = None,
    algorithms: Collection[str] | None = None,
    audience: str | Iterable[str] | None = None,
    issuer: str | None = None,
    leeway: float = LEEWAY,
) -> TokenVerifier:
    """A verifier out of settings: a secret, public keys (PEM or a JWKS address), or both.

    Raises:
        ConfigurationError: nothing to verify with, or something unsafe or contradictory.
    """
    if not (secret or public_key or jwks_url):
        raise ConfigurationError(
            "no key to verify tokens with: set CARDUME_JWT_SECRET (make one with: "
            f"{HOW_TO_MAKE_A_SECRET}), or CARDUME_JWKS_URL, or CARDUME_JWT_PUBLIC_KEY"
        )
    if public_key and jwks_url:
        raise ConfigurationError("set CARDUME_JWKS_URL or CARDUME_JWT_PUBLIC_KEY, not both")
    if previous_secret and not secret:
        raise ConfigurationError("CARDUME_JWT_SECRET_PREVIOUS needs CARDUME_JWT_SECRET beside it")
    secrets = tuple(secret_key(given) for given in (secret, previous_secret) if given)
    public = pem_keys(public_key) if public_key else ()
    served = ("HS256",) if secret else ()
    chosen = algorithms or (*served, *(_PUBLIC_DEFAULT if public_key or jwks_url else ()))
    verifier = TokenVerifier(
        KeysByFamily(
            StaticKeys(secrets), JwksKeys(jwks_url, clock) if jwks_url else StaticKeys(public)
        ),
        clock,
        algorithms=chosen,
        audience=audience,
        issuer=issuer,
        leeway=leeway,
    )
    _check_fit((*secrets, *public), frozenset(chosen), published=bool(jwks_url))
    if algorithms:
        _check_served(frozenset(algorithms), (*secrets, *public), published=bool(jwks_url))
    return verifier


def from_environment(env: Mapping[str, str], clock: Clock) -> TokenVerifier:
    """A verifier out of the ``CARDUME_JWT_*`` and ``CARDUME_JWKS_URL`` variables.

    Empty means unset; the algorithms are a comma-separated list.

    Raises:
        ConfigurationError: see `build_verifier`.
    """
    listed = env.get("CARDUME_JWT_ALGORITHMS", "").split(",")
    return build_verifier(
        clock=clock,
        secret=env.get("CARDUME_JWT_SECRET") or None,
        previous_secret=env.get("CARDUME_JWT_SECRET_PREVIOUS") or None,
        public_key=env.get("CARDUME_JWT_PUBLIC_KEY") or None,
        jwks_url=env.get("CARDUME_JWKS_URL") or None,
        algorithms=[name.strip() for name in listed if name.strip()] or None,
        audience=env.get("CARDUME_JWT_AUDIENCE") or None,
        issuer=env.get("CARDUME_JWT_ISSUER") or None,
    )


def _check_fit(keys: Iterable[Key], algorithms: frozenset[str], *, published: bool) -> None:
    """Every configured source must be good for something, or tokens fail without a word."""
    for key in keys:
        if key.algorithms.isdisjoint(algorithms):
            raise ConfigurationError(
                f"a configured key fits {', '.join(sorted(key.algorithms))} only, and "
                f"CARDUME_JWT_ALGORITHMS is {', '.join(sorted(algorithms))} "
                "(HS384 takes a secret of 48 bytes, HS512 one of 64)"
            )
    if published and algorithms <= HMAC.keys():
        raise ConfigurationError("CARDUME_JWKS_URL needs a public-key algorithm such as RS256")


def _check_served(algorithms: frozenset[str], keys: Sequence[Key], *, published: bool) -> None:
    for name in sorted(algorithms):
        by_issuer = published and name not in HMAC
        if not by_issuer and not any(name in key.algorithms for key in keys):
            raise ConfigurationError(f"CARDUME_JWT_ALGORITHMS lists {name}, but no key is for it")
