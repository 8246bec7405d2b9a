"""When a proposal is decided. Pure."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

Decision = Literal["approved", "rejected"]


def decide(quorum: float, voters: int, approvals: int, rejections: int) -> Decision | None:
    """Approved by more than `quorum` of all voters; rejected once that is out of reach.

    `quorum` counts as the decimal number that was sent: 0.7 of ten voters are exactly seven, and
    not 6.999… of them as in floating point.
    """
    needed = Fraction(str(quorum)) * voters
    if approvals > needed:
        return "approved"
    return "rejected" if voters - rejections <= needed else None
