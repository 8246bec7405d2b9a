"""What Autobahn found, as a table. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

SECTIONS = {
    1: "framing",
    2: "pings and pongs",
    3: "reserved bits",
    4: "opcodes",
    5: "fragmentation",
    6: "UTF-8",
    7: "close handling",
    9: "limits, messages of up to 16 MiB",
    10: "auto-fragmentation",
    12: "compression, ten kinds of data",
    13: "compression, ten kinds of offers",
}

GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}

_HEAD = """| section | cases | ok | not strict | informational | failed |
|---|---|---|---|---|---|"""

Results = Mapping[str, Mapping[str, object]]
"""By the number of a case: `behavior`, `behaviorClose`, ..."""


def failed(results: Results) -> list[str]:
    """The numbers of the cases that did not go well, in their order."""
    bad = (
        case
        for case, result in results.items()
        if not {str(result["behavior"]), str(result["behaviorClose"])} <= GOOD
    )
    return sorted(bad, key=_order)


def table(results: Results) -> str:
    """A row for each section."""
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for case, result in results.items():
        kind = "FAILED" if case in failed({case: result}) else str(result["behavior"])
        counts[_order(case)[0]][kind] += 1
    rows = [_row(f"{each} {SECTIONS.get(each, '')}", counts[each]) for each in sorted(counts)]
    rows.append(_row("**all**", sum(counts.values(), Counter[str]())))
    return "\n".join([_HEAD, *rows])


def _row(name: str, counts: Counter[str]) -> str:
    kinds: Iterable[str] = ("OK", "NON-STRICT", "INFORMATIONAL", "FAILED")
    cells = [name, str(counts.total()), *(str(counts[kind]) for kind in kinds)]
    return f"| {' | '.join(cells)} |"


def _order(case: str) -> tuple[int, ...]:
    return tuple(map(int, case.split(".")))
