"""A command through the runner, with a server that does its part."""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cardume.errors import ConfigurationError
from cardume.runner.lines import MAX_LINE
from cardume.runner.run import run
from tests.runner.conftest import Gate, Run
from tests.runner.peer import Fault, Peer, drop_answer, key_of, says, serve
from tests.support.ports import free_port


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def test_both_streams_arrive_in_order_and_pass_through(
    execute: Run, peer: Peer, taken: Gate
) -> None:
    before = time.time()
    code = f"echo one; {taken(1)}; echo two >&2; {taken(2)}; printf three"
    result = execute("sh", "-c", code)
    assert (result.code, result.out) == (0, b"one\nthree")
    watch, *rest = result.err.splitlines()
    assert watch == f"cardume: watch {peer.url}/executions/x1"
    assert rest == ["two"]
    kept = result.kept
    assert [(line["seq"], line["stream"], line["text"]) for line in kept.lines] == [
        (1, "stdout", "one"),
        (2, "stderr", "two"),
        (3, "stdout", "three"),
    ]
    times = [datetime.fromisoformat(line["at"]).timestamp() for line in kept.lines]
    assert before - 0.001 <= times[0] < times[1] < times[2] <= time.time()
    assert (kept.status, kept.exit_code) == ("completed", 0)


def cancelled_without_saying(peer: Peer, path: str, body: Any) -> tuple[int, Any]:
    """The conflict names no state, so that the runner has to ask for it."""
    peer.only.status = "cancelled"
    return 409, {"detail": "a conflict", "status": 409}


def test_the_first_line_is_not_kept_waiting(execute: Run, peer: Peer, tmp_path: Path) -> None:
    """The command ends only when the server has its first line."""
    seen = tmp_path / "seen"

    def served(peer: Peer, path: str, body: dict[str, list[dict[str, str]]]) -> None:
        if [line["text"] for line in body.get("lines", [])] == ["hello"]:
            seen.touch()

    peer.faults.extend([served] * 20)
    result = execute("sh", "-c", f"echo hello; while [ ! -e {seen} ]; do sleep 0.02; done")
    assert result.code == 0


@pytest.mark.parametrize("code", [0, 1, 3, 42, 255])
def test_the_exit_code_is_the_commands(execute: Run, code: int) -> None:
    result = execute("sh", "-c", f"exit {code}")
    assert result.code == code
    assert result.kept.exit_code == code
    assert result.kept.status == ("completed" if code == 0 else "failed")


def test_a_command_that_is_not_there_is_127(execute: Run) -> None:
    result = execute("no-such-command")
    assert (result.code, result.kept.status, result.kept.exit_code) == (127, "failed", 127)
    assert "'no-such-command': command not found" in result.err
    assert result.kept.message == "'no-such-command': command not found"


