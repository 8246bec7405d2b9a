"""Keys that verify, each bound to the algorithms it may serve, and where they come from.

PyJWT's algorithm objects do the arithmetic. Its `decode` is not used: it prepares and screens
the key anew for every token and asks the machine's clock.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Protocol, TypeAlias

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import Algorithm, get_default_algorithms
from jwt.exceptions import PyJWTError

from cardume.auth.jws import Signed
from cardume.errors import ConfigurationError

MIN_SECRET = 32
"""Bytes of an HMAC secret (RFC 7518 §3.2)."""
HOW_TO_MAKE_A_SECRET = 'python3 -c "import secrets; print(secrets.token_urlsafe(48))"'

HMAC: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Algorithms of a shared secret, and how many bytes each wants (RFC 7518 §3.2)."""
_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
ALGORITHMS: Final = frozenset({*HMAC, *_RSA, *_CURVES.values(), "EdDSA"})
_IMPLEMENTED: Final[Mapping[str, Algorithm]] = {
    name: algorithm for name, algorithm in get_default_algorithms().items() if name in ALGORITHMS
}
_JWK_READERS: Final[Mapping[str, Any]] = {
    "RSA": _IMPLEMENTED["RS256"],
    "EC": _IMPLEMENTED["ES256"],
    "OKP": _IMPLEMENTED["EdDSA"],
}
# 2048 is the floor of NIST SP 800-131A; a longer key than 8192 only costs time.
_RSA_BITS = range(2048, 8193)

Material: TypeAlias = bytes | RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the algorithms it may verify. A public key never serves as an HMAC secret."""

    material: Material = field(repr=False, hash=False)  # public keys have no hash
    algorithms: frozenset[str]
    kid: str | None = None
    issuer: str | None = None
    """The address it was published at; None for one out of the settings."""

    def is_same(self, other: Key) -> bool:
        """Whether both are one key by the same name, whatever it may verify now."""
        return self.kid == other.kid and self.material == other.material

    def verifies(self, signed: Signed) -> bool:
        """Whether this key made the signature; in constant time for HMAC."""
        if signed.alg not in self.algorithms:
            return False
        algorithm = _IMPLEMENTED[signed.alg]
        return algorithm.verify(signed.signing_input, self.material, signed.signature)


class KeySource(Protocol):
    """Where the keys for a signature come from."""

    def find(self, alg: str, kid: str | None) -> Sequence[Key] | None:
        """The keys that may have signed, or None if `fetch` has to be asked. Never waits."""

    async def fetch(self, alg: str, kid: str | None) -> Sequence[Key]:
        """The same, waiting where it must.

        Raises:
            Unavailable: it cannot be told now; the client should try again.
        """

    async def withdrawn(self, keys: Collection[Key]) -> frozenset[Key]:
        """Those of `keys` that came from here, and are not to be trusted any more."""

    async def aclose(self) -> None:
        """Give up whatever is being fetched."""


class StaticKeys:
    """Keys from the settings: a secret and its predecessor, or public keys."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = tuple(keys)

    def find(self, alg: str, kid: str | None) -> tuple[Key, ...]:
        """All that fit `alg`. Our keys carry no kid, so a token's kid says nothing about them."""
        return tuple(key for key in self._keys if alg in key.algorithms)

    async def fetch(self, alg: str, kid: str | None) -> tuple[Key, ...]:
        return self.find(alg, kid)

    async def withdrawn(self, keys: Collection[Key]) -> frozenset[Key]:
        """None: settings hold as long as the process."""
        return frozenset()

    async def aclose(self) -> None:
        return None


class KeysByFamily:
    """A shared secret for HS*, public keys for the rest: neither is ever asked for the other."""

    def __init__(self, secret: KeySource, public: KeySource) -> None:
        self._secret = secret
        self._public = public

    def _of(self, alg: str) -> KeySource:
        return self._secret if alg in HMAC else self._public

    def find(self, alg: str, kid: str | None) -> Sequence[Key] | None:
        return self._of(alg).find(alg, kid)

    async def fetch(self, alg: str, kid: str | None) -> Sequence[Key]:
        return await self._of(alg).fetch(alg, kid)

    async def withdrawn(self, keys: Collection[Key]) -> frozenset[Key]:
        return await self._secret.withdrawn(keys) | await self._public.withdrawn(keys)

    async def aclose(self) -> None:
        await self._secret.aclose()
        await self._public.aclose()


