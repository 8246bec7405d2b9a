"""The exceptions of Cardume.

::

    CardumeError
    ├── ConfigurationError     a setting is missing or unsafe; the message says how to mend it
    ├── HubNotRunning          the hub was used before it was entered
    ├── Unavailable            nothing was kept; the same call may succeed later (HTTP 503)
    ├── Invalid                bytes from outside that are not what the contract says
    └── Refused                a request understood and declined, with a code from ``wire.codes``

Faults that a peer can cause travel as `Refused`, or as values; an exception of any other class
that reaches a connection is a bug of ours and closes it with 3004.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cardume.wire.codes import ErrorCode


class CardumeError(Exception):
    """Root of everything Cardume raises on purpose."""


class ConfigurationError(CardumeError):
    """A setting is missing, contradictory or unsafe. The message says what to do next."""


class HubNotRunning(CardumeError, RuntimeError):  # noqa: N818 - a state, named as one
    """The hub was used outside its lifespan."""

    def __init__(self) -> None:
        super().__init__(
            "the hub is not running: include `hub.router` in your FastAPI app, or wrap the code "
            "in `async with hub:` (in tests: `with TestClient(app)`)"
        )


class Unavailable(CardumeError):  # noqa: N818 - the peer may retry; the cause is chained
    """Nothing was kept: the disk, the database or the engine cannot take it now."""


class Invalid(CardumeError, ValueError):  # noqa: N818 - the peer's fault, not ours
    """Input that is not what the contract says; the message never quotes the input."""


class Refused(CardumeError):  # noqa: N818 - a decision, not a malfunction
    """A request that was understood and declined."""

    def __init__(self, code: ErrorCode, message: str | None = None, **extra: Any) -> None:
        super().__init__(message or code.message)
        self.code = code
        self.message = message or code.message
        self.extra = extra
        """More members for the problem document (RFC 9457 §3.2), such as the current version."""
