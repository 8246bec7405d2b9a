from __future__ import annotations

import os

import pytest

from cardume.runner.reader import Reader
from cardume.runner.spool import Spool
from tests.support.waiting import wait_for


def reading(spool: Spool, said: list[str]) -> tuple[Reader, int, int]:
    """A reader, and where the command would print: stdout and stderr."""
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    reader = Reader({1: out, 2: err}, spool, say=said.append, room_within=0)
    reader.start()
    return reader, out_end, err_end


def test_what_finds_no_room_is_printed_and_counted_and_said_once(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    said: list[str] = []
    spool = Spool(limit=4)
    reader, out, err = reading(spool, said)
    for number in range(1, 4):
        os.write(out, b"%d...\n" % number)
        wait_for(lambda: reader.lines == number)  # noqa: B023
    os.write(err, b"half")
    os.close(out)
    os.close(err)
    reader.join()
    reader.command_ended()
    assert capfdbinary.readouterr() == (b"1...\n2...\n3...\n", b"half")
    chunk = spool.take()
    assert chunk is not None
    assert chunk.data == b"1...\n"
    assert reader.lines == 4
    (word,) = said
    assert "not recorded" in word


def test_what_holds_the_pipes_is_left_after_a_while(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    reader, out, err = reading(Spool(), [])
    os.write(out, b"written before the end\n")
    reader.command_ended(linger=0.05)
    reader.join()
    assert capfdbinary.readouterr().out == b"written before the end\n"
    with pytest.raises(BrokenPipeError):
        os.write(out, b"late\n")
    os.close(out)
    os.close(err)
