"""Whose tokens are believed, and who mints our own: as the settings say."""

from __future__ import annotations

from cardume.auth.signer import TokenSigner
from cardume.auth.tokens import TokenVerifier, build_verifier
from cardume.clock import Clock
from cardume.settings import Settings, secret


def verifier(settings: Settings, clock: Clock) -> TokenVerifier:
    """Whose tokens are believed.

    Raises:
        ConfigurationError: nobody's, or unsafely; it says what to set.
    """
    return build_verifier(
        clock=clock,
        secret=secret(settings.jwt_secret),
        previous_secret=secret(settings.jwt_secret_previous),
        public_key=settings.jwt_public_key,
        jwks_url=settings.jwks_url,
        algorithms=settings.jwt_algorithms or None,
        audience=settings.jwt_audience,
        issuer=settings.jwt_issuer,
    )


def signer(settings: Settings, clock: Clock) -> TokenSigner | None:
    """Who mints our own tokens; nobody, where tokens come from somebody else's login."""
    key = secret(settings.jwt_secret)
    if key is None:
        return None
    return TokenSigner(key, clock, audience=settings.jwt_audience, issuer=settings.jwt_issuer)
