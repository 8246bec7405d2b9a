from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
