"""What the server and the way to it may do to us, while the command knows nothing of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from cardume.runner.process import Process
from tests.runner.conftest import Gate, Run
from tests.runner.peer import Peer, drop, drop_answer, says, serve
from tests.support.waiting import PATIENCE, wait_for

LINES = [str(number) for number in range(1, 301)]
COUNT = "for i in $(seq 300); do echo $i; [ $((i % 30)) = 0 ] && sleep 0.02; done"


def whole(result: Any) -> bool:
    """Every line once, and the end."""
    assert result.kept.texts() == LINES
    assert [line["seq"] for line in result.kept.lines] == list(range(1, 301))
    assert (result.code, result.kept.status, result.kept.exit_code) == (0, "completed", 0)
    return True


@pytest.mark.parametrize(
    "faults",
    [
        [drop, drop],
        [drop_answer, drop_answer],
        [says(502), says(503), says(429)],
        [says(200, ["no object"])],
        [serve, drop, serve, drop_answer, serve, says(503)],
    ],
)
def test_faults_on_the_way_lose_and_double_nothing(
    execute: Run, peer: Peer, faults: list[Any]
) -> None:
    peer.faults.append(serve)
    peer.faults.extend(faults)
    result = execute("sh", "-c", COUNT)
    assert whole(result)
    assert not peer.faults
    assert result.err.count("the server is away") == result.err.count("the server is back")


def test_a_connection_that_idled_away_is_no_outage(execute: Run, peer: Peer) -> None:
    peer.faults.extend([serve, serve, drop])
    result = execute("sh", "-c", "echo 1; sleep 0.1; echo 2; sleep 0.1; echo 3")
    assert result.kept.texts() == ["1", "2", "3"]
    assert "away" not in result.err


def test_a_server_that_restarts_gets_every_line_once(
    execute: Run, peer: Peer, tmp_path: Path
) -> None:
    """The command prints through the whole outage, and goes on until the server is back."""
    go_on, back = tmp_path / "go-on", tmp_path / "back"

    def restart() -> None:
        wait_for(lambda: peer.executions and len(peer.only.lines) >= 100)
        peer.stop()
        with socket.create_server(("127.0.0.1", peer.port)) as closed:
            closed.settimeout(PATIENCE)
            go_on.touch()
            wait_for(lambda: (tmp_path / "printed").exists())
            closed.accept()[0].close()  # it was tried, in vain
        peer.start()
        back.touch()

    operator = threading.Thread(target=restart)
    operator.start()
    code = (
        "for i in $(seq 300); do echo $i; "
        f"if [ $i = 100 ]; then while [ ! -e {go_on} ]; do sleep 0.01; done; fi; done; "
        f"touch {tmp_path / 'printed'}; while [ ! -e {back} ]; do sleep 0.01; done"
    )
    result = execute("sh", "-c", code)
    operator.join()
    assert whole(result)
    assert result.err.count("the server is away") == 1
    assert result.err.count("the server is back") == 1


def test_a_gap_is_filled_from_where_the_server_says(execute: Run, peer: Peer) -> None:
    def half(peer: Peer, path: str, body: Any) -> tuple[int, Any]:
        keep = body["lines"][: len(body["lines"]) // 2 + 1]
        peer._serve("POST", path.removeprefix("/api/v1/executions"), {"lines": keep})
        return 409, {"expected": len(peer.only.lines) + 1, "status": 409}

    peer.faults.extend([serve, half, half, half])
    assert whole(execute("sh", "-c", COUNT))


def test_a_server_that_forgot_lines_gets_the_rest(execute: Run, peer: Peer, taken: Gate) -> None:
    def forget(peer: Peer, path: str, body: Any) -> None:
        if "4" in [line["text"] for line in body.get("lines", [])]:
            del peer.only.lines[1:]
            peer.faults.clear()

    peer.faults.extend([serve, *[forget] * 20])
    result = execute("sh", "-c", f"echo 1; echo 2; echo 3; {taken(3)}; echo 4; {taken(2)}; echo 5")
    assert result.kept.texts() == ["1", "4", "5"]
    assert "the server forgot 2 lines" in result.err
    assert result.kept.status == "completed"


def test_an_end_that_was_reported_is_not_reported_again(execute: Run, peer: Peer) -> None:
    peer.faults.extend([serve, drop_answer])
    result = execute("false")
    assert (result.code, result.kept.status) == (1, "failed")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("status", [401, 403, 404, 422, 413])
def test_a_refusal_stops_the_sending_and_not_the_command(
    execute: Run, peer: Peer, status: int
) -> None:
    peer.faults.extend([serve, says(status)])
    result = execute("sh", "-c", "echo 1; sleep 0.2; echo 2; exit 5")
    assert (result.code, result.out) == (5, b"1\n2\n")
    assert result.kept.texts() == []
    assert "nothing more is sent" in result.err
    assert "2 of 2 lines were not delivered" in result.err


def test_a_server_that_forgot_the_execution_is_told_apart_from_a_wrong_token(
    execute: Run, peer: Peer
) -> None:
    peer.faults.extend([serve, says(401)])
    result = execute("echo", "1")
    assert "no longer knows this execution and its key; nothing more is sent" in result.err
    assert "CARDUME_TOKEN" not in result.err


def test_a_server_that_stays_away_is_given_up_and_the_exit_code_stays(
    execute: Run, peer: Peer
) -> None:
    def leave(peer: Peer, path: str, body: Any) -> tuple[int, Any]:
        threading.Thread(target=peer.stop).start()
        wait_for(lambda: not peer.up)
        return 503, None

    peer.faults.extend([serve, leave])
    result = execute("sh", "-c", "for i in 1 2 3; do echo $i; done; exit 6", patience=0.3)
    assert (result.code, result.out) == (6, b"1\n2\n3\n")
    assert "3 of 3 lines were not delivered" in result.err
    assert result.kept.status == "running"


@pytest.mark.parametrize("how", ["conflict", "answer"])
def test_a_cancel_ends_the_command(execute: Run, peer: Peer, how: str) -> None:
    def cancel(peer: Peer, path: str, body: Any) -> tuple[int, Any] | None:
        peer.only.status = "cancelled"
        return (200, {"status": "cancelled", "last_seq": 1}) if how == "answer" else None

    peer.faults.extend([serve, cancel])
    result = execute("sh", "-c", "echo 1; sleep 60; echo 2")
    assert (result.code, result.out) == (143, b"1\n")
    assert "cancelled by a viewer" in result.err
    assert "not delivered" not in result.err


def test_a_cancel_that_comes_before_the_command_ends_it_all_the_same(
    execute: Run, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system takes its time to start it: by then the delivery has heard, and has ended."""

    def cancel(peer: Peer, path: str, body: Any) -> None:
        peer.only.status = "cancelled"

    def slow(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        (delivery,) = (t for t in threading.enumerate() if t.name == "delivery")
        delivery.join(PATIENCE)
        assert not delivery.is_alive()
        return started(*arguments, **options)

    started = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", slow)
    peer.faults.extend([serve, cancel])
    result = execute("sleep", "5", renew=0.0)
    assert result.code == 143
    assert "cancelled by a viewer" in result.err


def test_a_command_that_does_not_heed_a_cancel_is_killed(execute: Run, peer: Peer) -> None:
    def cancel(peer: Peer, path: str, body: Any) -> None:
        peer.only.status = "cancelled"

    peer.faults.extend([serve, cancel])
    code = "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True); signal.pause()"
    assert execute(sys.executable, "-c", code, kill_after=0.2).code == 137


def test_a_second_cancel_leaves_no_timer_behind() -> None:
    before = set(threading.enumerate())
    process = Process(["sleep", "5"], {})
    for pipe in process.pipes().values():
        os.close(pipe)
    process.terminate(3600)
    process.terminate(3600)
    process.wait()
    assert process.reap() == 143
    wait_for(lambda: set(threading.enumerate()) <= before)


def test_what_a_cancelled_command_started_does_not_outlive_it(
    execute: Run, peer: Peer, tmp_path: Path
) -> None:
    def cancel(peer: Peer, path: str, body: Any) -> None:
        peer.only.status = "cancelled"

    peer.faults.extend([serve, cancel])
    script = tmp_path / "stubborn"
    script.write_text(f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done")
    until_it_is_there = f"while [ ! -s {tmp_path}/pid ]; do sleep 0.01; done;"
    result = execute("sh", "-c", f"sh {script} & {until_it_is_there} echo 1; wait", kill_after=1.0)
    assert result.code == 143
    pid = (tmp_path / "pid").read_text().strip()
    wait_for(lambda: is_gone(pid))


def is_gone(pid: str) -> bool:
    """Nobody may have reaped it, where our ancestors do not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except OSError:
        return True


def test_a_lost_lease_is_told_and_the_command_goes_on(execute: Run, peer: Peer) -> None:
    def lose(peer: Peer, path: str, body: Any) -> None:
        peer.only.status, peer.only.reason = "failed", "lost"

    peer.faults.extend([serve, lose])
    result = execute("sh", "-c", "echo 1; sleep 0.2; echo 2; exit 7")
    assert (result.code, result.out) == (7, b"1\n2\n")
    assert "took this runner for lost" in result.err
