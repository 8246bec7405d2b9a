"""The table of what Autobahn found, and which cases count as failed."""

from __future__ import annotations

from tests.autobahn.report import failed, table


def result(behavior: str, close: str = "OK") -> dict[str, object]:
    return {"behavior": behavior, "behaviorClose": close}


RESULTS = {
    "7.1.5": result("OK"),
    "10.1.1": result("OK", "FAILED"),
    "7.1.6": result("INFORMATIONAL", "INFORMATIONAL"),
    "6.4.1": result("NON-STRICT"),
    "7.10.1": result("FAILED"),
    "7.9.1": result("UNIMPLEMENTED"),
}


def test_a_case_fails_by_what_it_does_or_by_how_it_closes() -> None:
    assert failed(RESULTS) == ["7.9.1", "7.10.1", "10.1.1"]


def test_sections_are_rows() -> None:
    rows = table(RESULTS).splitlines()
    assert rows[3] == "| 7 close handling | 4 | 1 | 0 | 1 | 2 |"
    assert rows[-1] == "| **all** | 6 | 1 | 1 | 1 | 3 |"
