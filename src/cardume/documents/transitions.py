"""Which status may follow which, as a table. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from cardume.errors import Refused
from cardume.wire import codes


class Transitions:
    """The legal moves of a kind of document: by the name of a move, from which status to which.

    ``Transitions("task", {"start": {"assigned": "started"}})``: whatever is not in the table is
    illegal.
    """

    def __init__(self, kind: str, moves: Mapping[str, Mapping[str, str]]) -> None:
        self.kind = kind
        self.moves = moves
        self.statuses = frozenset(
            status for move in moves.values() for ends in move.items() for status in ends
        )

    def after(self, move: str, status: str) -> str:
        """The status that `move` leads to.

        Raises:
            Refused: 409, with the `state` and the `legal` moves from it.
        """
        follows = self.moves[move].get(status)
        if follows is None:
            self.refuse(f"cannot {move}", status)
        return follows

    def check(self, status: str, follows: str) -> None:
        """Let through a change of status that some move makes.

        Raises:
            Refused: 409, as `after`.
        """
        if all(move.get(status) != follows for move in self.moves.values()):
            self.refuse(f"cannot become {follows}", status)

    def legal(self, status: str) -> list[str]:
        """The moves that `status` allows, by name."""
        return sorted(name for name, move in self.moves.items() if status in move)

    def is_final(self, status: str) -> bool:
        """Whether nothing leads away from `status`."""
        return not self.legal(status)

    def refuse(self, what: str, status: str) -> NoReturn:
        """Say no to something that is not done in `status`, and what is.

        Raises:
            Refused: 409.
        """
        legal = self.legal(status)
        others = f"legal moves: {', '.join(legal)}" if legal else "nothing follows"
        raise Refused(
            codes.CONFLICT,
            f"{what}: the {self.kind} is {status}; {others}",
            state=status,
            legal=legal,
        )
