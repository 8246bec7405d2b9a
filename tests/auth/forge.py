"""Tokens as an attacker or a foreign issuer would write them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from cardume.auth.identity import Identity
from cardume.auth.tokens import TokenVerifier

NOW = 1_795_000_000
SECRET = "correct-horse-battery-staple-0123456789"
OTHER_SECRET = "another-secret-of-more-than-32-bytes-long"
GOOD: Mapping[str, Any] = {"sub": "ana", "exp": NOW + 3600}

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
RSA = rsa.generate_private_key(65537, 2048)
RSA_OTHER = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
P521 = ec.generate_private_key(ec.SECP521R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw_token(header: bytes, payload: bytes, secret: str | bytes = SECRET) -> str:
    """A correctly signed HS256 token around any bytes."""
    signing_input = f"{b64(header)}.{b64(payload)}"
    key = secret.encode() if isinstance(secret, str) else secret
    signature = hmac.digest(key, signing_input.encode(), hashlib.sha256)
    return f"{signing_input}.{b64(signature)}"


def token(
    claims: Mapping[str, Any] | Any = GOOD,
    *,
    secret: str | bytes = SECRET,
    header: Mapping[str, Any] | None = None,
) -> str:
    head = {"alg": "HS256", "typ": "JWT", **(header or {})}
    return raw_token(json.dumps(head).encode(), json.dumps(claims).encode(), secret)


def pem(key: Private, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> str:
    return key.public_key().public_bytes(Encoding.PEM, form).decode()


def jwk(key: Private, **members: Any) -> dict[str, Any]:
    """The public JWK of `key`."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        made = RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        made = ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        made = OKPAlgorithm.to_jwk(public, as_dict=True)
    return {**made, **members}


def at_once(verifier: TokenVerifier, text: str) -> Identity | None:
    """As `verify`, without waiting: None where keys have to be fetched first."""
    asked = verifier.verify(text)
    try:
        asked.send(None)
    except StopIteration as answer:
        return cast("Identity", answer.value)
    asked.close()
    return None
