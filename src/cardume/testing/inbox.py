"""What came to a client, and how much of it the test has dealt with. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from cardume.testing.speech import Frame

MAX_SHOWN = 20
MAX_LINE = 160


class Inbox:
    """Frames in order. What was expected lies behind `_next`; answers to commands count as seen."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._answers: set[int] = set()
        self._next = 0

    def pending(self) -> list[int]:
        """The places of the frames that nobody expected yet."""
        places = range(self._next, len(self.frames))
        return [place for place in places if place not in self._answers]

    def find(self, fits: Callable[[Frame], object]) -> int | None:
        """The place of the first pending frame that fits."""
        return next((place for place in self.pending() if fits(self.frames[place])), None)

    def find_answer(self, id: int, start: int) -> int | None:
        """The place of the answer to the command `id`, from `start` on."""
        places = range(start, len(self.frames))
        return next((place for place in places if self.frames[place].get("id") == id), None)

    def expected(self, place: int) -> Frame:
        """It came, and all before it is passed over."""
        self._next = place + 1
        return self.frames[place]

    def answered(self, place: int) -> Frame:
        """It was asked for, so it is not to be expected."""
        self._answers.add(place)
        return self.frames[place]

    def start_over(self) -> None:
        """Whatever is there was for the connection before."""
        self._next = len(self.frames)

    def report(self) -> str:
        """What is pending, for the message of a failure."""
        pending = self.pending()
        lines = [_line(self.frames[place]) for place in pending[:MAX_SHOWN]]
        if len(pending) > MAX_SHOWN:
            lines.append(f"… and {len(pending) - MAX_SHOWN} more")
        return _list("what came since the last expected frame:", lines)


def _list(head: str, lines: Iterable[str]) -> str:
    return "\n  ".join((head, *(list(lines) or ["nothing"])))


def _line(frame: Frame) -> str:
    text = json.dumps(frame, ensure_ascii=False)
    return text if len(text) <= MAX_LINE else f"{text[:MAX_LINE]}…"
