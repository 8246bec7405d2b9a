"""One place for all clients, and the npm packages that some of them come in."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.place import Place, opened

LOCKED = Path(__file__).parent / "npm"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cardume-tests"


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with opened() as place:
        yield place


@pytest.fixture(scope="session")
def modules() -> Path:
    """`node_modules` with what the lock file names, installed once for all runs."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    digest = hashlib.sha256((LOCKED / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = CACHE / f"npm-{digest}"
    if not folder.exists():
        _install(npm, folder)
    return folder / "node_modules"


def _install(npm: str, folder: Path) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        made = Path(scratch) / "made"
        shutil.copytree(LOCKED, made)
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=made,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"npm could not install: {done.stderr[-200:]}")
        with contextlib.suppress(OSError):  # another run was faster
            made.rename(folder)
