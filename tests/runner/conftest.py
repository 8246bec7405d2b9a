from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cardume.runner.delivery import Pace
from cardume.runner.run import Options, run
from tests.runner.peer import Kept, Peer, running


@dataclass
class Result:
    code: int
    out: bytes
    err: str
    kept: Kept
    """What the server knows of it."""


Run = Callable[..., Result]

Gate = Callable[[int], str]


@pytest.fixture
def taken(peer: Peer, tmp_path: Path) -> Iterator[Gate]:
    """Shell: wait until the server has so many lines. What comes then is read and sent later."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            if peer.executions and (count := len(peer.only.lines)):
                (tmp_path / f"taken-{count}").touch()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield lambda count: f"until [ -e {tmp_path}/taken-{count} ]; do sleep 0.01; done"
    finally:
        over.set()
        watching.join()


@pytest.fixture
def peer() -> Iterator[Peer]:
    with running() as peer:
        yield peer


@pytest.fixture
def execute(
    peer: Peer, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """`cardume exec`, in this process: it needs the main thread, and that is what tests have."""
    monkeypatch.delenv("CARDUME_TOKEN", raising=False)

    def execute(
        *command: str,
        renew: float = 15.0,
        patience: float = 10.0,
        kill_after: float = 5.0,
        linger: float = 2.0,
        name: str | None = None,
        card_id: str | None = None,
    ) -> Result:
        pace = Pace(renew=renew, between=0.01, patience=patience)
        options = Options(pace=pace, kill_after=kill_after, linger=linger)
        code = run(command, peer.url, name=name, card_id=card_id, options=options)
        out, err = capfdbinary.readouterr()
        return Result(code, out, err.decode(), peer.only)

    return execute
