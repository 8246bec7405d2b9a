"""Figures as a Markdown table, printed row by row as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

Figures = Mapping[str, float | Sequence[float]]
"""By name. Several values are repetitions; one whose name begins with `all ` is a yes or a no."""


def head(names: Sequence[str], *, before: Sequence[str] = ()) -> None:
    """The names of the columns; those of `before` hold words."""
    _row([*before, *names])
    print("|---" * (len(before) + len(names)) + "|", flush=True)


def row(figures: Figures, *, before: Sequence[str] = ()) -> None:
    """The values of one run, or of its repetitions: median, with minimum and maximum behind it."""
    _row([*before, *(_cell(name, values) for name, values in figures.items())])


def gathered(runs: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """The values of several runs, by name."""
    return {name: [run[name] for run in runs] for name in runs[0]}


def _row(cells: Sequence[str]) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def _cell(name: str, values: float | Sequence[float]) -> str:
    if not isinstance(values, Sequence):
        values = [values]
    if name.startswith("all "):
        return "yes" if all(values) else "**NO**"
    if len(values) == 1:
        return _number(values[0])
    return f"{_number(median(values))} ({_number(min(values))}–{_number(max(values))})"  # noqa: RUF001


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