def secret_key(secret: str | bytes) -> Key:
    """The key of a shared secret, for those HS algorithms that it is long enough for.

    Raises:
        ConfigurationError: see `secret_bytes`.
    """
    raw = secret_bytes(secret)
    return Key(raw, frozenset(name for name, size in HMAC.items() if len(raw) >= size))


def secret_bytes(secret: str | bytes) -> bytes:
    """The secret itself, if it may serve as one.

    Raises:
        ConfigurationError: shorter than `MIN_SECRET` bytes, or really a public key.
    """
    raw = secret.encode() if isinstance(secret, str) else secret
    if len(raw) < MIN_SECRET:
        raise ConfigurationError(
            f"a JWT secret needs at least {MIN_SECRET} bytes, this one has {len(raw)}; "
            f"make one with: {HOW_TO_MAKE_A_SECRET}"
        )
    try:
        _IMPLEMENTED["HS256"].prepare_key(raw)
    except PyJWTError:
        raise ConfigurationError(
            "the JWT secret is a public key or certificate, which anybody may have; "
            "set it as CARDUME_JWT_PUBLIC_KEY"
        ) from None
    return raw


def pem_keys(text: str) -> tuple[Key, ...]:
    """The public keys in one or more PEM blocks; a literal ``\\n`` counts as a line break.

    Raises:
        ConfigurationError: there is none, or one fits no algorithm.
    """
    text = text.replace("\\n", "\n")
    if "PRIVATE KEY" in text:
        raise ConfigurationError("that is a private key; verifying takes the public one")
    blocks = re.findall(r"-----BEGIN [A-Z ]+-----[^-]+-----END [A-Z ]+-----", text)
    if not blocks:
        raise ConfigurationError("the JWT public key is not PEM (-----BEGIN PUBLIC KEY-----)")
    return tuple(_pem_key(block) for block in blocks)


def _pem_key(block: str) -> Key:
    try:
        key = _public_key(load_pem_public_key(block.encode()))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if key is None:
        raise ConfigurationError(
            "the JWT public key cannot be read, or is none of: RSA of 2048 to 8192 bits, "
            "EC on P-256, P-384 or P-521, Ed25519"
        )
    return key


_Number = Annotated[str, msgspec.Meta(max_length=1400)]  # 8192 bits are 1366 characters


class _Jwk(msgspec.Struct, frozen=True):
    kty: Literal["RSA", "EC", "OKP"]
    kid: str | None = None
    alg: str | None = None
    use: str = "sig"
    key_ops: tuple[str, ...] = ("verify",)
    n: _Number = ""
    e: _Number = ""
    x: _Number = ""
    y: _Number = ""


def jwk_key(jwk: Any, issuer: str | None = None) -> Key | None:
    """The verifying key in a member of an issuer's JWK Set (RFC 7517); None for any other member.

    Symmetric and private keys are passed over: once published they prove nothing.
    """
    try:
        shape = msgspec.convert(jwk, _Jwk)
    except msgspec.ValidationError:
        return None
    if shape.use != "sig" or "verify" not in shape.key_ops or "d" in jwk:
        return None
    try:
        key = _public_key(_JWK_READERS[shape.kty].from_jwk(jwk))
    except (PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError):
        return None
    if key is None:
        return None
    fits = key.algorithms if shape.alg is None else key.algorithms & {shape.alg}
    return Key(key.material, fits, shape.kid, issuer) if fits else None


def _public_key(material: object) -> Key | None:
    if isinstance(material, RSAPublicKey):
        return Key(material, _RSA) if material.key_size in _RSA_BITS else None
    if isinstance(material, EllipticCurvePublicKey):
        alg = _CURVES.get(material.curve.name)
        return Key(material, frozenset({alg})) if alg else None
    if isinstance(material, Ed25519PublicKey):
        return Key(material, frozenset({"EdDSA"}))
    return None
