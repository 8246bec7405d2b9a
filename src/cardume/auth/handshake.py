"""The credentials in a handshake: query, Authorization header or subprotocol. Pure.

Hostile bytes end in `InvalidToken` or `Invalid`, never in another exception; a credential given
twice in two versions is none, because two readers would believe two different ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from cardume.auth.identity import InvalidToken
from cardume.auth.jws import MAX_TOKEN
from cardume.errors import Invalid

SUBPROTOCOL = "bearer"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client showed us, unverified."""

    token: str | None = field(default=None, repr=False)
    subprotocol: str | None = None
    """The one to select in the reply, if the token came that way."""


def credentials(
    headers: Iterable[tuple[bytes, bytes]],
    query_string: bytes = b"",
    subprotocols: Sequence[str] = (),
) -> Credentials:
    """Find the token in ``?token=``, ``Authorization: Bearer`` or ``["bearer", "<jwt>"]``.

    The three are shapes of an ASGI scope. An empty ``?token=`` is none.

    Raises:
        InvalidToken: two of them differ, or one cannot be a token at all.
    """
    offered = SUBPROTOCOL in subprotocols
    tokens = {
        *_from_query(query_string),
        *_from_authorization(headers),
        *(_from_subprotocols(subprotocols) if offered else ()),
    }
    if len(tokens) > 1:
        raise InvalidToken("ambiguous")
    return Credentials(next(iter(tokens), None), SUBPROTOCOL if offered else None)


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The value of a header that may occur once, such as Host or Origin; None if it is absent.

    Raises:
        Invalid: it occurs more often; whoever checks one of them, somebody else obeys the other.
    """
    values = [value for key, value in headers if key.lower() == name]
    if len(values) > 1:
        raise Invalid(f"more than one {name.decode('ascii', 'replace')} header")
    return values[0].decode("latin-1").strip(" \t") if values else None


def _from_query(query_string: bytes) -> set[str]:
    """Values of the literal key ``token``, the spelling `cardume.auth.redaction` looks for."""
    values = (part[6:] for part in query_string.split(b"&") if part.startswith(b"token="))
    return {_token(unquote_to_bytes(value[: 3 * MAX_TOKEN + 1])) for value in values if value}


def _from_authorization(headers: Iterable[tuple[bytes, bytes]]) -> set[str]:
    """Other schemes than Bearer are for others, such as a proxy's Basic."""
    found = set()
    for name, value in headers:
        if name.lower() != b"authorization":
            continue
        scheme, _, token = value.strip(b" \t").partition(b" ")
        if scheme.lower() == b"bearer":
            found.add(_token(token.lstrip(b" ")))
    return found


def _from_subprotocols(subprotocols: Sequence[str]) -> set[str]:
    """What follows each ``bearer``."""
    found = set()
    for place, name in enumerate(subprotocols):
        if name == SUBPROTOCOL and (place == 0 or subprotocols[place - 1] != SUBPROTOCOL):
            follower = subprotocols[place + 1] if place + 1 < len(subprotocols) else ""
            found.add(_token(follower.encode("latin-1", "replace")))
    return found


def _token(value: bytes) -> str:
    if len(value) > MAX_TOKEN:
        raise InvalidToken("too_long")
    if not value or not value.isascii():
        raise InvalidToken("malformed")
    return value.decode("ascii")
