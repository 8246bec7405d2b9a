"""Whether a device is alive: one table, stepped by what the hub hears and by time.

Rule 1: everything that changes a `DeviceState` is in `TABLE`; the numbers are the rows of the
device table in the docs. Two axes are never mixed: this is the device's status; the hub's link to
its broker only shifts deadlines (`link_up_since`), for a blind hub calls nobody offline.

Evidence of life is a live message. A replay (RETAIN = 1 upon subscribing) carries no time and is
a hint at most; a will is no word of the device. All times are the hub's own receive times.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum, auto
from typing import Final

import msgspec

from cardume.devices.payloads import Signal

CLOCK_SLACK: Final = 60.0
"""Seconds that `last_seen_at` may lie ahead of a tick before we say that our clock went back."""

DISTRUST: Final = 2
"""How often life has to follow upon a replayed `offline`, with no live `online` before it, until
such replays are not believed: a device that retains its will, but not its birth (row 13)."""


class DeviceStatus(StrEnum):
    NEVER_SEEN = auto()
    ONLINE = auto()
    OFFLINE = auto()
    SLEEPING = auto()


class Reason(StrEnum):
    """Why a device has its status, as told to clients."""

    NEVER = auto()
    FIRST_SEEN = auto()
    ALIVE = auto()
    LWT = auto()
    LWT_MISSED = auto()
    """Of a hold alone: a replayed `offline`, sent while we were away. It ends as `LWT`."""
    GRACEFUL = auto()
    TIMEOUT = auto()
    SLEEPING = auto()


class Policy(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How patient to be with one device; all in seconds."""

    offline_after: float = 300.0
    lwt_hold: float = 15.0
    """How long an `offline` waits for a sign of life; 0: it takes effect at once."""
    expected_interval: float | None = None
    deep_sleep: bool = False
    """An `offline` of this device means sleep (Tasmota publishes it before deep sleep)."""
    sleep_margin: float = 60.0

    @property
    def threshold(self) -> float:
        return threshold_of(self.offline_after, self.expected_interval)

    @property
    def missed_hold(self) -> float:
        """How long a replayed `offline` waits. It carries no time, so the device must have had the
        chance to speak; where nobody knows how often it speaks, silence decides."""
        if self.expected_interval is None:
            return self.threshold
        return min(self.threshold, max(self.lwt_hold, 1.5 * self.expected_interval))


