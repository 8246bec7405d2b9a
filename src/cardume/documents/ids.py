"""Ids that are a number behind a word: `task_000001`. Pure."""

from __future__ import annotations

import re

from cardume.errors import Refused
from cardume.wire import codes


class NumberedIds:
    """The ids of one kind of document; each number has exactly one."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._pattern = re.compile(rf"{kind}_([0-9]{{6,18}})", re.ASCII)

    def of(self, number: int) -> str:
        """The id of the document with this number."""
        return f"{self._kind}_{number:06d}"

    def number(self, id: str) -> int:
        """The number in an id.

        Raises:
            Refused: 404, no document of this kind has such an id.
        """
        match = self._pattern.fullmatch(id)
        if match is None or self.of(int(match[1])) != id:
            raise Refused(codes.NOT_FOUND, f"no such {self._kind}; an id looks like {self.of(1)}")
        return int(match[1])
