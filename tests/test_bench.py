"""The comparison of `bench/` runs: its C programs compile, and every publication is counted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

AT_MOST = 100.0
"""Seconds for all of it: how long it takes is the machine's affair."""
BENCH = Path(__file__).parent.parent / "bench"


@pytest.mark.skipif(sys.platform != "linux", reason="the load client is written for Linux (epoll)")
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler on the PATH")
def test_a_comparison_counts_every_publication(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH / "fanout.py"), "--only", "Cardume", "--size", "20"]
    command += ["--rounds", "1", "--seconds", "0.02", "--into", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=AT_MOST)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    # A round in which a publication is missing or doubled for anybody would be named here.
    assert results["absent"] == {}
    figures = results["sizes"]["20"]
    assert set(figures) == {"floor", "Cardume"}
    for what in ("closed loop", "lock-step", "burst"):
        assert 0 < figures["Cardume"][f"{what} µs"][0] < 1e6 * AT_MOST
    assert "| Cardume |" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "results.svg").read_text().endswith("</svg>\n")
