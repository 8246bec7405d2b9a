"""What PostgreSQL and its driver say when something went wrong, and whose fault it was."""

from __future__ import annotations

import ssl
from typing import Any

from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from cardume.storage.backend import Fault

_VALUES = frozenset({"22001", "22003", "22021", "22P05"})
"""Too long, too large, and text with a NUL, which PostgreSQL keeps in no column."""

_NOT_SENT = "22000"
"""What asyncpg itself could not encode: a number of more than 64 bits, or a bug of ours."""

_AWAY = frozenset(
    {
        "25006",  # read_only_sql_transaction: a standby, or a disk that is
        "25P03",  # idle_in_transaction_session_timeout
        "25P04",  # transaction_timeout
        "28000",  # roles and passwords changed while we ran
        "28P01",
        "3D000",  # the database was dropped
        "40001",
        "40P01",
        "55P03",  # lock_not_available
        "57014",  # query_canceled
        "XX001",  # data_corrupted
        "XX002",
    }
)
_AWAY_CLASSES = ("08", "53", "57P", "58")
"""Connections; disk, memory and connections that are used up; shutdown; input and output."""


def fault_of(error: Exception) -> Fault:
    """See `cardume.storage.backend.Backend.fault`."""
    state = _state(error)
    if isinstance(error, IntegrityError):
        return Fault.OURS
    if state in _VALUES or (state == _NOT_SENT and "value out of int" in str(error)):
        return Fault.VALUE
    if state in _AWAY or str(state).startswith(_AWAY_CLASSES):
        return Fault.AWAY
    lost = not isinstance(error, DBAPIError) or error.connection_invalidated
    return Fault.AWAY if lost or isinstance(error, OperationalError) else Fault.OURS


def reason_of(error: BaseException) -> str:
    """See `cardume.storage.backend.Backend.reason`."""
    first = first_cause(error)  # the driver's own; those around it add its class
    return (str(first) or type(first).__name__).partition("\n")[0]


def obstacle(error: Exception, database: str | None) -> str:
    """Why a database cannot be used, for whoever starts a server: what is to be done about it."""
    first = first_cause(error)
    match _state(error):
        case "28P01" | "28000":
            return "does not let us in: check user and password"
        case "3D000":
            return f"does not exist: make it first, with createdb {database}"
        case _ if isinstance(first, TimeoutError):
            return "did not answer in time"
        case _ if isinstance(first, ssl.SSLError):
            return f"cannot be used with TLS: {reason_of(error)}"
        case _ if isinstance(first, OSError):
            return "cannot be reached: is PostgreSQL running there, and the address right?"
    return f"cannot be used: {reason_of(error)}"


def first_cause(error: BaseException) -> BaseException:
    """The error that the others were raised from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def connect(dialect: Any, _record: Any, arguments: Any, options: dict[str, Any]) -> Any:
    """Open a connection of the driver; what it raises is one of `OUT_OF_REACH`."""
    driver = dialect.loaded_dbapi
    try:
        return dialect.connect(*arguments, **options)
    except (OSError, driver.asyncpg.PostgresError, driver.asyncpg.InterfaceError) as error:
        # Refused, unknown host, timeout: nobody wraps these; the others SQLAlchemy does from 2.1.
        wrapped = driver.OperationalError(str(error), error)
        wrapped.sqlstate = getattr(error, "sqlstate", None)
        raise wrapped from error


def as_lost(context: ExceptionContext) -> Exception | None:
    """What broke below the driver, or took too long, leaves a connection in an unknown state.

    `InternalClientError`: the server has said goodbye to a connection that is not closed yet.
    """
    first = first_cause(context.original_exception)
    driver: Any = context.dialect.loaded_dbapi
    if not isinstance(first, OSError | driver.asyncpg.InternalClientError):
        return None
    context.is_disconnect = True
    lost = OperationalError(None, None, context.original_exception, hide_parameters=True)
    lost.connection_invalidated = True
    return lost


def _state(error: BaseException) -> str | None:
    """The SQLSTATE, if the server gave one."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return state if isinstance(state, str) else None
