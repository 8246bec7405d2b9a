"""The life of one alert: what may happen to it next, and what of it is announced.

Rule 1: every change of state is in `MOVES`. Cleared (the world is right again) and acknowledged
(somebody knows) are two facts, hence four states. Each function takes an alert and gives the
next one with the `Action` to announce, or None where nothing is to be said. That at most one
alert of a `dedupe_key` is open is kept by the database, not here.
"""

from __future__ import annotations

from enum import StrEnum, auto
from typing import Final, Never

import msgspec

from cardume.errors import Refused
from cardume.wire import codes

REOPEN_WITHIN: Final = 300.0
"""Seconds after clearing in which the same trouble is the same alert."""


class Severity(StrEnum):
    INFO = auto()
    WARNING = auto()
    MINOR = auto()
    MAJOR = auto()
    CRITICAL = auto()

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS: Final = {severity: rank for rank, severity in enumerate(Severity)}


class AlertState(StrEnum):
    ACTIVE_UNACK = auto()
    ACTIVE_ACK = auto()
    CLEARED_UNACK = auto()
    CLEARED_ACK = auto()


class AlertKind(StrEnum):
    THRESHOLD = auto()
    DEVICE_OFFLINE = auto()
    DEVICE_ONLINE = auto()
    AVAILABILITY_UNRELIABLE = auto()
    HUB_LINK_DOWN = auto()
    """No device of the aquarium can be heard: the trouble is the hub's, not theirs."""


class ClearReason(StrEnum):
    AUTO = auto()
    INFO = auto()
    """It was never open: news, not trouble."""
    MANUAL = auto()
    RULE_DELETED = auto()
    DEVICE_DELETED = auto()


class Action(StrEnum):
    """What is announced: the `action` of an `alert` event; ACK is an `alert_ack` event instead."""

    RAISED = auto()
    SEVERITY_CHANGED = auto()
    REOPENED = auto()
    CLEARED = auto()
    INFO = auto()
    ACK = auto()


