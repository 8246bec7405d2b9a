"""Signals, terminals and the command line: `cardume exec` as a process of its own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.runner.peer import Peer, drop, says, serve
from tests.support.serving import environment
from tests.support.waiting import PATIENCE, START, wait_for

EXEC = [sys.executable, "-m", "cardume", "exec"]


@contextmanager
def started(peer: Peer, folder: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """In a session of its own: without a terminal, as in CI."""
    process = subprocess.Popen(
        [*EXEC, "--url", peer.url, "--", *command],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heard,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def heard() -> None:
    """Under `nohup`, as some CIs run, a hang-up would be ignored by us and by all we start."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def up(peer: Peer) -> bool:
    return bool(peer.executions) and "up" in peer.only.texts()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_of_the_command_and_is_reported(
    peer: Peer, tmp_path: Path, number: signal.Signals
) -> None:
    """The shell and what it started: neither holds the pipes any more."""
    with started(peer, tmp_path, "sh", "-c", "echo up; sleep 60 | sleep 60; echo no") as process:
        wait_for(lambda: up(peer))
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert out == "up\n"
    assert "Traceback" not in err
    assert (peer.only.status, peer.only.exit_code) == ("failed", 128 + number)


def test_a_command_may_answer_a_signal_in_its_own_way(peer: Peer, tmp_path: Path) -> None:
    code = "trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.05; done"
    with started(peer, tmp_path, "sh", "-c", code) as process:
        wait_for(lambda: up(peer))
        process.terminate()
        out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (9, "up\nbye\n")
    assert peer.only.texts("stdout") == ["up", "bye"]
    assert peer.only.exit_code == 9


def test_who_does_not_want_to_wait_for_the_server_says_so(peer: Peer, tmp_path: Path) -> None:
    peer.faults.extend([serve, *[says(503)] * 1000])
    with started(peer, tmp_path, "sh", "-c", f"echo 1; touch {tmp_path}/done; exit 3") as process:
        wait_for(lambda: (tmp_path / "done").exists() and len(peer.faults) < 998)
        wait_for(lambda: not psutil.Process(process.pid).children(), "the end of the command")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 3
    assert "1 of 1 lines were not delivered" in err


def test_output_that_nobody_reads_ends_the_command_as_a_pipe_would(
    peer: Peer, tmp_path: Path
) -> None:
    with started(peer, tmp_path, "yes") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "y\n"
        process.stdout.close()
        assert process.wait(PATIENCE) == 128 + signal.SIGPIPE
    assert peer.only.exit_code == 128 + signal.SIGPIPE


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_not_confused_with_sockets(
    peer: Peer, tmp_path: Path, closed: str
) -> None:
    line = f"exec {' '.join(EXEC)} --url {peer.url} -- echo hello {closed}"
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=environment(), check=False)
    assert done.returncode == 0
    assert peer.only.texts() == ["hello"]
    assert peer.garbled == 0


# -- with a terminal in front ---------------------------------------------------------------


@contextmanager
def at_a_terminal(peer: Peer, folder: Path, *command: str) -> Iterator[tuple[int, list[bytes]]]:
    """Its keyboard, and the process's exit status once it is there."""
    keyboard, terminal = pty.openpty()
    name = os.ttyname(terminal)
    # A session leader that opens a terminal has it as its own.
    takes = (
        "import os, sys; os.dup2(os.open(sys.argv[1], os.O_RDWR), 0); "
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", takes, name, *EXEC, "--url", peer.url, "--", *command],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    ended: list[bytes] = []
    try:
        yield keyboard, ended
        wait_for(lambda: process.poll() is not None, "the end")
        ended.append(b"%d" % process.returncode)
    finally:
        process.kill()
        process.wait()
        os.close(keyboard)
        os.close(terminal)


def test_the_command_may_ask_the_person_at_the_terminal(peer: Peer, tmp_path: Path) -> None:
    code = "echo up; read answer; echo you said $answer"
    with at_a_terminal(peer, tmp_path, "sh", "-c", code) as (keyboard, ended):
        wait_for(lambda: up(peer))
        os.write(keyboard, b"yes\n")
    assert ended == [b"0"]
    assert peer.only.texts() == ["up", "you said yes"]


def test_ctrl_c_reaches_the_command_and_ctrl_z_does_not_hang_it(peer: Peer, tmp_path: Path) -> None:
    """Nobody could continue us here (an orphaned process group), so Ctrl-Z must not stop it."""
    code = "echo up; while :; do sleep 0.05; [ -e again ] && echo again && rm again; done"
    with at_a_terminal(peer, tmp_path, "sh", "-c", code) as (keyboard, ended):
        wait_for(lambda: up(peer))
        os.write(keyboard, b"\x1a")
        (tmp_path / "again").touch()
        wait_for(lambda: "again" in peer.only.texts())
        os.write(keyboard, b"\x03")
    assert ended == [b"130"]
    assert peer.only.exit_code == 130


# -- the command line -----------------------------------------------------------------------


def cli(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*EXEC, *arguments],
        cwd=folder,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
    )


def test_options_end_where_the_command_begins(peer: Peer, tmp_path: Path) -> None:
    done = cli(tmp_path, "--card", "card-7", "echo", "--name", "-n", "--", CARDUME_URL=peer.url)
    assert (done.returncode, done.stdout) == (0, "--name -n --\n")
    assert peer.only.asked["card_id"] == "card-7"


def test_no_server_is_one_line_and_exit_1(peer: Peer, tmp_path: Path) -> None:
    peer.faults.append(drop)
    done = cli(tmp_path, "--url", peer.url, "--", "touch", "run")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"cardume: no server at {peer.url}")
    assert list(tmp_path.iterdir()) == []


def test_wrong_usage_is_exit_2(tmp_path: Path) -> None:
    assert cli(tmp_path).returncode == 2
    assert cli(tmp_path, "--patience", "-1", "--", "true").returncode == 2
    help = cli(tmp_path, "--help")
    assert help.returncode == 0
    assert "cardume exec --card card-12 -- make -j4 test" in help.stdout
