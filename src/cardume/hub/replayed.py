"""What was sent to one who came back, kept for the others who missed the same. Pure.

After an outage all clients of a channel come back at once: each publication that they missed is
encoded once a dialect, as it was when it went out.
"""

from __future__ import annotations

from cardume.hub.outbox import Frame
from cardume.wire.messages import Publication

MAX_REPLAYED = 64 * 1024
"""Bytes of frames kept, for one channel and dialect."""


class Replayed:
    """Frames by offset, and by the publication's identity: another epoch has the same offsets."""

    __slots__ = ("_frames", "_octets")

    def __init__(self) -> None:
        self._frames: dict[int, tuple[Publication, Frame]] = {}
        self._octets = 0

    def __len__(self) -> int:
        return len(self._frames)

    def get(self, publication: Publication) -> Frame | None:
        held = self._frames.get(publication.offset)
        return held[1] if held is not None and held[0] is publication else None

    def put(self, publication: Publication, frame: Frame) -> None:
        """Keep a frame, in the place of all others where there are too many."""
        if self._octets + len(frame) > MAX_REPLAYED or publication.offset in self._frames:
            self._frames.clear()
            self._octets = 0
        if len(frame) <= MAX_REPLAYED:
            self._frames[publication.offset] = (publication, frame)
            self._octets += len(frame)
