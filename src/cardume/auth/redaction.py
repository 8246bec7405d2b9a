"""Tokens out of log lines: uvicorn writes the query string of every WebSocket it accepts.

A filter on a logger sees only what is logged on that very logger, not on its children. The
servers log on a handful of names, listed here, so that is enough.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Iterable, Mapping

SERVER_LOGGERS = (
    "uvicorn.error",
    "uvicorn.access",
    "uvicorn.asgi",
    "hypercorn.access",
    "hypercorn.error",
    "websockets.server",
)
MARK = "[redacted]"

# Linear in the length of the line: every repetition is possessive or ends at a character that it
# cannot take, and a JWT is looked for only where a run of its characters begins.
_SECRET = re.compile(
    r"""
      (?P<key> (?:token|api_?key)(?:=|%3D) ) [^\s&"'\#;<>]++
    | (?P<member> "(?:token|api_key|runner_key|password)"\s*+:\s*+" ) [^"\\]*+
    | (?P<scheme> (?<![A-Za-z0-9]) bearer (?:\s*+,\s*+|\s++) ) [^\s"',;]++
    | (?P<header> (?<![A-Za-z0-9-])
        (?:authorization|x-api-key|x-runner-key|cookie) \s*+:\s*+ ) [^\r\n"']++
    | (?<![A-Za-z0-9_-]) (?> (?P<before> [A-Za-z0-9_-]*? ) eyJ )
      [A-Za-z0-9_-]*+ \. [A-Za-z0-9_-]++ \. [A-Za-z0-9_-]*+
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_SECRET_HEADERS = frozenset({"authorization", "x-api-key", "x-runner-key", "cookie"})
_formatter = logging.Formatter()


def redact(text: str) -> str:
    """`text` with whatever looks like a credential replaced by `MARK`, the rest as it was."""
    return _SECRET.sub(_replace, text)


def _replace(found: re.Match[str]) -> str:
    kept = next((part for part in found.groups() if part is not None), "")
    return f"{kept}{MARK}"


class TokenRedactor(logging.Filter):
    """Redacts a record's message, arguments and traceback in place; lets every record pass.

    Arguments keep their number and, unless they held a secret, their type: formatters such as
    uvicorn's take them apart.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.args = _args(record.args)
        if not _formats_clean(record):
            _redact_message(record)
        if record.exc_info and not record.exc_text:
            # A cached text is what formatters print; leave it to them where there is no secret.
            trace = _formatter.formatException(record.exc_info)
            record.exc_text = clean if (clean := redact(trace)) != trace else None
        elif record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        coloured = record.__dict__.get("color_message")  # uvicorn's twin of `msg`
        if isinstance(coloured, str):
            record.__dict__["color_message"] = redact(coloured)
        return True


def install(logger_names: Iterable[str] = SERVER_LOGGERS) -> Callable[[], None]:
    """Put one redactor on each logger, unless it has one; the result takes away what was put."""
    placed: list[tuple[logging.Logger, TokenRedactor]] = []
    for name in logger_names:
        logger = logging.getLogger(name)
        if not any(isinstance(item, TokenRedactor) for item in logger.filters):
            redactor = TokenRedactor()
            logger.addFilter(redactor)
            placed.append((logger, redactor))

    def uninstall() -> None:
        for logger, redactor in placed:
            logger.removeFilter(redactor)

    return uninstall


def _formats_clean(record: logging.LogRecord) -> bool:
    try:
        text = record.getMessage()
    except Exception:  # a wrong format string is the caller's bug, and logging reports it
        return True
    return redact(text) == text


def _redact_message(record: logging.LogRecord) -> None:
    """The pieces were clean and their sum is not: ``token=%s``, or an object's repr."""
    whole = redact(record.getMessage())
    if isinstance(record.args, tuple):
        record.args = tuple(arg if _is_plain(arg) else MARK for arg in record.args)
        if _formats_clean(record):
            return
    record.msg, record.args = whole, ()


def _args(
    args: tuple[object, ...] | Mapping[str, object] | None,
) -> tuple[object, ...] | Mapping[str, object] | None:
    if isinstance(args, tuple):
        return tuple(
            MARK if place and _is_secret_header(args[place - 1]) else _clean(arg)
            for place, arg in enumerate(args)
        )
    if isinstance(args, dict):  # hypercorn's atoms: a dict with its own lookup, so keep the class
        cleaned = copy.copy(args)
        cleaned.update({name: _clean(value) for name, value in args.items()})
        return cleaned
    return args


def _clean(value: object) -> object:
    if _is_plain(value):
        return value
    if isinstance(value, bytes):
        text = value.decode("latin-1")
        clean = redact(text)
        return value if clean == text else clean.encode("latin-1")
    try:
        text = str(value)
    except Exception:  # its own formatting will fail the same way, and logging reports it
        return value
    clean = redact(text)
    return value if clean == text else clean


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def _is_secret_header(value: object) -> bool:
    return isinstance(value, str) and value.lower() in _SECRET_HEADERS
