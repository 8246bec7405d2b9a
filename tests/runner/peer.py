"""A server of executions for the runner to talk to: the contract, real sockets, and bad days.

It takes lines as `contracts/cards-executions` says: numbered from 1, a number that it has is
ignored, a gap is 409; and about an execution with its key alone. `faults` are played once each, in
order, before requests are served.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.waiting import PATIENCE


class Dropped(Exception):  # noqa: N818
    """The connection ends without an answer."""


Fault = Callable[["Peer", str, Any], tuple[int, Any] | None]
"""May answer, raise `Dropped`, or do something and let the request be served."""


@dataclass
class Kept:
    """One execution."""

    asked: dict[str, Any]
    status: str = "running"
    reason: str | None = None
    exit_code: int | None = None
    message: str | None = None
    lines: list[dict[str, Any]] = field(default_factory=list)
    posts: list[int] = field(default_factory=list)
    """How many lines each log request brought."""

    def texts(self, stream: str | None = None) -> list[str]:
        return [line["text"] for line in self.lines if stream in (None, line["stream"])]


class Peer:
    """Keeps what it was told over any number of lives of its HTTP server."""

    def __init__(self) -> None:
        self.executions: dict[str, Kept] = {}
        self.faults: deque[Fault] = deque()
        self.headers: list[dict[str, str]] = []
        self.ended = threading.Event()
        self.largest = 0
        self.garbled = 0
        """Requests that were not HTTP."""
        self.port = 0
        self.cards: set[str] | None = None
        """Those on its board; None for a server without one."""
        self.lean = False
        """Counts lines and keeps none: for measurements."""
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def only(self) -> Kept:
        (execution,) = self.executions.values()
        return execution

    def start(self) -> None:
        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", self.port), _handler(self))
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """As a killed server: nobody listens, and requests under way get no answer."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def up(self) -> bool:
        return self._server is not None

    def answer(self, method: str, path: str, body: Any, key: str | None = None) -> tuple[int, Any]:
        with self._lock:
            fault = self.faults.popleft() if self.faults else None
        answered = fault(self, path, body) if fault is not None else None
        if answered is not None:
            return answered
        path = path.removeprefix("/api/v1")
        if not path.startswith("/executions"):
            return self._serve_board(path)
        with self._lock:
            path = path.removeprefix("/executions")
            if path and key != key_of(path.split("/")[1]):
                return 401, {"detail": "not the key of this execution", "status": 401}
            return self._serve(method, path, body)

    def _serve_board(self, path: str) -> tuple[int, Any]:
        if self.cards is not None and (path == "/board" or path[len("/cards/") :] in self.cards):
            return 200, {}
        return 404, {"detail": "Not Found", "status": 404}

    def _serve(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "" and method == "POST":
            id = f"x{len(self.executions) + 1}"
            self.executions[id] = Kept(body)
            return 201, {
                "execution_id": id,
                "url": f"/executions/{id}",
                "status": "running",
                "runner_key": key_of(id),
            }
        id, _, verb = path.removeprefix("/").partition("/")
        kept = self.executions.get(id)
        if kept is None:
            return 404, {"detail": "no such execution", "status": 404}
        if method == "GET":
            return 200, {"status": kept.status, "reason": kept.reason}
        if kept.status != "running":
            return 409, {"detail": f"the execution is {kept.status}", "status": 409}
        if verb == "log":
            return _log(kept, body["lines"], self.lean)
        return self._end(kept, verb, body)

    def _end(self, kept: Kept, verb: str, body: Any) -> tuple[int, Any]:
        kept.status = {"complete": "completed", "fail": "failed"}[verb]
        kept.exit_code, kept.message = body.get("exit_code"), body.get("message")
        self.ended.set()
        return 200, {"status": kept.status}


def _log(kept: Kept, lines: list[dict[str, Any]], lean: bool) -> tuple[int, Any]:
    kept.posts.append(len(lines))
    if lean:
        return 200, {"last_seq": lines[-1]["seq"] if lines else 0}
    assert len(lines) <= 1000
    for line in lines:
        assert set(line) - {"truncated"} == {"seq", "stream", "text", "at"}
        expected = len(kept.lines) + 1
        if line["seq"] > expected:
            return 409, {"expected": expected, "status": 409}
        if line["seq"] == expected:
            kept.lines.append(line)
    return 200, {"last_seq": len(kept.lines), "status": kept.status}


def _handler(peer: Peer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        timeout = PATIENCE

        def _handle(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            peer.largest = max(peer.largest, len(raw))
            peer.headers.append(dict(self.headers))
            try:
                if not peer.up:
                    raise Dropped
                status, answer = peer.answer(
                    self.command,
                    self.path,
                    json.loads(raw) if raw else None,
                    self.headers.get("X-Runner-Key"),
                )
                if not peer.up:
                    raise Dropped
            except Dropped:
                self.close_connection = True
                return
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _handle  # noqa: N815

        def send_error(self, *arguments: Any, **more: Any) -> None:
            peer.garbled += 1
            super().send_error(*arguments, **more)

        def log_message(self, *_: object) -> None: ...

    return Handler


def key_of(id: str) -> str:
    """What an execution's runner is given."""
    return f"the-key-of-{id}"


def drop(peer: Peer, path: str, body: Any) -> None:
    """The connection is lost before the request was understood."""
    raise Dropped


def drop_answer(peer: Peer, path: str, body: Any) -> None:
    """The request is carried out, and its answer lost."""
    peer._serve("POST", path.removeprefix("/api/v1/executions"), body)
    raise Dropped


def says(status: int, body: Any = None) -> Fault:
    return lambda _peer, _path, _body: (status, body or {"detail": "as the test wants it"})


def serve(peer: Peer, path: str, body: Any) -> None:
    """No fault: the request is served."""


@contextmanager
def running() -> Iterator[Peer]:
    peer = Peer()
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()
