"""JSON at the door: the one place that knows the codec.

`parse` is the gate for bytes that came from outside. msgspec refuses bad UTF-8, lone surrogates,
NaN and numbers beyond a double; depth is bounded here. `msgspec.Raw` would be no gate: it passes
``\\xff``, ``1e999`` and duplicate keys through.
"""

from __future__ import annotations

from typing import Any

import msgspec

from cardume.errors import Invalid

MAX_DEPTH = 32


def _other(value: Any) -> Any:
    """Pydantic's models, without importing pydantic: they say themselves what they are."""
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"{type(value).__name__} is not JSON")
    return dump(mode="json")


_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(enc_hook=_other).encode


def parse(data: bytes | str) -> Any:
    """Decode JSON from outside. Duplicate keys: the last one wins, as in browsers.

    Raises:
        Invalid: it is not JSON, or nested deeper than `MAX_DEPTH`.
    """
    try:
        value = _decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Invalid("not valid JSON") from None
    opening = (b"[", b"{") if isinstance(data, bytes) else ("[", "{")
    # Fewer brackets than levels allowed: no need to walk.
    if data.count(opening[0]) + data.count(opening[1]) > MAX_DEPTH:  # type: ignore[arg-type]
        _check_depth(value)
    return value


def encode(value: Any) -> bytes:
    """Encode what we made ourselves: msgspec structs, dataclasses, pydantic's `model_dump`.

    Raises:
        Invalid: the value has no JSON form.
    """
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"no JSON form: {error}") from None


def reencode(data: bytes | str) -> bytes:
    """Validated, canonical bytes that may be shared with every subscriber."""
    return _encode(parse(data))


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return
        level = below
    if any(isinstance(item, dict | list) for item in level):
        raise Invalid(f"nested deeper than {MAX_DEPTH}")
