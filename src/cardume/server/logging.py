"""Logging of `cardume serve`. Nothing else in the package configures it."""

from __future__ import annotations

import logging
import sys
import time

_SAID_BETTER = (
    "Application startup failed. Exiting.",  # by the command line, which says why
    # It is what uvicorn makes of a denial response; we count that, and log it at a bounded rate.
    "ASGI callable returned without completing handshake.",
    # The connection closes with 1007, which is counted.
    "Invalid UTF-8 sequence received from client.",
)
_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class _Utc(logging.Formatter):
    """UTC with milliseconds; control characters escaped, so that one record is one line."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        line = super().formatMessage(record)
        if line.isprintable():
            return line
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def configure(level: str) -> None:
    """Write everything to stderr, uvicorn's lines included, in one shape."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Utc(_FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("cardume").setLevel(level.upper())
    logging.getLogger("uvicorn").setLevel("WARNING" if level.lower() != "debug" else "INFO")
    logging.getLogger("uvicorn.error").addFilter(lambda record: record.msg not in _SAID_BETTER)
    # One line per request costs more than the request; `--log-level debug` shows them.
    logging.getLogger("uvicorn.access").disabled = level.lower() != "debug"
