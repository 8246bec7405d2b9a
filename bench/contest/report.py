"""The results as markdown: every figure is the median of its rounds, with the least and most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

Results = dict[str, Any]
"""`machine`, `how`, `versions`, `absent`, `sizes` (figures by size and target) and `horde`."""

FLOOR = "floor"
BY_FLOOR = "× floor"  # noqa: RUF001

_FAN_OUT = {
    "closed loop µs": "closed loop, µs",
    "closed loop ratio": BY_FLOOR,
    "closed loop a second": "deliveries/s",
    "lock-step µs": "lock-step, µs",
    "lock-step ratio": BY_FLOOR,
    "burst ratio": f"burst of 50, {BY_FLOOR}",
}
_REST = {
    "handshake µs": "handshake, µs CPU",
    "idle KiB": "idle connection, KiB",
    "p50 ms": "p50, ms",
    "p99 ms": "p99, ms",
}

GOALS: tuple[tuple[str, str, str, float], ...] = (
    (f"fan-out, 1,000 subscribers, {BY_FLOOR}", "1000", "closed loop ratio", 1.20),
    (f"fan-out, 10,000 subscribers, {BY_FLOOR}", "10000", "closed loop ratio", 1.25),
    (f"burst of 50, 1,000 subscribers, {BY_FLOOR}", "1000", "burst ratio", 0.35),
    ("idle connection, 10,000 of them, KiB", "10000", "idle KiB", 4.0),
    ("handshake with JWT, µs CPU", "10000", "handshake µs", 200.0),
)


def markdown(results: Results) -> str:
    """The whole page."""
    parts = [_how(results), *_goals(results)]
    for size, figures in results["sizes"].items():
        parts.append(f"## {int(size):,} subscribers")
        for columns in (_FAN_OUT, _REST):
            parts += _table(figures, columns)
    parts += _horde(results.get("horde"))
    parts += _notes(results)
    return "\n\n".join(parts) + "\n"


def ranked(figures: dict[str, Any], column: str) -> list[str]:
    """The targets that have it, least first, but the floor before all."""
    having = [name for name in figures if column in figures[name]]
    return sorted(having, key=lambda name: (name != FLOOR, median(figures[name][column])))


def _how(results: Results) -> str:
    return (
        ", ".join(f"{name} {value}" for name, value in results["machine"].items())
        + "; "
        + results["how"]
    )


def _goals(results: Results) -> Iterable[str]:
    rows = []
    for text, size, column, goal in GOALS:
        values = results["sizes"].get(size, {}).get("Cardume", {}).get(column)
        if values:
            met = "yes" if median(values) <= goal else "no"
            rows.append((text, f"≤ {goal:g}", _cell(values), met))
    if rows:
        yield _rows(("Cardume", "goal", "measured", "met"), rows)


def _table(figures: dict[str, Any], columns: dict[str, str]) -> Iterable[str]:
    here = {key: title for key, title in columns.items() if any(key in f for f in figures.values())}
    if not here:
        return
    names = [name for name in figures if any(key in figures[name] for key in here)]
    first = next(iter(here))
    order = ranked({name: figures[name] for name in names}, first)
    order += [name for name in names if name not in order]
    yield _rows(
        ("", *here.values()),
        [[name, *(_cell(figures[name].get(key)) for key in here)] for name in order],
    )


def _horde(found: dict[str, float] | None) -> Iterable[str]:
    if found:
        yield f"## {found['connections']:,.0f} connections on one process"
        yield _rows(("", ""), [(name, _number(value)) for name, value in found.items()])


def _notes(results: Results) -> Iterable[str]:
    versions = [version for version in results["versions"].values() if version]
    yield "Versions: " + ", ".join(dict.fromkeys(versions)) + "."
    for name, why in results["absent"].items():
        yield f"Not measured: {name}: {why}."


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(values: Sequence[float] | None) -> str:
    if not values:
        return "–"  # noqa: RUF001
    middle = _number(median(values))
    if len(values) == 1:
        return middle
    return f"**{middle}** ({_number(min(values))}–{_number(max(values))})"  # noqa: RUF001


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
