"""WebSocket frames as the server writes them (RFC 6455), and their compression (RFC 7692). Pure.

What a server sends is not masked (§5.1), so one frame is the same bytes for every reader.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

NO_STATUS: Final = 1005
"""The code of a close frame without one (§7.1.5)."""

WINDOW_BITS: Final = 12
"""Of what is compressed once for all: whoever has a window of 4 KiB or more can read it."""

_FINAL = 0x80
_COMPRESSED = 0x40
_TAIL = b"\x00\x00\xff\xff"
"""Ends a flushed block; left out on the wire (RFC 7692 §7.2.1)."""


def frame(payload: bytes, opcode: int = TEXT, *, compressed: bool = False) -> bytes:
    """A whole message in one frame of the server's."""
    first = _FINAL | opcode | (_COMPRESSED if compressed else 0)
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """The goodbye; a reason is cut to what a control frame holds (§5.5)."""
    said = reason.encode()[:123].decode(errors="ignore").encode()
    return frame(b"" if code == NO_STATUS else struct.pack("!H", code) + said, CLOSE)


def deflated(payload: bytes, bits: int = WINDOW_BITS) -> bytes:
    """`payload` compressed by itself, so that any reader of the extension can take it."""
    squeezer = zlib.compressobj(wbits=-bits, memLevel=5)
    return (squeezer.compress(payload) + squeezer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)


def compressed_frame(payload: bytes, opcode: int = TEXT, bits: int = WINDOW_BITS) -> bytes:
    """As `frame`, compressed where that makes it shorter; the extension leaves us free (§6)."""
    squeezed = deflated(payload, bits)
    if len(squeezed) < len(payload):
        return frame(squeezed, opcode, compressed=True)
    return frame(payload, opcode)
