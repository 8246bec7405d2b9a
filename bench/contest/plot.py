"""The results as a picture: bars in SVG, without a library."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from statistics import median

from contest.report import BY_FLOOR, FLOOR, Results, ranked

PANELS = (
    ("1000", "closed loop ratio", f"CPU of a delivery, 1,000 subscribers, {BY_FLOOR}"),
    ("10000", "closed loop ratio", f"CPU of a delivery, 10,000 subscribers, {BY_FLOOR}"),
    ("10000", "idle KiB", "Memory of an idle connection, KiB"),
    ("10000", "handshake µs", "CPU of a handshake, µs"),
)

WIDTH, LABEL, BAR, ROW, HEAD = 760, 210, 460, 22, 40
_OURS, _THEIRS, _INK = "#0b7285", "#adb5bd", "#343a40"


def svg(results: Results) -> str:
    """One picture with all panels that have figures."""
    at, drawn = 10, []
    for size, column, title in PANELS:
        figures = results["sizes"].get(size, {})
        names = [name for name in ranked(figures, column) if name != FLOOR]
        if names:
            values = {name: median(figures[name][column]) for name in names}
            drawn += _panel(at, title, values, column.endswith("ratio"))
            at += HEAD + ROW * len(names) + 14
    font = 'font-family="system-ui, sans-serif" font-size="13"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{at}" '
            f'viewBox="0 0 {WIDTH} {at}" {font}>',
            f'<rect width="{WIDTH}" height="{at}" fill="#ffffff"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def _panel(top: int, title: str, values: dict[str, float], by_floor: bool) -> Iterable[str]:
    yield f'<text x="10" y="{top + 20}" font-weight="600" fill="{_INK}">{escape(title)}</text>'
    most = max(values.values())
    for row, (name, value) in enumerate(values.items()):
        y = top + HEAD + row * ROW
        color = _OURS if name.startswith("Cardume") else _THEIRS
        long = max(2.0, value / most * BAR)
        middle = f'y="{y + 12}" fill="{_INK}"'
        yield f'<text x="{LABEL - 8}" {middle} text-anchor="end">{escape(name)}</text>'
        yield f'<rect x="{LABEL}" y="{y}" width="{long:.1f}" height="{ROW - 6}" fill="{color}"/>'
        yield f'<text x="{LABEL + long + 6:.1f}" {middle}>{_short(value)}</text>'
    if by_floor:
        x, low = LABEL + BAR / most, top + HEAD + ROW * len(values)
        line = f'x1="{x:.1f}" x2="{x:.1f}" y1="{top + HEAD - 6}" y2="{low}"'
        yield f'<line {line} stroke="{_INK}" stroke-dasharray="2 3"/>'


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
