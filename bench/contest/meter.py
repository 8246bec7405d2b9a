"""The C programs of `bench/meter`: compiled when they are needed, into a folder that goes away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "meter"
COMPILERS = ("cc", "gcc", "clang")


def build(folder: Path) -> tuple[Path, Path]:
    """The programs `crowd` and `floor`.

    Raises:
        SystemExit: not on this system; it says what is missing.
    """
    if sys.platform != "linux":
        raise SystemExit("bench: the load client is written for Linux (epoll)")
    named = os.environ.get("CC")
    compiler = named or next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise SystemExit(
            "bench: no C compiler (cc, gcc, clang or CC=...): 10,000 clients in Python would "
            "measure the clients; on Debian and Ubuntu: sudo apt install gcc libc6-dev"
        )
    crowd, floor = (_compile(compiler, folder, name) for name in ("crowd", "floor"))
    return crowd, floor


def _compile(compiler: str, folder: Path, name: str) -> Path:
    made = folder / name
    command = [compiler, "-O2", "-o", str(made), str(SOURCES / f"{name}.c")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bench: {compiler} cannot compile {name}.c:\n{done.stderr}")
    return made
