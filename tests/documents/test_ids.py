"""Ids by number: there and back, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.documents.ids import NumberedIds
from cardume.errors import Refused
from cardume.wire import codes

TASKS = NumberedIds("task")


@given(st.integers(0, 10**18 - 1))
def test_there_and_back(number: int) -> None:
    assert TASKS.number(TASKS.of(number)) == number


@pytest.mark.parametrize(
    "id",
    [
        "",
        "7",
        "task_7",
        "task_0000007",
        "task_000001 ",
        "card_000001",
        "task_00000१",
        "task_-00001",
    ],
)
def test_a_number_has_one_id(id: str) -> None:
    with pytest.raises(Refused, match="no such task; an id looks like task_000001") as caught:
        TASKS.number(id)
    assert caught.value.code is codes.NOT_FOUND
