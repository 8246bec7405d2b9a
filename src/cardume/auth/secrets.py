"""Passwords and keys at rest.

A password is slow to check (scrypt; 150 ms and 16 MiB here), so that is work for a thread. A key
is 256 random bits, so one SHA-256 is enough: there is nothing to guess.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata
from typing import NamedTuple

# OWASP's row for 16 MiB: N = 2^14, r = 8, p = 5.
_LOG_N, _R, _P = 14, 8, 5
_SALT = 16
_MAX_MEMORY = 64 << 20
MAX_PASSWORD = 1024
"""Characters; longer ones are refused before they are hashed."""


class _Stored(NamedTuple):
    log_n: int
    r: int
    p: int
    salt: bytes
    digest: bytes


# Whoever is unknown costs as much as whoever is known, so that time does not tell them apart.
_NOBODY = _Stored(_LOG_N, _R, _P, bytes(_SALT), bytes(32))


def hash_password(password: str) -> str:
    """``scrypt$14$8$5$salt$digest``, to store. Slow: run it in a thread.

    Raises:
        ValueError: empty, or longer than `MAX_PASSWORD`.
    """
    if not 0 < len(password) <= MAX_PASSWORD:
        raise ValueError(f"a password has 1 to {MAX_PASSWORD} characters")
    salt = secrets.token_bytes(_SALT)
    digest = _derive(password, _Stored(_LOG_N, _R, _P, salt, b""))
    texts = (base64.b64encode(part).decode("ascii") for part in (salt, digest))
    return "$".join(("scrypt", str(_LOG_N), str(_R), str(_P), *texts))


def verify_password(password: str, stored: str | None) -> bool:
    """Whether `password` is the one behind `stored`; None where there is no such user.

    Both take the same time. Slow: run it in a thread.
    """
    known = None if stored is None else _parse(stored)
    digest = _derive(password[:MAX_PASSWORD], known or _NOBODY)
    same = hmac.compare_digest(digest, (known or _NOBODY).digest)
    return same and known is not None and 0 < len(password) <= MAX_PASSWORD


def new_key() -> str:
    """256 random bits as 43 URL-safe characters, never starting with a dash (command lines)."""
    while (key := secrets.token_urlsafe(32)).startswith(("-", "_")):
        pass
    return key


def hash_key(key: str) -> str:
    """SHA-256 in hexadecimal, to store in place of the key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def key_matches(key: str, stored: str) -> bool:
    """Whether `stored` is the hash of `key`, in constant time."""
    return hmac.compare_digest(hash_key(key).encode(), stored.encode("utf-8", "surrogatepass"))


def _derive(password: str, stored: _Stored) -> bytes:
    # One password has several Unicode spellings; keyboards do not agree on them (RFC 8265 §4.2).
    text = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(
        text,
        salt=stored.salt,
        n=1 << stored.log_n,
        r=stored.r,
        p=stored.p,
        maxmem=_MAX_MEMORY,
        dklen=32,
    )


def _parse(stored: str) -> _Stored | None:
    """None for anything we did not write; the bounds keep a broken row from eating the memory."""
    try:
        name, log_n, r, p, salt, digest = stored.split("$")
        found = _Stored(
            int(log_n),
            int(r),
            int(p),
            base64.b64decode(salt, validate=True),
            base64.b64decode(digest, validate=True),
        )
    except ValueError:
        return None
    bounded = 1 <= found.log_n <= 15 and 1 <= found.r <= 8 and 1 <= found.p <= 16
    return found if name == "scrypt" and bounded and len(found.digest) == 32 else None
