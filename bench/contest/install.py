"""What peers need, in a folder of its own that git does not know: `.bench` of the checkout."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

PEERS = Path(__file__).parent.parent / "peers"
FOLDER = Path(__file__).parent.parent.parent / ".bench"
PYTHON = FOLDER / "venv" / "bin" / "python"
MODULES = FOLDER / "node_modules"
DEBIAN = "/usr/sbin:/usr/local/sbin"
"""Where Debian has servers, which are not on everybody's PATH."""


def program(name: str) -> str | None:
    """Where a program is."""
    return shutil.which(name) or shutil.which(name, path=DEBIAN)


@cache
def python_peers() -> str:
    """Why Python's peers cannot run; empty: they are in `.bench/venv`."""
    wanted = PEERS / "requirements.txt"
    if _is_made("venv", wanted):
        return ""
    shutil.rmtree(FOLDER / "venv", ignore_errors=True)
    uv = shutil.which("uv")
    make = [uv, "venv", "-q", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
    pip = (
        [uv, "pip", "install", "--python", str(PYTHON)]
        if uv
        else [str(PYTHON), "-m", "pip", "install"]
    )
    return _make("venv", wanted, [*make, str(FOLDER / "venv")], [*pip, "-q", "-r", str(wanted)])


@cache
def node_peers() -> str:
    """Why Node's peers cannot run; empty: they are in `.bench/node_modules`."""
    node, npm = program("node"), program("npm")
    if node is None or npm is None:
        return "node and npm are not here"
    wanted = PEERS / "package.json"
    if _is_made("node", wanted):
        return ""
    FOLDER.mkdir(exist_ok=True)
    shutil.copy(wanted, FOLDER / "package.json")
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    return _make("node", wanted, [npm, "install", *quiet, "--prefix", str(FOLDER)])


def _make(what: str, wanted: Path, *commands: list[str]) -> str:
    FOLDER.mkdir(exist_ok=True)
    print(
        f"bench: installing {wanted.name} of the peers into {FOLDER.name} (once)", file=sys.stderr
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
            return f"its packages could not be installed: {said[-1]}"
    (FOLDER / f"{what}.made").write_text(_fingerprint(wanted))
    return ""


def _is_made(what: str, wanted: Path) -> bool:
    stamp = FOLDER / f"{what}.made"
    return stamp.exists() and stamp.read_text() == _fingerprint(wanted)


def _fingerprint(wanted: Path) -> str:
    return hashlib.sha256(sys.version.encode() + wanted.read_bytes()).hexdigest()
