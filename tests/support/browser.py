"""What the page is tested with: a real server, a wire that can be cut, a real chromium."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright, expect

from cardume.auth.signer import TokenSigner
from cardume.clock import SystemClock
from tests.support.ports import free_port
from tests.support.waiting import START

CHROMIUM = shutil.which("chromium")
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SECRET = "a secret of the page's tests, long enough"
SHOWN_WITHIN = 15.0


def command(*arguments: str, cwd: Path, given: str | None = None) -> str:
    """What a `cardume` command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "cardume", *arguments],
        cwd=cwd,
        env=_environment(),
        input=given,
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def token(user: str, *aquariums: int) -> str:
    """What `cardume token` prints, without waiting for a process."""
    return TokenSigner(SECRET, SystemClock()).mint(user, ttl=600.0, aquariums=list(aquariums))


def _environment() -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CARDUME_")}
    return {**clean, "CARDUME_JWT_SECRET": SECRET, "CARDUME_DRAIN_WINDOW": "0.2"}


class Server:
    """`cardume demo` or `cardume serve` in a process of its own, on free ports."""

    def __init__(self, what: str, cwd: Path) -> None:
        self.port = free_port()
        self.mqtt_port = free_port()
        self.banner = ""
        self.cwd = cwd
        self._what = what
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """Of `my-device`, out of the banner of the demo."""
        found = re.search(r"-u my-device -P (\S+)", self.banner)
        assert found is not None, self.banner
        return found[1]

    @property
    def token(self) -> str:
        found = re.search(r"^ *token (\S+)$", self.banner, re.MULTILINE)
        assert found is not None, self.banner
        return found[1]

    def start(self) -> None:
        """Returns when it is up; the same ports and the same database each time."""
        log = self.cwd / "server.log"
        with log.open("wb") as out:
            ports = ["--port", str(self.port), "--mqtt-port", str(self.mqtt_port)]
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", "cardume", self._what, *ports],
                cwd=self.cwd,
                env=_environment(),
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START
        while " is up" not in (text := log.read_text()) or not text.endswith("\n"):
            assert self._process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.05)
        self.banner = text

    def kill(self) -> None:
        """As a power cut does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def topic(self, name: str) -> str:
        return f"aquabook/my-device/{name}"

    def as_device(self) -> list[str]:
        """The options with which mosquitto's clients become `my-device`."""
        where = ["-h", "127.0.0.1", "-p", str(self.mqtt_port)]
        return [*where, "-u", "my-device", "-P", self.key]

    def publish(self, name: str, payload: str) -> None:
        """As `my-device`, with mosquitto_pub at QoS 1: it is stored when this returns."""
        what = ["-q", "1", "-t", self.topic(name), "-m", payload]
        subprocess.run(["mosquitto_pub", *self.as_device(), *what], check=True, timeout=10)

    @contextlib.contextmanager
    def plugged_in(self, reading: str) -> Iterator[None]:
        """`my-device` as a mosquitto_pub with a will, that sent a reading; then the plug."""
        will = ["--will-topic", self.topic("availability"), "--will-payload", "offline"]
        talking = ["mosquitto_pub", *self.as_device(), *will, "-t", self.topic("reading"), "-l"]
        client = subprocess.Popen(talking, stdin=subprocess.PIPE, bufsize=0)
        assert client.stdin is not None
        try:
            client.stdin.write(reading.encode() + b"\n")
            yield
        finally:
            client.kill()
            client.communicate()


class Api:
    """The HTTP API of a server, as somebody or, in the demo, as its visitor."""

    def __init__(self, server: Server, bearer: str | None = None, below: str = "/api/v1/") -> None:
        self._base = server.url + below
        self._headers = {"Content-Type": "application/json"}
        if bearer is not None:
            self._headers["Authorization"] = f"Bearer {bearer}"

    def __call__(self, method: str, path: str, **body: Any) -> Any:
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(
            self._base + path, data=data, method=method, headers=self._headers
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")


class Wire:
    """A TCP relay before a server, whose connections can be cut."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._to = port
        self._open = True
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def relaying(self) -> AsyncIterator[Wire]:
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    def cut(self) -> None:
        """Reset what is connected and everybody who tries."""
        self._open = False
        for writer in list(self._writers):
            writer.transport.abort()

    def mend(self) -> None:
        self._open = True

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if not self._open:
            writer.transport.abort()
            return
        there, further = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers |= {writer, further}
        try:
            await asyncio.gather(self._copy(reader, further), self._copy(there, writer))
        finally:
            self._writers -= {writer, further}

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        sink.transport.abort() if sink.transport.is_closing() else sink.close()


AT_ONCE = 0
"""The shortest wait between two tries to connect: half a second, however often."""
WHEN_ASKED = 1000
"""No dice give it: minutes before the first try, so that nobody comes back who is not told to."""


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    expect.set_options(timeout=SHOWN_WITHIN * 1000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        try:
            yield browser
        finally:
            await browser.close()


class Visit:
    """A page of its own, and what it complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text)
                if message.type in ("error", "warning")
                else None
            ),
        )

    def complaints_but(self, expected: Sequence[str] = ()) -> list[str]:
        """What has none of `expected` in it; CSP violations are never expected."""
        return [c for c in self.complaints if not any(known in c for known in expected)]


@contextlib.asynccontextmanager
async def visiting(browser: Browser, url: str, *, dice: int | None = None) -> AsyncIterator[Visit]:
    """A fresh profile that has opened `url`; `dice` is what every throw of `Math.random` gives."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(SHOWN_WITHIN * 1000)
    if dice is not None:
        await context.add_init_script(f"Math.random = () => {dice};")
    try:
        visit = Visit(await context.new_page())
        await visit.page.goto(url)
        yield visit
    finally:
        await context.close()
