"""The decision, against the definition of it in exact numbers."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.apps.agents.quorum import decide

quorums = st.decimals("0.0001", "1", places=4)


@st.composite
def ballots(draw: st.DrawFn) -> tuple[Decimal, int, list[bool]]:
    """A quorum, the voters, and what those who voted said."""
    voters = draw(st.integers(0, 40))
    return draw(quorums), voters, draw(st.lists(st.booleans(), max_size=voters))


@given(ballots())
def test_it_is_decided_as_soon_as_the_rest_of_the_votes_cannot_matter(
    ballot: tuple[Decimal, int, list[bool]],
) -> None:
    quorum, voters, said = ballot
    yes, no = said.count(True), said.count(False)
    outcomes = {
        "approved" if Fraction(total) > Fraction(quorum) * voters else "rejected"
        for total in range(yes, voters - no + 1)
    }
    expected = outcomes.pop() if len(outcomes) == 1 else None
    assert decide(float(quorum), voters, yes, no) == expected


@pytest.mark.parametrize(
    ("quorum", "voters", "approvals", "decision"),
    [
        (0.7, 10, 7, None),  # in floating point 0.7 * 10 is 7, and 0.07 * 100 is more
        (0.07, 100, 7, None),
        (0.07, 100, 8, "approved"),
        (0.29, 100, 29, None),  # 28.999999999999996
        (0.29, 100, 30, "approved"),
        (0.5, 2, 1, None),
        (0.5, 3, 2, "approved"),
    ],
)
def test_a_quorum_is_the_decimal_number_that_was_sent(
    quorum: float, voters: int, approvals: int, decision: str | None
) -> None:
    assert decide(quorum, voters, approvals, 0) == decision


def test_nobody_to_ask_is_a_rejection() -> None:
    assert decide(0.5, 0, 0, 0) == "rejected"


def test_more_than_all_is_out_of_reach() -> None:
    assert decide(1.0, 3, 0, 0) == "rejected"
