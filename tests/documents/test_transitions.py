"""A table of moves: what is not in it is refused, and the refusal says what is legal."""

from __future__ import annotations

import pytest

from cardume.documents.transitions import Transitions
from cardume.errors import Refused
from cardume.wire import codes

LAMP = Transitions(
    "lamp",
    {
        "light": {"dark": "bright"},
        "dim": {"bright": "dark"},
        "break": {"bright": "broken", "dark": "broken"},
    },
)


def test_a_move_leads_where_the_table_says() -> None:
    assert LAMP.after("light", "dark") == "bright"
    assert LAMP.after("break", "dark") == "broken"


def test_an_illegal_move_names_the_legal_ones() -> None:
    with pytest.raises(Refused, match="cannot dim: the lamp is dark; legal moves: break, light"):
        LAMP.after("dim", "dark")
    with pytest.raises(Refused) as caught:
        LAMP.after("light", "broken")
    assert caught.value.code is codes.CONFLICT
    assert caught.value.extra == {"state": "broken", "legal": []}
    assert "nothing follows" in caught.value.message


def test_a_change_of_status_is_legal_if_some_move_makes_it() -> None:
    LAMP.check("dark", "bright")
    with pytest.raises(Refused, match="cannot become bright: the lamp is broken"):
        LAMP.check("broken", "bright")


def test_a_status_that_nothing_leaves_is_final() -> None:
    assert LAMP.is_final("broken")
    assert not LAMP.is_final("dark")
    assert LAMP.statuses == {"dark", "bright", "broken"}