class DeviceState(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is stored of a device's liveness. Times are wall seconds."""

    status: DeviceStatus = DeviceStatus.NEVER_SEEN
    status_since: float = 0.0
    reason: Reason = Reason.NEVER
    last_seen_at: float | None = None
    hold_until: float | None = None
    hold_reason: Reason | None = None
    """What the device will have gone offline for, once `hold_until` has passed."""
    session: str | None = None
    """The session of the last `online`; an `offline` that names another one is stale."""
    connected: bool = False
    """The last availability word: a hint, never proof."""
    wake_in: float | None = None
    """While sleeping: seconds it said it would sleep, from `status_since`."""
    state_version: int = 0
    """Grows by one with each transition; clients drop events with an older one."""
    doubts: int = 0
    """How often a replayed `offline` turned out to be wrong; from `DISTRUST` on it is ignored."""


class LiveData(msgspec.Struct, frozen=True, gc=False):
    """Any live message of the device but availability, however old the readings in it (row 16)."""


class Announcement(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An availability message.

    `live` is False for a retained replay. `will` says that the broker spoke, not the device; a
    link to a foreign broker cannot tell, and says so of every `offline`.
    """

    signal: Signal
    live: bool = True
    will: bool = False
    session: str | None = None
    wake_in: float | None = None


class Withdrawal(msgspec.Struct, frozen=True, gc=False):
    """Its retained availability was deleted: somebody tidied up, which says nothing of its life."""


class Tick(msgspec.Struct, frozen=True, gc=False):
    """Time has passed. `link_up_since`: when we last began to hear; None while we hear nothing."""

    link_up_since: float | None


Event = LiveData | Announcement | Withdrawal | Tick


class Transition(msgspec.Struct, frozen=True, gc=False):
    """A change of status: to be stored by compare-and-set on the old state, then announced."""

    previous: DeviceStatus
    status: DeviceStatus
    reason: Reason
    at: float
    late: bool = False
    """It happened while we heard nobody; we know only now."""


class Step(msgspec.Struct, frozen=True, gc=False):
    """The state afterwards, the transition if there was one, and a name to count by."""

    state: DeviceState
    transition: Transition | None = None
    note: str | None = None


def threshold_of(offline_after: float, expected_interval: float | None) -> float:
    """Seconds of silence that mean offline; two late messages in a row are still no alarm."""
    return max(offline_after, 2.5 * (expected_interval or 0.0))


def deadline_of(state: DeviceState, policy: Policy, *, link_up_since: float | None) -> float | None:
    """When to step this device with a `Tick`; None: silence cannot change it, or we are blind."""
    if link_up_since is None:
        return None
    return min(
        (moment for moment, _ in _deadlines(state, policy, link_up_since)),
        default=None,
    )


def step(state: DeviceState, event: Event, now: float, policy: Policy) -> Step:
    """Take `event`, received at `now`. Pure: the same log gives the same state."""
    return TABLE[state.status, _input_of(event, policy)](state, event, now, policy)


class Input(StrEnum):
    """The columns of the table: what an event comes down to."""

    LIFE = auto()
    OFFLINE = auto()
    SLEEPING = auto()
    OLD_ONLINE = auto()
    OLD_OFFLINE = auto()
    OLD_SLEEPING = auto()
    WITHDRAWN = auto()
    TICK = auto()


def _input_of(event: Event, policy: Policy) -> Input:
    if isinstance(event, LiveData):
        return Input.LIFE
    if isinstance(event, Tick):
        return Input.TICK
    if isinstance(event, Withdrawal):
        return Input.WITHDRAWN
    if event.signal is Signal.ONLINE:
        return Input.LIFE if event.live else Input.OLD_ONLINE
    if event.signal is Signal.SLEEPING or policy.deep_sleep:
        return Input.SLEEPING if event.live else Input.OLD_SLEEPING
    return Input.OFFLINE if event.live else Input.OLD_OFFLINE


_Rule = Callable[[DeviceState, Event, float, Policy], Step]
_replace = msgspec.structs.replace


def _move(
    state: DeviceState, status: DeviceStatus, reason: Reason, now: float, *, late: bool = False
) -> Step:
    at = max(now, state.status_since)
    moved = _replace(
        state,
        status=status,
        status_since=at,
        reason=reason,
        hold_until=None,
        hold_reason=None,
        wake_in=None,
        state_version=state.state_version + 1,
    )
    return Step(moved, Transition(state.status, status, reason, at, late))


def _seen(state: DeviceState, event: Event, now: float) -> DeviceState:
    """The state of a device that has just spoken; an event older than what we know is no news."""
    last = state.last_seen_at if state.last_seen_at is not None else now
    session, doubts = state.session, state.doubts
    if isinstance(event, Announcement):
        session = event.session
        if event.signal is Signal.ONLINE:
            doubts = 0
        elif session is None:
            session = state.session
    elif state.hold_reason is Reason.LWT_MISSED:
        doubts += 1
    return _replace(
        state,
        last_seen_at=max(last, now),
        hold_until=None,
        hold_reason=None,
        connected=True,
        session=session,
        doubts=doubts,
    )


def _stale(state: DeviceState, event: Event) -> bool:
    """A will of an older session: brokers send it late, even after the next birth (row 8)."""
    assert isinstance(event, Announcement)
    return None not in (event.session, state.session) and event.session != state.session


def _live(state: DeviceState, event: Event, now: float, policy: Policy) -> Step:
    note = "hold_cancelled" if state.hold_until is not None else None
    seen = _seen(state, event, now)
    if seen.doubts == DISTRUST != state.doubts:
        note = "availability_unreliable"
    return Step(seen, note=note)


def _first_seen(state: DeviceState, event: Event, now: float, policy: Policy) -> Step:
    return _move(_seen(state, event, now), DeviceStatus.ONLINE, Reason.FIRST_SEEN, now)


def _back(state: DeviceState, event: Event, now: float, policy: Policy) -> Step:
    return _move(_seen(state, event, now), DeviceStatus.ONLINE, Reason.ALIVE, now)


def _suspect(state: DeviceState, event: Event, now: float, policy: Policy) -> Step:
    assert isinstance(event, Announcement)
    if _stale(state, event):
        return Step(state, note="stale_will")
    if state.last_seen_at is not None and now < state.last_seen_at:
        return Step(state, note="outdated")
    if state.hold_until is not None:
        return Step(state)
    reason = Reason.LWT if event.will else Reason.GRACEFUL
    state = _replace(state, connected=False)
    if policy.lwt_hold <= 0:
        return _move(state, DeviceStatus.OFFLINE, reason, now)
    return Step(_replace(state, hold_until=now + policy.lwt_hold, hold_reason=reason))


def _suspect_late(state: DeviceState, event: Event, now: float, policy: Policy) -> Step:
    if _stale(state, event):
        return Step(state, note="stale_will")
    if state.doubts >= DISTRUST:
        return Step(state, note="availability_ignored")
    state = _replace(state, connected=False)
    if state.hold_until is not None:
        return Step(state)
    until = now + policy.missed_hold
    return Step(_replace(state, hold_until=until, hold_reason=Reason.LWT_MISSED))


def _withdrawn(state: DeviceState, event: Event, now: float, policy: Policy) -> Step:
    return Step(_replace(state, connected=False) if state.connected else state)


def _fall_asleep(state: DeviceState, event: Event, now: float, policy: Policy) -> Step:
    assert isinstance(event, Announcement)
    if event.will and _stale(state, event):
        return Step(state, note="stale_will")
    if event.will and state.status in (DeviceStatus.NEVER_SEEN, DeviceStatus.OFFLINE):
        return _hint(state, event, now, policy)
    # Only a word of its own is a sign of life, and names the session that is now the current one.
    known = state if event.will else _seen(state, event, now)
    return _sleep(known, event, now)


def _sleep(state: DeviceState, event: Announcement, now: float) -> Step:
    state = _replace(state, connected=False)
    if state.status is DeviceStatus.SLEEPING:
        return Step(_replace(state, wake_in=event.wake_in or state.wake_in))
    slept = _move(state, DeviceStatus.SLEEPING, Reason.SLEEPING, now)
    return Step(_replace(slept.state, wake_in=event.wake_in), slept.transition)


def _asleep_unheard(state: DeviceState, event: Event, now: float, policy: Policy) -> Step:
    """It fell asleep while we were away: its silence is planned."""
    assert isinstance(event, Announcement)
    return _sleep(state, event, now)


def _hint(state: DeviceState, event: Event, now: float, policy: Policy) -> Step:
    assert isinstance(event, Announcement)
    if event.signal is not Signal.ONLINE:
        if _stale(state, event):
            return Step(state, note="stale_will")
        return Step(_replace(state, connected=False))
    # The birth of the session that is connected now: without it, row 8 would take the will of
    # this very session for a stale one after a restart of the hub.
    return Step(_replace(state, connected=True, session=event.session))


def _ignore(state: DeviceState, event: Event, now: float, policy: Policy) -> Step:
    return Step(state)


def _planned(state: DeviceState, event: Event, now: float, policy: Policy) -> Step:
    return Step(state, note="offline_while_sleeping")


def _look(state: DeviceState, event: Event, now: float, policy: Policy) -> Step:
    assert isinstance(event, Tick)
    if event.link_up_since is None:
        return Step(state)
    if state.last_seen_at is not None and state.last_seen_at > now + CLOCK_SLACK:
        # Our clock ran ahead and was put right: left alone, the device could not die till then.
        since = min(state.status_since, now)
        return Step(_replace(state, last_seen_at=now, status_since=since), note="clock_went_back")
    due = [reason for at, reason in _deadlines(state, policy, event.link_up_since) if at <= now]
    if not due:
        return Step(state)
    late = (state.last_seen_at or 0.0) < event.link_up_since
    return _move(state, DeviceStatus.OFFLINE, due[0], now, late=late)


def _deadlines(
    state: DeviceState, policy: Policy, link_up_since: float
) -> list[tuple[float, Reason]]:
    """When what will be held against the device, the better reason first."""
    if state.status not in (DeviceStatus.ONLINE, DeviceStatus.SLEEPING):
        return []
    heard = max(state.last_seen_at or 0.0, link_up_since)
    if state.status is DeviceStatus.SLEEPING:
        wake_in = 2 * (state.wake_in or 0.0) + policy.sleep_margin
        since = max(heard, state.status_since)
        return [(since + max(policy.threshold, wake_in), Reason.TIMEOUT)]
    silence = (heard + policy.threshold, Reason.TIMEOUT)
    if state.hold_until is None or state.hold_reason is None:
        return [silence]
    # A birth that came while we were blind gets its hold again from when we hear.
    if state.hold_reason is Reason.LWT_MISSED:
        held = max(state.hold_until, link_up_since + policy.missed_hold)
        return [(min(held, silence[0]), Reason.LWT), silence]
    return [(max(state.hold_until, link_up_since + policy.lwt_hold), state.hold_reason), silence]


_S = DeviceStatus
TABLE: Final[dict[tuple[DeviceStatus, Input], _Rule]] = {
    (_S.NEVER_SEEN, Input.LIFE): _first_seen,  # 1
    (_S.NEVER_SEEN, Input.OFFLINE): _hint,  # 3
    (_S.NEVER_SEEN, Input.SLEEPING): _fall_asleep,  # 18
    (_S.NEVER_SEEN, Input.OLD_ONLINE): _hint,  # 2
    (_S.NEVER_SEEN, Input.OLD_OFFLINE): _hint,  # 3
    (_S.NEVER_SEEN, Input.OLD_SLEEPING): _hint,  # a replay is no life
    (_S.NEVER_SEEN, Input.WITHDRAWN): _withdrawn,  # 29
    (_S.NEVER_SEEN, Input.TICK): _ignore,  # 3
    (_S.ONLINE, Input.LIFE): _live,  # 4, 6
    (_S.ONLINE, Input.OFFLINE): _suspect,  # 5, 8, 10
    (_S.ONLINE, Input.SLEEPING): _fall_asleep,  # 18
    (_S.ONLINE, Input.OLD_ONLINE): _hint,  # 9: silence wins
    (_S.ONLINE, Input.OLD_OFFLINE): _suspect_late,  # 11, 12, 13
    (_S.ONLINE, Input.OLD_SLEEPING): _asleep_unheard,  # 18
    (_S.ONLINE, Input.WITHDRAWN): _withdrawn,  # 29
    (_S.ONLINE, Input.TICK): _look,  # 7, 9, 11, 21, 22, 23
    (_S.OFFLINE, Input.LIFE): _back,  # 14, 16
    (_S.OFFLINE, Input.OFFLINE): _hint,  # 17
    (_S.OFFLINE, Input.SLEEPING): _fall_asleep,  # 18
    (_S.OFFLINE, Input.OLD_ONLINE): _hint,  # 15
    (_S.OFFLINE, Input.OLD_OFFLINE): _hint,  # 17
    (_S.OFFLINE, Input.OLD_SLEEPING): _hint,  # it missed its waking already
    (_S.OFFLINE, Input.WITHDRAWN): _withdrawn,  # 29
    (_S.OFFLINE, Input.TICK): _ignore,  # 17
    (_S.SLEEPING, Input.LIFE): _back,  # 19
    (_S.SLEEPING, Input.OFFLINE): _planned,  # 18: the will is ignored
    (_S.SLEEPING, Input.SLEEPING): _fall_asleep,  # 18
    (_S.SLEEPING, Input.OLD_ONLINE): _hint,  # 15
    (_S.SLEEPING, Input.OLD_OFFLINE): _planned,  # 18
    (_S.SLEEPING, Input.OLD_SLEEPING): _ignore,  # 18
    (_S.SLEEPING, Input.WITHDRAWN): _withdrawn,  # 29
    (_S.SLEEPING, Input.TICK): _look,  # 20
}