class Alert(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One alert, as stored. Times are epoch seconds; `id` is None until the database gave one."""

    id: int | None = None
    dedupe_key: str
    aquarium_id: int
    device_id: str | None = None
    rule_id: int | None = None
    kind: AlertKind
    severity: Severity
    state: AlertState
    title: str
    message: str
    metric: str | None = None
    value: float | None = None
    threshold: float | None = None
    peak_value: float | None = None
    """The value farthest beyond the threshold."""
    occurrences: int = 1
    started_at: float
    last_occurred_at: float
    cleared_at: float | None = None
    clear_reason: ClearReason | None = None
    clear_after: float | None = None
    """The trouble is over; unless it returns, the alert is to be cleared at this time."""
    acked_at: float | None = None
    acked_by: str | None = None
    ack_note: str | None = None
    shelved_until: float | None = None
    shelve_reason: str | None = None
    version: int = 1
    """Grows with every announcement and every decision of a person, not with repetitions."""

    @property
    def is_open(self) -> bool:
        return self.cleared_at is None

    def is_shelved(self, now: float) -> bool:
        """Notifications are held back; the alert's life goes on."""
        return self.shelved_until is not None and now < self.shelved_until


class Move(StrEnum):
    """What can happen to an alert."""

    REPEAT = auto()
    ESCALATE = auto()
    DEESCALATE = auto()
    REOPEN = auto()
    CLEAR_LATER = auto()
    CLEAR = auto()
    ACKNOWLEDGE = auto()
    SHELVE = auto()


_A = AlertState
MOVES: Final[dict[AlertState, dict[Move, AlertState]]] = {
    _A.ACTIVE_UNACK: {
        Move.REPEAT: _A.ACTIVE_UNACK,
        Move.ESCALATE: _A.ACTIVE_UNACK,
        Move.DEESCALATE: _A.ACTIVE_UNACK,
        Move.REOPEN: _A.ACTIVE_UNACK,
        Move.CLEAR_LATER: _A.ACTIVE_UNACK,
        Move.CLEAR: _A.CLEARED_UNACK,
        Move.ACKNOWLEDGE: _A.ACTIVE_ACK,
        Move.SHELVE: _A.ACTIVE_UNACK,
    },
    _A.ACTIVE_ACK: {
        Move.REPEAT: _A.ACTIVE_ACK,
        Move.ESCALATE: _A.ACTIVE_UNACK,  # worse than what was acknowledged
        Move.DEESCALATE: _A.ACTIVE_ACK,
        Move.REOPEN: _A.ACTIVE_ACK,  # it had not been cleared yet: still the known trouble
        Move.CLEAR_LATER: _A.ACTIVE_ACK,
        Move.CLEAR: _A.CLEARED_ACK,
        Move.ACKNOWLEDGE: _A.ACTIVE_ACK,
        Move.SHELVE: _A.ACTIVE_ACK,
    },
    _A.CLEARED_UNACK: {Move.REOPEN: _A.ACTIVE_UNACK, Move.ACKNOWLEDGE: _A.CLEARED_ACK},
    _A.CLEARED_ACK: {Move.REOPEN: _A.ACTIVE_UNACK, Move.ACKNOWLEDGE: _A.CLEARED_ACK},
}

Change = tuple[Alert, Action | None]
_replace = msgspec.structs.replace


def dedupe_key(
    kind: AlertKind,
    aquarium_id: int,
    *,
    device_id: str | None = None,
    rule_id: int | None = None,
    sensor: str | None = None,
) -> str:
    """The name of a trouble; only `sensor` is free text, and it comes last."""
    rule = "" if rule_id is None else rule_id
    return f"{kind}:{aquarium_id}:{device_id or ''}:{rule}:{sensor or ''}"


def raise_(
    *,
    kind: AlertKind,
    severity: Severity,
    dedupe_key: str,
    aquarium_id: int,
    title: str,
    message: str,
    at: float,
    device_id: str | None = None,
    rule_id: int | None = None,
    metric: str | None = None,
    value: float | None = None,
    threshold: float | None = None,
) -> Change:
    """A new alert. One of severity `info` is born closed: cleared, and acknowledged by nobody,
    because there is nothing to do about good news."""
    info = severity == Severity.INFO
    alert = Alert(
        dedupe_key=dedupe_key,
        aquarium_id=aquarium_id,
        device_id=device_id,
        rule_id=rule_id,
        kind=kind,
        severity=severity,
        state=_A.CLEARED_ACK if info else _A.ACTIVE_UNACK,
        title=title,
        message=message,
        metric=metric,
        value=value,
        threshold=threshold,
        peak_value=value,
        started_at=at,
        last_occurred_at=at,
        cleared_at=at if info else None,
        clear_reason=ClearReason.INFO if info else None,
    )
    return alert, Action.INFO if info else Action.RAISED


def repeat(alert: Alert, *, at: float, value: float | None = None) -> Change:
    """Still so: counted, never announced. While a clear is pending it is a `reopen` instead."""
    if alert.is_open and alert.clear_after is not None:
        return reopen(alert, at=at, value=value)
    state = _next(alert, Move.REPEAT)
    return _occurred(alert, at, value, state=state), None


def escalate(
    alert: Alert,
    severity: Severity,
    *,
    at: float,
    value: float | None = None,
    threshold: float | None = None,
    message: str | None = None,
    turned: bool = False,
) -> Change:
    """Another severity, or (`turned`) the opposite side of the band.

    Worse or turned asks for a new acknowledgement; milder keeps the one there is. The same
    severity on the same side is a `repeat`.
    """
    if severity == alert.severity and not turned:
        return repeat(alert, at=at, value=value)
    worse = turned or severity.rank > alert.severity.rank
    state = _next(alert, Move.ESCALATE if worse else Move.DEESCALATE)
    if turned:
        alert = _replace(alert, peak_value=None)
    changed = _replace(
        _occurred(alert, at, value, state=state),
        severity=severity,
        threshold=alert.threshold if threshold is None else threshold,
        message=alert.message if message is None else message,
        clear_after=None,
        version=alert.version + 1,
    )
    return (_unacked(changed) if worse else changed), Action.SEVERITY_CHANGED


def may_reopen(alert: Alert, at: float) -> bool:
    """Whether the same trouble at `at` belongs to this row: a pending clear, or a recent one."""
    if alert.cleared_at is None:
        return alert.clear_after is not None
    return alert.severity != Severity.INFO and at - alert.cleared_at <= REOPEN_WITHIN


def reopen(
    alert: Alert,
    *,
    at: float,
    value: float | None = None,
    severity: Severity | None = None,
    threshold: float | None = None,
    message: str | None = None,
) -> Change:
    """The trouble is back. An acknowledgement lasts if the clear was only pending and the
    severity is not worse than what was acknowledged.

    Raises:
        Refused: 409, when `may_reopen` says no.
    """
    if not may_reopen(alert, at):
        _refuse(alert, Move.REOPEN)
    worse = severity is not None and severity.rank > alert.severity.rank
    state = _next(alert, Move.ESCALATE if worse and alert.is_open else Move.REOPEN)
    back = _replace(
        _occurred(alert, at, value, state=state),
        severity=severity or alert.severity,
        threshold=alert.threshold if threshold is None else threshold,
        message=alert.message if message is None else message,
        cleared_at=None,
        clear_reason=None,
        clear_after=None,
        version=alert.version + 1,
    )
    return (back if state == _A.ACTIVE_ACK else _unacked(back)), Action.REOPENED


def clear_later(alert: Alert, *, clear_after: float) -> Change:
    """The trouble seems over: clear it at `clear_after` unless it returns. Nothing is announced."""
    state = _next(alert, Move.CLEAR_LATER)
    if alert.clear_after is not None:
        return alert, None
    return _replace(alert, state=state, clear_after=clear_after), None


def clear(alert: Alert, *, at: float, reason: ClearReason = ClearReason.AUTO) -> Change:
    """The trouble is over."""
    cleared = _replace(
        alert,
        state=_next(alert, Move.CLEAR),
        cleared_at=max(at, alert.started_at),
        clear_reason=reason,
        clear_after=None,
        version=alert.version + 1,
    )
    return cleared, Action.CLEARED


def acknowledge(alert: Alert, *, by: str, at: float, note: str | None = None) -> Change:
    """Somebody knows. The first one stands: again changes nothing and announces nothing."""
    state = _next(alert, Move.ACKNOWLEDGE)
    if state == alert.state:
        return alert, None
    acked = _replace(
        alert, state=state, acked_at=at, acked_by=by, ack_note=note, version=alert.version + 1
    )
    return acked, Action.ACK


def shelve(alert: Alert, *, until: float, reason: str, at: float) -> Change:
    """No notifications before `until`. The contract announces no shelving.

    Raises:
        Refused: 409 for a cleared alert; 422 for a time that has passed.
    """
    state = _next(alert, Move.SHELVE)
    if until <= at:
        raise Refused(codes.INVALID_FIELDS, "until must lie in the future")
    shelved = _replace(
        alert, state=state, shelved_until=until, shelve_reason=reason, version=alert.version + 1
    )
    return shelved, None


def _next(alert: Alert, move: Move) -> AlertState:
    state = MOVES[alert.state].get(move)
    if state is None:
        _refuse(alert, move)
    return state


def _refuse(alert: Alert, move: Move) -> Never:
    legal = sorted(MOVES[alert.state].keys() - {move})
    raise Refused(
        codes.CONFLICT,
        f"an alert that is {alert.state} has no {move}; it may: {', '.join(legal)}",
        state=alert.state,
        legal=legal,
    )


def _occurred(alert: Alert, at: float, value: float | None, *, state: AlertState) -> Alert:
    return _replace(
        alert,
        state=state,
        last_occurred_at=max(at, alert.last_occurred_at),
        occurrences=alert.occurrences + 1,
        value=alert.value if value is None else value,
        peak_value=_peak(alert, value),
    )


def _peak(alert: Alert, value: float | None) -> float | None:
    if value is None or alert.peak_value is None:
        return alert.peak_value if value is None else value
    if alert.threshold is None:
        return alert.peak_value
    known, new = alert.peak_value - alert.threshold, value - alert.threshold
    # Farther on the same side: back in the band may be farther from the bound than the peak is.
    return value if new * known > known * known else alert.peak_value


def _unacked(alert: Alert) -> Alert:
    return _replace(alert, acked_at=None, acked_by=None, ack_note=None)
