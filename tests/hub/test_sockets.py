"""The same bytes to many sockets in one call."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from array import array
from collections.abc import Iterator

import pytest

from cardume.hub import sockets

Pairs = list[tuple[socket.socket, socket.socket]]


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    made = [socket.socketpair() for _ in range(100)]
    for ours, _ in made:
        ours.setblocking(False)
    yield made
    for pair in made:
        for end in pair:
            end.close()


def filenos(pairs: Pairs) -> array[int]:
    return array("i", [ours.fileno() for ours, _ in pairs])


def test_where_it_is_tested_it_is_compiled() -> None:
    assert sockets.COMPILED


def test_where_nothing_was_compiled_no_descriptor_is_used() -> None:
    code = (
        "import sys; sys.modules['cardume.hub._sockets'] = None\n"
        "from cardume.hub.sockets import COMPILED\n"
        "from cardume.transports.fileno import fileno_of\n"
        "print(COMPILED, fileno_of(None))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "-1"]


@pytest.mark.parametrize("many", [0, 1, 63, 64, 100])
def test_all_get_the_same(pairs: Pairs, many: int) -> None:
    assert sockets.send_each(filenos(pairs[:many]), b"hello") == []
    assert [theirs.recv(10) for _, theirs in pairs[:many]] == [b"hello"] * many


def test_what_did_not_fit_and_who_is_gone_are_named(pairs: Pairs) -> None:
    pairs[1][0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    pairs[2][1].close()
    data = bytes(range(250)) * 80
    ways = filenos(pairs[:4])
    ways.append(-1)
    short = dict(sockets.send_each(ways, data))
    taken = short.pop(1)
    assert short == {2: 0, 4: 0}
    assert 0 < taken < len(data)
    assert pairs[1][1].recv(len(data)) == data[:taken]
    while (again := dict(sockets.send_each(ways, b"x"))).get(1) != 0:
        pass  # until there is no room at all
    assert set(again) == {1, 2, 4}


def test_nothing_else_is_taken_for_filenos(pairs: Pairs) -> None:
    for wrong in (b"abcd", array("q", [1])):
        with pytest.raises(TypeError, match="C ints"):
            sockets.send_each(wrong, b"x")  # type: ignore[arg-type]


def test_others_run_while_many_are_written_to(pairs: Pairs) -> None:
    """The interpreter is not needed for it: a thread that waits for it has it meanwhile."""
    ways = array("i", [pairs[0][0].fileno()] * 200_000)
    ran = threading.Event()
    seen: list[bool] = []

    def other() -> None:
        while not ran.is_set():
            seen.append(True)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        before = len(seen)
        sockets.send_each(ways, b"x")
        assert len(seen) > before
    finally:
        ran.set()
        thread.join()
