from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.runner.spool import Chunk, Spool
from tests.support.waiting import PATIENCE


def chunk(number: int, size: int = 10) -> Chunk:
    return Chunk(1 + number % 2, float(number), b"%d" % number * size)


@given(steps=st.lists(st.integers(0, 40) | st.none(), max_size=80))
def test_what_goes_in_comes_out_in_order(steps: list[int | None]) -> None:
    """A number puts that many bytes, None takes; memory and segments are tiny."""
    spool = Spool(in_memory=50, segment=60)
    put: list[Chunk] = []
    taken: list[Chunk | None] = []
    for number, size in enumerate(steps):
        if size:
            put.append(chunk(number, size))
            assert spool.put(put[-1])
        elif len(taken) < len(put):
            taken.append(spool.take())
        assert spool.held <= 50
    spool.close()
    while not spool.drained:
        taken.append(spool.take())
    assert taken == put
    assert spool.take() is None


def test_files_have_no_name_and_are_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    open_before = len(os.listdir("/dev/fd"))
    spool = Spool(in_memory=0, segment=100)
    for number in range(50):
        assert spool.put(chunk(number, 20))
    assert len(os.listdir("/dev/fd")) > open_before
    assert list(tmp_path.iterdir()) == []
    for _ in range(50):
        spool.take()
    assert len(os.listdir("/dev/fd")) == open_before


def test_a_full_spool_waits_for_room() -> None:
    spool = Spool(limit=10)
    assert spool.put(chunk(1))
    assert not spool.put(chunk(2))
    done = threading.Event()

    def put() -> None:
        assert spool.put(chunk(3), PATIENCE)
        done.set()

    thread = threading.Thread(target=put)
    thread.start()
    assert spool.take() == chunk(1)
    thread.join(PATIENCE)
    assert done.is_set()
    assert spool.take() == chunk(3)


def test_a_disk_that_takes_nothing_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    spool = Spool(in_memory=10)
    assert spool.put(chunk(1, 10))
    assert not spool.put(chunk(2, 10))
    assert spool.take() == chunk(1, 10)
    spool.close()
    assert spool.drained


def test_who_waits_is_woken() -> None:
    spool = Spool()
    got: list[Chunk | None] = []
    for act in (lambda: spool.put(chunk(1)), spool.close):
        thread = threading.Thread(target=lambda: got.append(spool.take(PATIENCE)))
        thread.start()
        act()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert got == [chunk(1), None]


def test_what_is_discarded_is_gone_and_stays_so() -> None:
    spool = Spool(in_memory=10, segment=10)
    for number in range(5):
        spool.put(chunk(number))
    spool.discard()
    assert spool.take() is None
    assert not spool.put(chunk(9))
    assert spool.drained
