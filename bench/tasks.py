"""Measures tasks on their way: created, assigned, started and completed while all agents listen.

    python3 run.py bench tasks                             three times: about two minutes
    python3 run.py bench tasks --repeat 1 --tasks 300      once and shortly

A fresh server with 100 agents. Each has a WebSocket of the `rooms` dialect, joined to `tasks`, so
every step of every task is heard a hundred times. A few workers do one task after the other over
HTTP, four calls each; the hub picks the agent. Every figure is the median of the runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, cast

import table
from browsers import Browser, Browsers
from floor import send_floor
from house import House, house
from peer import Peer, peer

STEPS = ("assign", "start", "complete")
JOIN = b'{"action":"join","room":"tasks","id":1}'
EVENT = b'{"event_type":"task_'
LAST = b"completed"
REPLY = b'{"success":true'

Figures = dict[str, float]


class Listener(Browser):
    """An agent's WebSocket: joins `tasks` once it is connected, and counts the events there."""

    def __init__(self, path: str, crew: Listeners) -> None:
        super().__init__(path, cast("Browsers", crew))
        self._listeners = crew

    def _frame(self, first: int, data: bytes, start: int, end: int, now: int) -> None:
        if data.startswith(EVENT, start):
            self._listeners.hear(data.startswith(LAST, start + len(EVENT)))
        elif first & 15 == 9 or data.startswith(REPLY, start):
            super()._frame(first, data, start, end, now)
        elif self._transport is not None:  # `connected`
            self._transport.write(bytes((0x81, 0x80 | len(JOIN), 0, 0, 0, 0)) + JOIN)


class Listeners:
    """All agents' connections, in one process."""

    def __init__(self) -> None:
        self.lost = 0
        self._heard: Counter[bool] = Counter()
        self._here: list[Listener] = []

    def hear(self, last: bool) -> None:
        self._heard[last] += 1

    async def connect(self, port: int, token: str, count: int) -> int:
        loop = asyncio.get_running_loop()
        for number in range(count):
            path = f"/ws?client_id=agent{number}&token={token}"
            _, listener = await loop.create_connection(
                partial(Listener, path, self), "127.0.0.1", port
            )
            await listener.greeted
            self._here.append(listener)
        return len(self._here)

    async def collect(self, expected: int, patience: float) -> tuple[int, int]:
        """All events heard once there are `expected`, or none came for a while; the last steps."""
        total = -1
        until = time.monotonic() + patience
        while total < expected and time.monotonic() < until:
            if self._heard.total() > total:
                total, until = self._heard.total(), time.monotonic() + patience
            await asyncio.sleep(0.02)
        return self._heard.total(), self._heard[True]


class Line:
    """A kept-alive HTTP connection without the cost of a client, which would be the bottleneck."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"

    async def post(self, path: str, body: Any = None) -> Any:
        sent = b"" if body is None else json.dumps(body).encode()
        kind = "Content-Type: application/json\r\n" if sent else ""
        head = f"POST {path} HTTP/1.1\r\n{self._head}{kind}Content-Length: {len(sent)}\r\n\r\n"
        self._writer.write(head.encode() + sent)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        lines = answer.lower().split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        content = await self._reader.readexactly(length)
        if answer[9:10] != b"2":
            raise ConnectionError(f"POST {path}: {answer[9:12].decode()} {content[:200]!r}")
        return json.loads(content)


class Workers:
    """Who asks for tasks and does them, in one process."""

    def __init__(self) -> None:
        self._lines: list[Line] = []

    async def enter(self, port: int, token: str, agents: int, workers: int) -> None:
        for _ in range(workers):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            self._lines.append(Line(reader, writer, token))
        for _ in range(agents):
            body = {"agent_type": "worker", "capabilities": ["dig"]}
            await self._lines[0].post("/agents", body)

    async def work(self, tasks: int) -> dict[str, Any]:
        """Do so many tasks: the seconds it took, and each task's."""
        turns = iter(range(tasks))
        took: list[float] = []
        began = time.monotonic()

        async def one(line: Line) -> None:
            for _ in turns:
                start = time.monotonic()
                await _do(line)
                took.append(time.monotonic() - start)

        await asyncio.gather(*map(one, self._lines))
        return {"seconds": time.monotonic() - began, "took": sorted(took)}


async def _do(line: Line) -> None:
    path = "/coordination/tasks"
    body = {"task_type": "dig", "required_capability": "dig", "payload": {"depth": 3}}
    id = (await line.post(path, body))["task_id"]
    for step in STEPS:
        await line.post(f"{path}/{id}/{step}")


def measure(given: argparse.Namespace) -> Figures:
    """One run on a fresh server."""
    with house(given.folder) as server, peer(Workers) as workers, peer(Listeners) as agents:
        floor = send_floor()
        where = {"port": server.port, "token": server.token}
        workers.ask("enter", **where, agents=given.agents, workers=given.workers)
        agents.ask("connect", **where, count=given.agents)
        workers.ask("work", tasks=given.workers)  # warm
        return _measured(given, server, workers, agents, floor)


def _measured(
    given: argparse.Namespace, server: House, workers: Peer, agents: Peer, floor: float
) -> Figures:
    events = 1 + len(STEPS)
    before = server.cpu()
    done = workers.ask("work", tasks=given.tasks)
    total = given.tasks + given.workers
    expected = total * events * given.agents
    heard, last = agents.ask("collect", expected=expected, patience=3.0)
    spent = server.cpu() - before
    took = done["took"]
    exact = (heard, last) == (expected, total * given.agents) and _stored(server) == total
    return {
        "tasks/s": given.tasks / done["seconds"],
        "requests/s": given.tasks * events / done["seconds"],
        "deliveries/s": given.tasks * events * given.agents / done["seconds"],
        "p50 ms": took[len(took) // 2] * 1000,
        "p99 ms": took[len(took) * 99 // 100] * 1000,
        "server CPU ms/task": spent / given.tasks * 1000,
        "all equal": float(exact),
        "send() floor µs": floor,
    }


def _stored(server: House) -> int:
    """How many tasks are completed, each after one assignment."""
    query = "SELECT count(*) FROM tasks WHERE status = 'completed' AND attempts = 1"
    ((count,),) = server.rows(query)
    return int(count)


def main() -> None:
    """Run it, print markdown; exit with 1 where something was lost or doubled."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--workers", type=int, default=8, help="tasks under way at a time")
    parser.add_argument("--folder", type=Path, help="where the temporary database goes")
    given = parser.parse_args()
    runs = [measure(given) for _ in range(given.repeat)]
    print(
        f"{given.tasks} tasks, {given.agents} agents listening, {given.workers} under way; "
        f"median of {given.repeat}\n"
    )
    table.head([*runs[0]])
    table.row(table.gathered(runs))
    raise SystemExit(0 if all(run["all equal"] for run in runs) else 1)


if __name__ == "__main__":
    main()
