"""Fixtures every room of the tests shares."""

from __future__ import annotations

import os
import signal

import hypothesis
import pytest

from tests.support.databases import bare_url, database, database_url, dialect, postgres, spread

# Half of hypothesis' hundred: the suite has to stay under five minutes on two cores. Whoever looks
# for a bug sets more in the test, or runs a campaign (`python3 run.py simulate`).
# How long an example takes says how busy the machine is: a deadline would be a failure by chance.
hypothesis.settings.register_profile(
    "suite",
    max_examples=50,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")


__all__ = ["bare_url", "database", "database_url", "dialect", "postgres"]


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts what it puts in the background without job control deaf to Ctrl-C (POSIX,
    # Shell Command Language 2.11), and so would be all that the tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # What a process of the tests has compiled is not compiled again by all the others.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    config.addinivalue_line("markers", "on_both: runs on SQLite and on PostgreSQL")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    spread(metafunc)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Where every tool is installed a skip hides a test: `CARDUME_NO_SKIPS` makes it a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if os.environ.get("CARDUME_NO_SKIPS") and skipped and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
