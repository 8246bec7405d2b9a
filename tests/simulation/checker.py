"""The judge: a pure function from what everybody noted to what cannot be.

The invariants are those that Jepsen's log checks look for, worded for channels with positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.simulation import positions, visits
from tests.simulation.history import History
from tests.simulation.ledger import Ledger


class Violation(NamedTuple):
    """A promise that was broken, and by what."""

    invariant: str
    counterexample: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.counterexample}"


def pages(ledger: Ledger) -> Iterator[str]:
    """I12: a page of history begins where it was asked to and leaves nothing out."""
    for page in ledger.history.pages:
        offsets = [offset for offset, _ in page.items]
        step = -1 if page.reverse else 1
        expected = (
            list(range(offsets[0], offsets[0] + step * len(offsets), step)) if offsets else []
        )
        said = f"{page.channel} since {page.since}, top {page.top}: {offsets}"
        if offsets != expected or len(offsets) > page.limit or page.top.offset < max([0, *offsets]):
            yield f"no page: {said}"
        elif page.since is not None and page.limit:
            behind = page.since.offset < page.top.offset and not page.reverse
            if (offsets and offsets[0] != page.since.offset + step) or (behind and not offsets):
                yield f"does not follow: {said}"


def faultless(ledger: Ledger) -> Iterator[str]:
    """I0: no error in the log, and nothing is left behind."""
    yield from ledger.history.faults


INVARIANTS: dict[str, Callable[[Ledger], Iterator[str]]] = {
    "I0": faultless,
    "I1": positions.one_to_one,
    "I2": visits.in_order,
    "I3": visits.resumed,
    "I4": visits.complete,
    "I5": positions.published,
    "I6": positions.real_time,
    "I7": visits.caught_up,
    "I8": visits.own,
    "I9": positions.idempotent,
    "I10": visits.not_lazy,
    "I11": visits.snapshots,
    "I12": pages,
}


def check(history: History) -> list[Violation]:
    """Everything that is wrong with a history; nothing, if every promise was kept."""
    ledger = Ledger(history)
    return [
        Violation(name, counterexample)
        for name, holds in INVARIANTS.items()
        for counterexample in holds(ledger)
    ]