def test_a_file_that_is_no_program_is_126(execute: Run, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("words")
    result = execute(str(tmp_path / "text"))
    assert (result.code, result.kept.status, result.kept.exit_code) == (126, "failed", 126)


def test_name_card_and_command(execute: Run, peer: Peer) -> None:
    execute("echo", "a b", name="build\x1b[31m\n" + "x" * 300, card_id="card-12")
    asked = peer.only.asked
    assert asked.keys() == {"name", "command", "card_id"}
    assert asked["command"] == "echo 'a b'"
    assert asked["card_id"] == "card-12"
    assert asked["name"].startswith("build [31m xxx")
    assert asked["name"].isprintable()
    assert len(asked["name"]) == 200


def test_an_argument_that_is_no_text(execute: Run) -> None:
    result = execute("printf", "%s", os.fsdecode(b"caf\xe9"))
    assert result.out == b"caf\xe9"
    assert result.kept.asked["command"] == "printf %s 'caf\ufffd'"
    assert result.kept.texts() == ["caf\ufffd"]


def test_binary_passes_through_unchanged_and_travels_as_text(execute: Run) -> None:
    data = bytes(range(256)) * 200
    result = execute(*python("import sys; sys.stdout.buffer.write(bytes(range(256)) * 200)"))
    assert result.out == data
    lines = result.kept.texts()
    assert len(lines) == 201
    assert "\ufffd" in lines[1]
    assert not any("\0" in line for line in lines)


def test_a_line_of_a_megabyte(execute: Run) -> None:
    result = execute(*python("print('x' * 1_000_000); print('next')"))
    assert result.out == b"x" * 1_000_000 + b"\nnext\n"
    long, short = result.kept.lines
    assert (long["text"], long["truncated"]) == ("x" * MAX_LINE, True)
    assert (short["text"], "truncated" in short) == ("next", False)


def test_a_flood_arrives_whole_in_requests_within_the_limits(execute: Run, peer: Peer) -> None:
    result = execute(*python("for i in range(30_000): print(i, 'x' * 90)"))
    assert result.kept.texts() == [f"{i} {'x' * 90}" for i in range(30_000)]
    assert max(result.kept.posts) <= 1000
    assert peer.largest <= 512 * 1024
    assert len(result.kept.posts) < 300


def test_heavy_lines_arrive_in_requests_within_the_limits(execute: Run, peer: Peer) -> None:
    result = execute(*python(r"for i in range(60): print(str(i) + '\x1b' * 16_000)"))
    assert len(result.kept.lines) == 60
    assert peer.largest <= 512 * 1024


def test_standard_input_is_the_callers(
    execute: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "input").write_text("from the caller\n")
    ours, other = os.dup(0), os.open(tmp_path / "input", os.O_RDONLY)
    os.dup2(other, 0)
    try:
        assert execute("cat").out == b"from the caller\n"
    finally:
        os.dup2(ours, 0)
        os.close(ours)
        os.close(other)


def test_a_silent_command_is_kept_alive(execute: Run, tmp_path: Path, peer: Peer) -> None:
    seen = tmp_path / "seen"

    def served(peer: Peer, path: str, body: object) -> None:
        if peer.executions and peer.only.posts.count(0) >= 2:
            seen.touch()

    peer.faults.extend([served] * 50)
    result = execute("sh", "-c", f"while [ ! -e {seen} ]; do sleep 0.02; done", renew=0.05)
    assert result.kept.posts.count(0) >= 3
    assert result.kept.lines == []


def test_a_line_that_never_ends_is_kept_alive(execute: Run, tmp_path: Path, peer: Peer) -> None:
    seen = tmp_path / "seen"

    def served(peer: Peer, path: str, body: object) -> None:
        if peer.executions and peer.only.posts.count(0) >= 2:
            seen.touch()

    peer.faults.extend([served] * 50)
    code = f"import os, sys\nwhile not os.path.exists({str(seen)!r}): print(end='x' * 9999)"
    result = execute(*python(code), renew=0.05)
    assert result.code == 0
    assert result.kept.texts() == ["x" * MAX_LINE]


def test_what_a_background_process_prints_is_not_waited_for(execute: Run) -> None:
    started = time.monotonic()
    result = execute("sh", "-c", "(sleep 50; echo late) & echo done", linger=0.1)
    assert time.monotonic() - started < 40
    assert (result.code, result.out) == (0, b"done\n")


def test_what_is_printed_shortly_after_the_end_is_read(execute: Run) -> None:
    result = execute("sh", "-c", "(sleep 0.2; echo late) & exit 4", linger=10)
    assert (result.code, result.kept.texts()) == (4, ["late"])


# -- the token and the address --------------------------------------------------------------


def test_the_token_goes_to_the_server_and_nowhere_else(
    execute: Run, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARDUME_TOKEN", "a-token")
    result = execute("sh", "-c", "env; cat /proc/$PPID/cmdline")
    assert result.kept.status == "completed"
    begin, *reports = peer.headers
    assert begin["Authorization"] == "Bearer a-token"
    assert "X-Runner-Key" not in begin
    assert reports
    assert not any("Authorization" in headers for headers in reports)
    assert {headers["X-Runner-Key"] for headers in reports} == {key_of("x1")}
    for secret in ("a-token", key_of("x1")):
        assert secret not in result.err
        assert secret.encode() not in result.out


def test_a_token_that_expires_meanwhile_loses_nothing(execute: Run, peer: Peer) -> None:
    """The peer takes an execution's key alone, as a server does when the token has expired."""
    peer.faults.extend([serve, drop_answer, serve, cancelled_without_saying])
    result = execute("sh", "-c", "echo 1; sleep 60", renew=0.05)
    assert (result.code, result.kept.texts()) == (143, ["1"])
    assert "cancelled by a viewer" in result.err


@pytest.mark.parametrize(
    ("cards", "missing"),
    [(None, False), ({"card-12"}, False), ({"card-1"}, True), (set(), True)],
)
def test_a_card_that_is_not_there_is_said_once(
    execute: Run, peer: Peer, cards: set[str] | None, missing: bool
) -> None:
    peer.cards = cards
    result = execute("echo", "1", card_id="card-12")
    assert (result.code, result.kept.texts()) == (0, ["1"])
    assert result.kept.asked["card_id"] == "card-12"
    assert result.err.count("no card card-12 at the server") == int(missing)


def test_without_a_card_none_is_looked_for(execute: Run, peer: Peer) -> None:
    peer.cards = set()
    assert "no card" not in execute("echo", "1").err


@pytest.mark.parametrize("fault", [says(503), says(401), says(403), says(500)])
def test_a_board_that_cannot_be_asked_keeps_no_command_waiting(
    execute: Run, peer: Peer, fault: Fault
) -> None:
    peer.cards = set()
    peer.faults.extend([serve, fault])
    result = execute("echo", "1", card_id="card \x1b[2J\udcff/..")
    assert (result.code, result.kept.status) == (0, "completed")
    assert "no card" not in result.err


def test_a_card_of_any_bytes_is_asked_for(execute: Run, peer: Peer) -> None:
    peer.cards = set()
    result = execute("echo", "1", card_id="card\x1b[2J\udcff/..")
    assert "no card card [2J /.. at the server" in result.err
    assert result.kept.status == "completed"


def test_a_command_is_not_run_without_a_server(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ConfigurationError, match=f"no server at {url}.*was not run.*--url"):
        run(["touch", str(tmp_path / "run")], url)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "set CARDUME_TOKEN"),
        (403, "this token may not do that: as the test"),
        (404, "runs no executions; start it with --apps …,executions"),
        (405, "runs no executions; start it with --apps …,executions"),
        (422, "refused: as the test wants it"),
        (503, "answers 503"),
        (301, "another address"),
        (200, "is not Cardume"),
    ],
)
def test_a_command_is_not_run_when_the_server_refuses(
    peer: Peer, tmp_path: Path, status: int, advice: str
) -> None:
    peer.faults.append(says(status))
    with pytest.raises(ConfigurationError, match=advice):
        run(["touch", str(tmp_path / "run")], peer.url)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "said", [{"detail": "invalid token: expired"}, {"detail": "no", "code": "token_expired"}]
)
def test_a_token_that_has_expired_is_said_to_be(peer: Peer, said: dict[str, str]) -> None:
    peer.faults.append(says(401, said))
    with pytest.raises(ConfigurationError, match=r"your token has expired: .* `cardume token"):
        run(["true"], peer.url)


@pytest.mark.parametrize("key", [None, "", 7, "two\r\nlines", "ключ"])
def test_a_server_that_gives_no_key_is_none(peer: Peer, tmp_path: Path, key: Any) -> None:
    begun = {"execution_id": "x1", "url": "/executions/x1", "runner_key": key}
    peer.faults.append(says(201, begun))
    with pytest.raises(ConfigurationError, match="is not Cardume"):
        run(["touch", str(tmp_path / "run")], peer.url)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://host", "http://", "http://h:x", "http://u:pw@h", "http://h?q"],
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--url is like"):
        run(["true"], url)


def test_a_token_that_is_none_is_not_quoted(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDUME_TOKEN", "two\nlines")
    with pytest.raises(ConfigurationError, match="CARDUME_TOKEN") as error:
        run(["true"], peer.url)
    assert "lines" not in str(error.value)
