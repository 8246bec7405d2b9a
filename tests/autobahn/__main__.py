"""Runs Autobahn's test suite and writes docs/autobahn.md.

    python3 run.py autobahn                        all cases: half an hour, mostly compression
    python3 run.py autobahn --cases 1.* 7.*        some of them; writes nothing
    python3 run.py autobahn --python python2.7     with this interpreter

The suite needs a CPython 2.7: it is looked for on the PATH and among pyenv's, or named. The suite
itself is installed into a folder that is thrown away.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from tests.autobahn.report import Results, failed, table

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "autobahn.md"
SUITE = "autobahntestsuite"


def main() -> None:
    """Exits with 1 where a case failed, and with 2 where it cannot begin."""
    arguments = _parser().parse_args()
    python = _old_python(arguments.python)
    with tempfile.TemporaryDirectory() as folder, _echo() as port:
        place = Path(folder)
        which = _install(python, place)
        results = _run(python, place, port, arguments.cases or ["*"])
    bad = failed(results)
    print(table(results))
    print("failed: " + (", ".join(bad) or "none"))
    if not arguments.cases:
        PAGE.write_text(_page(table(results), which))
    sys.exit(1 if bad else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 run.py autobahn",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--python", metavar="PATH", help="a CPython 2.7")
    parser.add_argument("--cases", nargs="+", metavar="CASE", help="for example 7.1.5 or 12.*")
    return parser


def _old_python(named: str | None) -> str:
    pyenv = sorted(Path.home().glob(".pyenv/versions/2.7*/bin/python2.7"))
    for candidate in [named] if named else [*map(str, pyenv), "python2.7", "python2"]:
        found = shutil.which(candidate)
        if found and _is_27(found):
            return found
    return _give_up(
        "Autobahn's test suite runs on CPython 2.7 alone, and there is none here: install one "
        "(pyenv install 2.7.18), or name it with --python"
    )


def _is_27(python: str) -> bool:
    asked = [python, "-c", "import sys; print(sys.version_info[:2])"]
    return subprocess.run(asked, capture_output=True).stdout.strip() == b"(2, 7)"


def _give_up(why: str) -> NoReturn:
    print(f"autobahn: {why}", file=sys.stderr)
    sys.exit(2)


def _install(python: str, place: Path) -> str:
    """Into a user's site below `place`, where namespace packages work; the suite's version."""
    print("autobahn: installing the suite (once for this run)", file=sys.stderr)
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    command = [*pip, "install", "--quiet", "--user", "--ignore-installed", SUITE]
    done = subprocess.run(command, env=_site(place), capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        _give_up(f"{SUITE} cannot be installed: {last}")
    shown = subprocess.run([*pip, "show", SUITE], env=_site(place), capture_output=True, text=True)
    return next(line[9:] for line in shown.stdout.splitlines() if line.startswith("Version: "))


def _site(place: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONUSERBASE": str(place / "suite")}


@contextmanager
def _echo() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    echo = subprocess.Popen([sys.executable, "-m", "tests.autobahn.echo", str(port)], cwd=ROOT)
    try:
        _wait_for(port)
        yield port
    finally:
        echo.terminate()
        echo.wait(10)


def _wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.05)
    _give_up("the echo did not start")


def _run(python: str, place: Path, port: int, cases: list[str]) -> Results:
    specification = {
        "outdir": str(place / "reports"),
        "servers": [{"agent": "cardume", "url": f"ws://127.0.0.1:{port}"}],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    path = place / "cases.json"
    path.write_text(json.dumps(specification))
    start = f"from {SUITE} import wstest; wstest.run()"
    command = [python, "-c", start, "-m", "fuzzingclient", "-s", str(path)]
    subprocess.run(command, cwd=place, env=_site(place), check=True)
    found: dict[str, Results] = json.loads((place / "reports" / "index.json").read_text())
    return found["cardume"]


def _page(results: str, which: str) -> str:
    day = datetime.now(UTC).date()
    return f"""# Autobahn

What [Autobahn's test suite](https://github.com/crossbario/autobahn-testsuite) says of our protocol
class (`cardume.transports.uvicorn:WebSocketProtocol`) under a bare echo, with compression on.
Made by `python3 run.py autobahn` on {day}: suite {which}, uvicorn {version("uvicorn")}, websockets
{version("websockets")}.

{results}

*Not strict*: the suite sends a good message and a broken frame at once, and would like to see the
good one echoed first. The echo is a task that runs after both were read.
"""


if __name__ == "__main__":
    main()
