"""The device table row by row, then its invariants over any log of events."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardume.devices.liveness import (
    TABLE,
    Announcement,
    DeviceState,
    DeviceStatus,
    Event,
    Input,
    LiveData,
    Policy,
    Reason,
    Step,
    Tick,
    Transition,
    Withdrawal,
    deadline_of,
    step,
    threshold_of,
)
from cardume.devices.payloads import Signal

NEVER, ONLINE, OFFLINE, SLEEPING = DeviceStatus
T0 = 1_795_000_000.0
POLICY = Policy(offline_after=300, lwt_hold=15)
AT_ONCE = Policy(offline_after=300, lwt_hold=0)
DATA = LiveData()
TICK = Tick(T0 - 1e6)
BIRTH = Announcement(signal=Signal.ONLINE)
WILL = Announcement(signal=Signal.OFFLINE, will=True)
BYE = Announcement(signal=Signal.OFFLINE)
SLEEP = Announcement(signal=Signal.SLEEPING)
OLD_BIRTH = Announcement(signal=Signal.ONLINE, live=False)
OLD_WILL = Announcement(signal=Signal.OFFLINE, live=False)
OLD_SLEEP = Announcement(signal=Signal.SLEEPING, live=False)


def birth(session: str, *, live: bool = True) -> Announcement:
    return Announcement(signal=Signal.ONLINE, session=session, live=live)


def will(session: str | None) -> Announcement:
    return Announcement(signal=Signal.OFFLINE, session=session, will=True)


def play(
    *events: tuple[float, Event], policy: Policy = POLICY
) -> tuple[DeviceState, list[Transition], list[str]]:
    """Run (seconds after T0, event) pairs through a new device."""
    state = DeviceState(status_since=T0)
    transitions: list[Transition] = []
    notes: list[str] = []
    for after, event in events:
        taken: Step = step(state, event, T0 + after, policy)
        state = taken.state
        if taken.transition is not None:
            transitions.append(taken.transition)
        if taken.note is not None:
            notes.append(taken.note)
    return state, transitions, notes


def path(*events: tuple[float, Event], policy: Policy = POLICY) -> list[tuple[str, str, float]]:
    """What was announced: (status, reason, seconds after T0)."""
    return [(t.status, t.reason, t.at - T0) for t in play(*events, policy=policy)[1]]


FIRST = ("online", "first_seen", 0.0)


def test_the_table_has_a_rule_for_everything() -> None:
    assert set(TABLE) == set(itertools.product(DeviceStatus, Input))


@pytest.mark.parametrize("event", [DATA, BIRTH])
def test_row_1_first_life(event: Event) -> None:
    state, transitions, _ = play((0, event))
    assert transitions == [Transition(NEVER, ONLINE, Reason.FIRST_SEEN, T0)]
    assert (state.last_seen_at, state.state_version) == (T0, 1)


@pytest.mark.parametrize("event", [OLD_BIRTH, OLD_WILL, OLD_SLEEP, WILL, BYE, TICK])
def test_rows_2_and_3_no_proof_of_life(event: Event) -> None:
    state, transitions, _ = play((0, event), (1000, TICK))
    assert (transitions, state.status, state.last_seen_at) == ([], NEVER, None)
    assert state.connected is (event is OLD_BIRTH)


def test_row_4_life_goes_on() -> None:
    state, _, notes = play((0, BIRTH), (10, DATA), (20, BIRTH))
    assert (state.last_seen_at, state.state_version, notes) == (T0 + 20, 1, [])


@pytest.mark.parametrize(("event", "reason"), [(WILL, "lwt"), (BYE, "graceful")])
def test_rows_5_and_7_an_offline_is_held_first(event: Event, reason: str) -> None:
    state, _, _ = play((0, DATA), (10, event), (24.9, TICK))
    assert (state.status, state.hold_until, state.connected) == (ONLINE, T0 + 25, False)
    assert deadline_of(state, POLICY, link_up_since=T0) == T0 + 25
    held = path((0, DATA), (10, event), (24.9, TICK), (25, TICK))
    assert held == [FIRST, ("offline", reason, 25.0)]


@pytest.mark.parametrize("event", [DATA, BIRTH])
def test_row_6_life_cancels_the_hold(event: Event) -> None:
    state, transitions, notes = play((0, DATA), (10, WILL), (20, event), (26, TICK))
    assert (state.hold_until, len(transitions)) == (None, 1)
    assert notes == ["hold_cancelled"]


def test_row_6_a_replay_does_not() -> None:
    assert path((0, DATA), (10, WILL), (11, OLD_BIRTH), (25, TICK))[-1] == ("offline", "lwt", 25.0)


@pytest.mark.parametrize(("event", "reason"), [(WILL, "lwt"), (BYE, "graceful")])
def test_without_hold_a_will_takes_effect_at_once(event: Event, reason: str) -> None:
    assert path((0, DATA), (10, event), policy=AT_ONCE) == [FIRST, ("offline", reason, 10.0)]


@pytest.mark.parametrize("policy", [POLICY, AT_ONCE])
def test_row_8_the_will_of_an_older_session(policy: Policy) -> None:
    state, transitions, notes = play((0, birth("18")), (1, will("17")), (20, TICK), policy=policy)
    assert (state.status, len(transitions), notes) == (ONLINE, 1, ["stale_will"])


def test_row_8_the_will_of_this_session_or_of_none() -> None:
    for word in (will("18"), will(None)):
        assert path((0, birth("18")), (1, word), (20, TICK))[-1] == ("offline", "lwt", 20.0)


def test_row_8_a_replayed_birth_names_the_session_after_a_restart() -> None:
    log: list[tuple[float, Event]] = [
        (0.0, birth("17")),
        (60.0, birth("18", live=False)),
        (90.0, will("18")),
        (105.0, TICK),
    ]
    assert path(*log)[-1] == ("offline", "lwt", 105.0)


def test_row_9_silence() -> None:
    assert path((0, DATA), (299.9, TICK)) == [FIRST]
    assert path((0, DATA), (300, TICK)) == [FIRST, ("offline", "timeout", 300.0)]


def test_row_9_silence_wins_over_a_replayed_online() -> None:
    assert path((0, DATA), (200, OLD_BIRTH), (300, TICK))[-1] == ("offline", "timeout", 300.0)


def test_row_10_offline_again_does_not_prolong_the_hold() -> None:
    log: list[tuple[float, Event]] = [(0.0, DATA), (10.0, WILL), (20.0, BYE), (25.0, TICK)]
    assert path(*log)[-1] == ("offline", "lwt", 25.0)


SLOW = Policy(offline_after=300, lwt_hold=15, expected_interval=100)
"""It speaks each 100 seconds: a replayed `offline` waits for 150 of them."""


def test_rows_11_and_12_a_replayed_offline_waits_for_the_next_message() -> None:
    log: list[tuple[float, Event]] = [(0.0, DATA), (10.0, OLD_WILL)]
    state, _, _ = play(*log, policy=SLOW)
    assert (state.hold_until, state.connected) == (T0 + 160, False)
    assert path(*log, (159, TICK), policy=SLOW) == [FIRST]
    assert path(*log, (160, TICK), policy=SLOW)[-1] == ("offline", "lwt", 160.0)
    assert path(*log, (100, DATA), (160, TICK), policy=SLOW) == [FIRST]


def test_row_11_without_a_known_interval_silence_decides() -> None:
    log: list[tuple[float, Event]] = [(0.0, DATA), (10.0, OLD_WILL)]
    assert path(*log, (299, TICK)) == [FIRST]
    assert path(*log, (300, TICK))[-1] == ("offline", "lwt", 300.0)


def test_row_11_what_happened_while_we_were_blind_is_said_to_be_late() -> None:
    again = Tick(T0 + 4000)
    _, (_, lost), _ = play((0, DATA), (4001, OLD_WILL), (4151, again), policy=SLOW)
    assert lost == Transition(ONLINE, OFFLINE, Reason.LWT, T0 + 4151, late=True)
    _, (_, silent), _ = play((0, DATA), (4300, again))
    assert silent == Transition(ONLINE, OFFLINE, Reason.TIMEOUT, T0 + 4300, late=True)
    _, (_, seen), _ = play((0, DATA), (4005, DATA), (4305, again))
    assert seen == Transition(ONLINE, OFFLINE, Reason.TIMEOUT, T0 + 4305)


def test_row_11_a_replay_does_not_prolong_its_own_hold_nor_a_will() -> None:
    state, _, _ = play((0, DATA), (10, OLD_WILL), (20, OLD_WILL), policy=SLOW)
    assert state.hold_until == T0 + 160
    assert path((0, DATA), (10, WILL), (11, OLD_WILL), (25, TICK), policy=SLOW)[-1][1] == "lwt"


def test_row_13_a_replay_that_was_wrong_twice_is_not_believed() -> None:
    wrong: list[tuple[float, Event]] = [
        (0.0, DATA),
        *((1.0, OLD_WILL), (2.0, DATA), (3.0, DATA)),
        *((4.0, OLD_WILL), (5.0, DATA)),
    ]
    state, _, notes = play(*wrong, policy=SLOW)
    assert (state.doubts, notes) == (2, ["hold_cancelled", "availability_unreliable"])
    state, transitions, notes = play(*wrong, (6, OLD_WILL), (200, TICK), policy=SLOW)
    assert (state.hold_until, len(transitions), notes[2:]) == (None, 1, ["availability_ignored"])


def test_row_13_a_live_birth_restores_the_trust() -> None:
    log: list[tuple[float, Event]] = [(0.0, DATA), (1.0, OLD_WILL), (2.0, DATA), (3.0, BIRTH)]
    state, _, notes = play(*log, (4, OLD_WILL), (5, DATA), policy=SLOW)
    assert (state.doubts, notes) == (1, ["hold_cancelled"] * 2)
    state, _, _ = play(*log, (4, OLD_WILL), (5, BIRTH), policy=SLOW)
    assert state.doubts == 0


def test_row_13_a_real_will_is_believed_all_the_same() -> None:
    doubted = DeviceState(
        status=ONLINE, status_since=T0, last_seen_at=T0, state_version=1, doubts=9
    )
    assert step(doubted, WILL, T0 + 1, SLOW).state.hold_until == T0 + 16


@pytest.mark.parametrize(
    "before", [[], [(0.0, BIRTH)], [(0.0, BIRTH), (300.0, TICK)], [(0.0, BIRTH), (1.0, SLEEP)]]
)
def test_row_29_a_deleted_availability_is_a_hint(before: list[tuple[float, Event]]) -> None:
    known, moved, _ = play(*before)
    state, transitions, _ = play(*before, (301, Withdrawal()))
    assert transitions == moved
    assert not state.connected
    assert (state.last_seen_at, state.hold_until) == (known.last_seen_at, None)


@pytest.mark.parametrize("event", [DATA, BIRTH])
def test_rows_14_and_16_back_to_life(event: Event) -> None:
    state, transitions, _ = play((0, DATA), (300, TICK), (400, event))
    assert transitions[-1] == Transition(OFFLINE, ONLINE, Reason.ALIVE, T0 + 400)
    assert (state.last_seen_at, state.state_version) == (T0 + 400, 3)


@pytest.mark.parametrize("event", [OLD_BIRTH, OLD_WILL, OLD_SLEEP, WILL, BYE, TICK])
def test_rows_15_and_17_offline_stays_offline(event: Event) -> None:
    state, transitions, _ = play((0, DATA), (300, TICK), (400, event), (9999, TICK))
    assert (state.status, len(transitions), state.last_seen_at) == (OFFLINE, 2, T0)
    assert state.connected is (event is OLD_BIRTH or event is TICK)


@pytest.mark.parametrize("before", [[], [(0.0, DATA)], [(0.0, DATA), (300.0, TICK)]])
def test_row_18_sleep(before: list[tuple[float, Event]]) -> None:
    state, transitions, notes = play(*before, (310, SLEEP), (320, WILL), (330, OLD_WILL))
    assert transitions[-1].status is SLEEPING
    assert (state.status, state.last_seen_at, state.reason) == (SLEEPING, T0 + 310, "sleeping")
    assert notes == ["offline_while_sleeping"] * 2


def test_row_18_a_deep_sleeper_says_offline() -> None:
    sleeper = Policy(deep_sleep=True, expected_interval=600)
    log: list[tuple[float, Event]] = [(0.0, BIRTH), (5.0, WILL), (600.0, BIRTH), (605.0, WILL)]
    words = [status for status, _, _ in path(*log, policy=sleeper)]
    assert words == ["online", "sleeping", "online", "sleeping"]


def test_row_18_it_fell_asleep_while_we_were_away() -> None:
    state, _, _ = play((0, DATA), (100, OLD_SLEEP))
    assert (state.status, state.last_seen_at) == (SLEEPING, T0)
    assert deadline_of(state, POLICY, link_up_since=T0 + 99) == T0 + 400


def test_rows_19_and_20_awake_or_missed() -> None:
    assert path((0, DATA), (10, SLEEP), (200, DATA))[-1] == ("online", "alive", 200.0)
    assert path((0, DATA), (10, SLEEP), (310, TICK))[-1] == ("offline", "timeout", 310.0)
    long = Announcement(signal=Signal.SLEEPING, wake_in=600)
    state, transitions, _ = play((0, DATA), (10, long), (1269, TICK))
    assert (state.status, len(transitions)) == (SLEEPING, 2)
    assert deadline_of(state, POLICY, link_up_since=T0) == T0 + 10 + 2 * 600 + 60


def test_rows_21_and_23_a_blind_hub_calls_nobody_offline() -> None:
    blind = Tick(None)
    assert path((0, DATA), (10, WILL), (9999, blind)) == [FIRST]
    state, _, _ = play((0, DATA))
    assert deadline_of(state, POLICY, link_up_since=None) is None
    again = T0 + 5000
    assert deadline_of(state, POLICY, link_up_since=again) == again + 300
    assert path((0, DATA), (5299, Tick(again))) == [FIRST]
    assert path((0, DATA), (5300, Tick(again)))[-1] == ("offline", "timeout", 5300.0)


def test_a_hold_interrupted_by_blindness_starts_again() -> None:
    again = Tick(T0 + 100)
    assert path((0, DATA), (10, WILL), (114, again)) == [FIRST]
    assert path((0, DATA), (10, WILL), (115, again))[-1] == ("offline", "lwt", 115.0)


def test_a_will_older_than_the_last_sign_of_life_is_outdated() -> None:
    state, _, notes = play((0, DATA), (20, DATA), (10, WILL))
    assert (state.hold_until, state.last_seen_at, notes) == (None, T0 + 20, ["outdated"])


def test_an_older_sign_of_life_does_not_move_last_seen_back() -> None:
    state, _, _ = play((20, DATA), (10, DATA))
    assert state.last_seen_at == T0 + 20


def test_a_clock_that_went_back_does_not_keep_a_device_alive() -> None:
    log: list[tuple[float, Event]] = [(0.0, DATA), (9e6, DATA), (0.0, TICK), (300.0, TICK)]
    assert play(*log)[2] == ["clock_went_back"]
    assert path(*log)[-1] == ("offline", "timeout", 300.0)


@pytest.mark.parametrize(
    ("after", "interval", "threshold"), [(300, None, 300), (300, 60, 300), (300, 300, 750)]
)
def test_the_threshold(after: float, interval: float | None, threshold: float) -> None:
    assert threshold_of(after, interval) == threshold
    assert Policy(offline_after=after, expected_interval=interval).threshold == threshold


def test_nobody_else_has_a_deadline() -> None:
    assert deadline_of(DeviceState(), POLICY, link_up_since=T0) is None
    state, _, _ = play((0, DATA), (300, TICK))
    assert deadline_of(state, POLICY, link_up_since=T0) is None


# Invariants

_sessions = st.sampled_from([None, "17", "18"])
_words = st.builds(
    Announcement,
    signal=st.sampled_from(Signal),
    live=st.booleans(),
    will=st.booleans(),
    session=_sessions,
    wake_in=st.sampled_from([None, 60.0]),
)
_ticks = st.builds(Tick, st.sampled_from([None, T0, T0 + 500]))
_events = st.one_of(st.just(DATA), st.just(Withdrawal()), _words, _ticks)
_gaps = st.sampled_from([0.0, 1.0, 14.9, 15.0, 100.0, 299.9, 300.0, 1000.0])
_logs = st.lists(st.tuples(_gaps, _events), max_size=30)
_policies = st.builds(
    Policy,
    lwt_hold=st.sampled_from([0.0, 15.0]),
    expected_interval=st.sampled_from([None, 600.0]),
    deep_sleep=st.booleans(),
)


def _steps(
    log: list[tuple[float, Event]], policy: Policy
) -> list[tuple[DeviceState, Event, float, Step]]:
    state, now, steps = DeviceState(status_since=T0), T0, []
    for gap, event in log:
        now += gap
        taken = step(state, event, now, policy)
        steps.append((state, event, now, taken))
        state = taken.state
    return steps


@given(_logs, _policies)
def test_transitions_alternate_and_versions_count_them(
    log: list[tuple[float, Event]], policy: Policy
) -> None:
    """(b), and that nothing but a transition changes a status."""
    for before, _, _, taken in _steps(log, policy):
        after, moved = taken.state, taken.transition
        if moved is None:
            assert (after.status, after.status_since) == (before.status, before.status_since)
            assert after.state_version == before.state_version
        else:
            assert moved.previous == before.status != moved.status == after.status
            assert moved.status is not NEVER
            assert (moved.reason, moved.at) == (after.reason, after.status_since)
            assert after.state_version == before.state_version + 1


@given(_logs, _policies)
def test_replays_and_blindness_prove_nothing(
    log: list[tuple[float, Event]], policy: Policy
) -> None:
    """(c) and (d)."""
    for before, event, _, taken in _steps(log, policy):
        if isinstance(event, Tick) and event.link_up_since is None:
            assert taken == Step(before)
        if isinstance(event, Announcement) and not event.live:
            assert taken.transition is None or taken.transition.status is SLEEPING
            assert taken.state.last_seen_at == before.last_seen_at
        if isinstance(event, Announcement) and event.will and event.signal is not Signal.ONLINE:
            assert taken.state.last_seen_at == before.last_seen_at
        if taken.transition is not None and taken.transition.status is ONLINE:
            assert taken.state.last_seen_at is not None


@given(_logs, _policies)
def test_last_seen_never_goes_back_nor_ahead(
    log: list[tuple[float, Event]], policy: Policy
) -> None:
    """(e)."""
    for before, _, now, taken in _steps(log, policy):
        assert (before.last_seen_at or 0.0) <= (taken.state.last_seen_at or 0.0) <= now


@given(_logs, _policies)
def test_the_same_log_gives_the_same_state(log: list[tuple[float, Event]], policy: Policy) -> None:
    """(f)."""
    assert _steps(log, policy) == _steps(log, policy)


@given(_logs, _policies)
def test_a_tick_acts_exactly_from_the_deadline_on(
    log: list[tuple[float, Event]], policy: Policy
) -> None:
    """The heap and the table agree: not before, and not never."""
    for _, _, now, taken in _steps(log, policy):
        due = deadline_of(taken.state, policy, link_up_since=T0)
        alive = taken.state.status in (ONLINE, SLEEPING)
        assert (due is not None) == alive
        if due is not None:
            late = step(taken.state, Tick(T0), max(due, now), policy)
            assert late.state.status is OFFLINE
            if due - 0.1 > now:
                assert step(taken.state, Tick(T0), due - 0.1, policy) == Step(taken.state)


@pytest.mark.parametrize("policy", [POLICY, AT_ONCE])
@pytest.mark.parametrize("sessions", [("17", "18"), (None, None), (None, "18"), ("17", None)])
@pytest.mark.parametrize("known", [True, False])
def test_any_order_of_birth_and_older_will_ends_online(
    policy: Policy, sessions: tuple[str | None, str | None], known: bool
) -> None:
    """(g), with and without hold, with and without sessions."""
    old, new = sessions
    start = [Announcement(signal=Signal.ONLINE, session=old)] if known else []
    for order in itertools.permutations(
        [Announcement(signal=Signal.ONLINE, session=new), will(old), will(old)]
    ):
        events: list[Event] = [*start, *order, DATA]
        log = [(float(n), event) for n, event in enumerate(events)]
        state, _, _ = play(*log, (60, TICK), policy=policy)
        assert (state.status, state.hold_until) == (ONLINE, None)
