from __future__ import annotations

import pytest

from cardume.runner.client import Answer, Client


@pytest.mark.parametrize(
    ("base", "given", "expected"),
    [
        ("http://h:8000", "/#/executions/x", "http://h:8000/#/executions/x"),
        ("http://h:8000/", "/executions/x", "http://h:8000/executions/x"),
        ("https://h/below", "/#/executions/x", "https://h/below/#/executions/x"),
        ("https://h/below", "x", "https://h/below/x"),
        ("https://h", "https://elsewhere/x", "https://elsewhere/x"),
        ("https://h", "javascript:alert(1)", "https://h"),
        ("https://h", "/\x1b[2J", "https://h"),
    ],
)
def test_where_to_watch(base: str, given: str, expected: str) -> None:
    assert Client(base).resolve(given) == expected


def test_what_a_server_says_cannot_move_the_cursor() -> None:
    assert Answer(403, {"detail": "no\x1b[2J\n" + "x" * 999}).detail.startswith("no [2J xxx")
    assert len(Answer(403, {"detail": "x" * 999}).detail) == 300
    assert Answer(403, {"detail": 7}).detail == "HTTP 403"
