"""A compact JWS taken apart, strictly (RFC 7515 §3.1). Pure; nothing in it is true yet."""

from __future__ import annotations

import binascii
import re
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from cardume.auth.identity import InvalidToken

MAX_TOKEN = 8192
"""Characters of a token; a longer one is refused before it is looked at."""

_COMPACT = re.compile(rb"([A-Za-z0-9_\-]+)\.([A-Za-z0-9_\-]+)\.([A-Za-z0-9_\-]+)")


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str | None = None
    crit: Any = msgspec.UNSET
    b64: Any = True


_STANDARD = bytes.maketrans(b"-_", b"+/")
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_LAST = {1: b"", 2: _ALPHABET[::16], 3: _ALPHABET[::4]}
"""Signs without spare bits, by the characters of the last group."""

_read_header = msgspec.json.Decoder(_Header).decode


class Signed(NamedTuple):
    """What was signed, with what it claims about its own signature."""

    alg: str
    kid: str | None
    payload: bytes
    signing_input: bytes
    signature: bytes


def read(token: str) -> Signed:
    """Take `token` apart.

    `jku`, `jwk`, `x5u` and `x5c` are never read: a token does not bring its own key.

    Raises:
        InvalidToken: too long, no compact JWS, or with an extension it demands we understand.
    """
    if type(token) is not str:  # a dialect may hand on whatever JSON held
        raise InvalidToken("malformed")
    if len(token) > MAX_TOKEN:
        raise InvalidToken("too_long")
    # Bytes, for those are translated ten times as fast as text.
    parts = _COMPACT.fullmatch(token.encode("ascii", "replace"))
    if parts is None:
        raise InvalidToken("malformed")
    first, payload, signature = parts.groups()
    header = _header(first)
    # We know no extension, so whatever `crit` names is unknown (RFC 7515 §4.1.11, RFC 7797).
    if header.crit is not msgspec.UNSET or header.b64 is not True:
        raise InvalidToken("critical_extension")
    return Signed(
        header.alg,
        header.kid,
        _decode(payload),
        parts.string[: parts.end(2)],
        _decode(signature),
    )


@lru_cache(maxsize=64)
def _header(segment: bytes) -> _Header:
    """All tokens of an issuer begin with the same one."""
    try:
        return _read_header(_decode(segment))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise InvalidToken("malformed") from None


def _decode(segment: bytes) -> bytes:
    over = len(segment) % 4
    # Spare bits in the last character would give one token several spellings.
    if over and segment[-1] not in _LAST[over]:
        raise InvalidToken("malformed")
    try:
        return binascii.a2b_base64(segment.translate(_STANDARD) + b"=" * (-over % 4))
    except binascii.Error:
        raise InvalidToken("malformed") from None
