"""The command line of the comparison: which targets, how long, and where results go."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

from contest import meter
from contest.compare import MEASURES, Comparison, Measures, Plan
from contest.horde import horde, possible
from contest.machine import machine
from contest.peers import peers
from contest.plot import svg
from contest.process import TargetError
from contest.report import FLOOR, Results, markdown
from contest.targets import Target, cardume, floor

DOCS = Path(__file__).parent.parent.parent / "docs" / "benchmark"
PLAN = {"rounds": 5, "seconds": 0.4, "passes": 1, "paced": 4.0}
FULL = {"rounds": 9, "seconds": 0.8, "passes": 3, "paced": 10.0}
HORDE = 50_000
SNAPSHOT_SIZE = 1_000


def main(about: str, measures: Measures) -> None:
    """Measure, print markdown, and write it where all of it was asked for."""
    given = _parse(about)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers have to go with us
    targets = _wanted([cardume(), cardume("centrifuge"), *peers()], given.only)
    with tempfile.TemporaryDirectory(prefix="cardume-bench-") as name:
        results = _measure(given, measures, targets, meter.build(Path(name)))
    page = markdown(results)
    print(page)
    into = given.into or (DOCS if measures == MEASURES and not given.only else None)
    if into is not None:
        _write(into, results, page)


def _parse(about: str) -> argparse.Namespace:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=about, formatter_class=layout)
    parser.add_argument("--full", action="store_true", help="three passes and longer rounds")
    parser.add_argument("--only", action="append", metavar="NAME", help="a name or a part of one")
    parser.add_argument("--size", action="append", type=int, help="subscribers (1000, 10000)")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of each round")
    parser.add_argument("--passes", type=int, help="over all targets")
    parser.add_argument("--paced", type=float, help="seconds of the latency measurement")
    parser.add_argument("--horde", type=int, default=HORDE, help="idle connections on one process")
    parser.add_argument("--into", type=Path, help="folder for table, picture and figures")
    given = parser.parse_args()
    for name, value in (FULL if given.full else PLAN).items():
        if getattr(given, name) is None:
            setattr(given, name, value)
    return given


def _wanted(targets: list[Target], only: list[str] | None) -> list[Target]:
    """Those with such a name, or else with such a part in it."""
    if not only:
        return targets
    found = []
    for part in only:
        exact = [one for one in targets if one.name.lower() == part.lower()]
        found += exact or [one for one in targets if part.lower() in one.name.lower()]
    if not found:
        names = ", ".join(one.name for one in targets)
        raise SystemExit(f"bench: nothing is called {' or '.join(only)}; there is: {names}")
    return found


def _measure(
    given: argparse.Namespace,
    measures: Measures,
    targets: list[Target],
    programs: tuple[Path, Path],
) -> Results:
    results: Results = {
        "machine": machine(),
        "how": f"passes: {given.passes}, rounds in each: {given.rounds} of {given.seconds:g} s; "
        "median (least to most).",
        "versions": {},
        "absent": {one.name: why for one in targets if (why := one.missing())},
        "sizes": {},
    }
    here = [one for one in targets if one.name not in results["absent"]]
    results["versions"] = {one.name: one.version() for one in here}
    least = floor(programs[1])
    for size in given.size or _sizes(measures):
        if _beyond(size, results):
            continue
        plan = Plan(measures, given.rounds, given.seconds, given.paced)
        comparison = Comparison(programs, size, plan, least)
        for _ in range(given.passes):
            results["absent"] |= comparison.run(here)
        results["sizes"][str(size)] = comparison.figures
    ours = next((one for one in here if one.name == "Cardume"), None)
    if ours is not None:
        _measure_ours(given, measures, ours, programs, results)
    return results


def _beyond(size: int, results: Results) -> bool:
    """Whether this machine does not allow so many, and that it is said."""
    allowed = possible(size)
    if allowed < size:
        reason = f"this machine allows {allowed:,} by its open files (ulimit -Hn)"
        results["absent"][f"{size:,} connections"] = reason
    return allowed < size


def _sizes(measures: Measures) -> list[int]:
    return [10_000] if measures == {"idle"} else [1_000, 10_000]


def _measure_ours(
    given: argparse.Namespace,
    measures: Measures,
    ours: Target,
    programs: tuple[Path, Path],
    results: Results,
) -> None:
    """What no peer has: a snapshot for who comes without a place; and the horde."""
    if "handshake" in measures:
        plan = Plan(frozenset({"handshake"}))
        comparison = Comparison(programs, SNAPSHOT_SIZE, plan, floor(programs[1]))
        results["absent"] |= comparison.run([cardume(fresh=True)])
        comparison.figures.pop(FLOOR)
        results["sizes"].setdefault(str(SNAPSHOT_SIZE), {}).update(comparison.figures)
    if "idle" in measures and given.horde:
        size = possible(given.horde)
        try:
            results["horde"] = horde(programs[0], ours, size)
        except (TargetError, OSError) as error:
            results["absent"][f"{size:,} connections"] = str(error)
        _beyond(given.horde, results)


def _write(folder: Path, results: Results, page: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    start = (
        "# Beside the floor and other servers\n\n"
        "Made by `python3 run.py bench`; what each figure means is in "
        "[bench/README.md](../../bench/README.md).\n\n"
        "![The same figures as bars](results.svg)\n\n"
    )
    (folder / "README.md").write_text(start + page)
    (folder / "results.svg").write_text(svg(results))
    (folder / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
