from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from cardume.auth.jws import read
from cardume.auth.keys import ALGORITHMS, Key, StaticKeys, jwk_key, pem_keys, secret_key
from cardume.errors import ConfigurationError
from tests.auth.forge import (
    ED25519,
    GOOD,
    P256,
    P384,
    P521,
    RSA,
    SECRET,
    Private,
    b64,
    jwk,
    pem,
    token,
)

MADE_BY: list[tuple[str, Private]] = [
    *((name, RSA) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
    ("ES256", P256),
    ("ES384", P384),
    ("ES512", P521),
    ("EdDSA", ED25519),
]


def some(key: Key | None) -> Key:
    assert key is not None
    return key


@pytest.mark.parametrize(("alg", "private"), MADE_BY, ids=[alg for alg, _ in MADE_BY])
def test_every_public_algorithm(alg: str, private: Private) -> None:
    signed = read(jwt.encode(dict(GOOD), private, algorithm=alg))
    for key in (*pem_keys(pem(private)), some(jwk_key(jwk(private)))):
        assert key.verifies(signed)
        spoilt = bytes([signed.signature[0] ^ 1]) + signed.signature[1:]
        assert not key.verifies(signed._replace(signature=spoilt))
        assert not key.verifies(signed._replace(signature=b""))
        assert not key.verifies(signed._replace(signature=bytes(len(signed.signature))))
        assert not key.verifies(signed._replace(signature=b"\xff" * 5000))
        assert not key.verifies(signed._replace(signing_input=signed.signing_input + b"x"))
        for other in ALGORITHMS - {alg}:
            assert not key.verifies(signed._replace(alg=other))


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_every_secret_algorithm(alg: str) -> None:
    secret = "x" * 64
    signed = read(jwt.encode(dict(GOOD), secret, algorithm=alg))
    assert secret_key(secret).verifies(signed)
    assert not secret_key("y" * 64).verifies(signed)


def test_a_key_of_one_curve_is_none_for_another() -> None:
    (key,) = pem_keys(pem(P384))
    assert key.algorithms == {"ES384"}


@pytest.mark.parametrize("length", [0, 1, 16, 31])
def test_a_short_secret_refuses_to_start(length: int) -> None:
    with pytest.raises(ConfigurationError, match="at least 32 bytes"):
        secret_key("x" * length)


def test_a_longer_hash_wants_a_longer_secret() -> None:
    assert secret_key("x" * 32).algorithms == {"HS256"}
    assert secret_key("x" * 48).algorithms == {"HS256", "HS384"}
    assert secret_key("é" * 32).algorithms == {"HS256", "HS384", "HS512"}


def _public_shapes() -> dict[str, bytes]:
    spki, pkcs1 = PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1
    public = RSA.public_key()
    return {
        "pem": pem(RSA).encode(),
        "pem without its newline": pem(RSA).strip().encode(),
        "pkcs1": public.public_bytes(Encoding.PEM, pkcs1),
        "der": public.public_bytes(Encoding.DER, spki),
        "ssh": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "jwk": json.dumps(jwk(RSA)).encode(),
    }


@pytest.mark.parametrize(("shape", "material"), _public_shapes().items())
def test_a_public_key_is_no_secret(shape: str, material: bytes) -> None:
    """CVE-2017-11424, CVE-2022-29217, CVE-2024-37568."""
    forged = read(token(secret=material))
    for key in (*pem_keys(pem(RSA)), some(jwk_key(jwk(RSA)))):
        assert not key.verifies(forged)
        for alg in ("RS256", "PS256"):
            assert not key.verifies(forged._replace(alg=alg))
    with pytest.raises(ConfigurationError, match="public key"):
        secret_key(material)


def test_pem_comes_in_many_dresses() -> None:
    assert len(pem_keys(pem(RSA) + pem(P256))) == 2
    assert pem_keys(pem(RSA, PublicFormat.PKCS1))[0].algorithms >= {"RS256"}
    assert pem_keys(pem(P256).replace("\n", "\\n"))[0].algorithms == {"ES256"}


def _private_pem() -> str:
    return RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not PEM"),
        ("ssh-rsa AAAA", "not PEM"),
        (_private_pem(), "private key"),
        ("-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----", "cannot be read"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "cannot be read"),
        (pem(rsa.generate_private_key(65537, 1024)), "2048"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "P-256"),
    ],
)
def test_a_pem_that_will_not_do(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        pem_keys(text)


@pytest.mark.parametrize(
    "member",
    [
        None,
        5,
        [],
        {},
        {"kty": "RSA"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "n": "!!!", "e": ""},
        {"kty": "RSA", "n": 5, "e": 3},
        jwk(RSA, n="A" * 200_000),
        jwk(RSA, use="enc"),
        jwk(RSA, use=None),
        jwk(RSA, alg="HS256"),
        jwk(RSA, alg="ES256"),
        jwk(RSA, alg="none"),
        jwk(RSA, kid=5),
        jwk(RSA, key_ops=["encrypt"]),
        jwk(RSA, d="AQAB"),
        jwk(P256, crv="P-384"),
        jwk(P256, crv="secp256k1"),
        jwk(P256, x=b64(bytes(32))),
        jwk(P256, y=""),
        jwk(ED25519, crv="X25519"),
        jwk(ED25519, x="AA"),
        {"kty": "oct", "k": b64(SECRET.encode()), "alg": "HS256", "use": "sig"},
        {"kty": "OCT", "k": "x"},
    ],
)
def test_a_jwk_that_will_not_do(member: Any) -> None:
    assert jwk_key(member) is None


def test_a_jwk_may_name_its_algorithm() -> None:
    key = some(jwk_key(jwk(RSA, alg="RS512", use="sig", kid="a")))
    assert (key.algorithms, key.kid) == (frozenset({"RS512"}), "a")


def test_a_key_does_not_show_itself() -> None:
    assert SECRET not in repr(secret_key(SECRET))
    assert SECRET not in repr(StaticKeys([secret_key(SECRET)]))


async def test_static_keys_answer_at_once() -> None:
    keys = StaticKeys([secret_key(SECRET)])
    assert keys.find("HS256", "../../dev/null") == await keys.fetch("HS256", None) != ()
    assert keys.find("RS256", None) == ()
    await keys.aclose()
