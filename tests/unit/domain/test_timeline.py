"""What time it is when the wall clock may be wrong (rules.md 19)."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from aleph_agentd.domain.timeline import HOLD, Kept, Timeline, advance, begin, settle
from support.clock import NOON
from support.machine import FakeMachine

HOUR = timedelta(hours=1)
IN_1970 = datetime(1970, 1, 1, 0, 0, 20, tzinfo=UTC)


def kept(line: Timeline, boot: str = "boot-1") -> Kept:
    """What a stopping process writes down."""
    return Kept(line.at, boot, line.up_s)


def test_time_passes_with_the_wall_clock() -> None:
    """The usual case."""
    machine = FakeMachine()
    line = begin(None, machine())
    machine.passes(hours=5)
    assert advance(line, machine()).at == NOON + 5 * HOUR


def test_a_wall_clock_that_is_set_back_is_not_followed() -> None:
    """Leases would live longer."""
    machine = FakeMachine()
    line = begin(None, machine())
    machine.is_set(hours=-3)
    machine.passes(hours=1)
    line = advance(line, machine())
    assert (line.at, line.doubt) == (NOON + HOUR, None)


def test_a_small_leap_ahead_is_believed_at_once() -> None:
    """A clock that was put right."""
    machine = FakeMachine()
    line = begin(None, machine())
    machine.is_set(minutes=9)
    assert advance(line, machine()).at == NOON + timedelta(minutes=9)


def test_a_suspend_is_no_leap() -> None:
    """BOOTTIME goes on during it."""
    machine = FakeMachine()
    line = begin(None, machine())
    machine.sleeps(days=3)
    line = advance(line, machine())
    assert (line.at, line.doubt) == (NOON + timedelta(days=3), None)


def test_a_leap_is_doubted_until_the_network_agrees() -> None:
    """And then the time leaps too."""
    machine = FakeMachine()
    line = begin(None, machine())
    machine.is_set(hours=2)
    line = advance(line, machine())
    assert line.doubt is not None
    assert (line.at, line.doubt.claimed) == (NOON, NOON + 2 * HOUR)
    line = settle(line, machine(), NOON + 2 * HOUR)
    assert (line.at, line.doubt) == (NOON + 2 * HOUR, None)


def test_a_leap_that_the_network_contradicts_is_never_followed() -> None:
    """Nor asked about again, however long it stays."""
    machine = FakeMachine()
    line = begin(None, machine())
    machine.is_set(hours=2)
    line = settle(advance(line, machine()), machine(), NOON)
    machine.passes(hours=7)
    line = advance(line, machine())
    assert (line.at, line.doubt) == (NOON + 7 * HOUR, None)
    machine.is_set(hours=5)
    line = advance(line, machine())
    assert line.doubt is not None, "another leap is another question"


def test_a_leap_that_nobody_can_judge_is_believed_after_an_hour() -> None:
    """The one exception to promise 2 has an end."""
    machine = FakeMachine()
    line = begin(None, machine())
    machine.is_set(hours=2)
    line = settle(advance(line, machine()), machine(), None)
    assert line.doubt is not None
    machine.passes(seconds=HOLD.total_seconds() - 1)
    assert settle(line, machine(), None).doubt is not None
    machine.passes(seconds=1)
    assert settle(line, machine(), None) == Timeline(NOON + 3 * HOUR, machine().up_s)


def test_a_leap_that_goes_away_by_itself_leaves_nothing_behind() -> None:
    """The clock was put right again before anybody answered."""
    machine = FakeMachine()
    line = begin(None, machine())
    machine.is_set(hours=2)
    line = advance(line, machine())
    machine.is_set(hours=-2)
    machine.passes(seconds=5)
    assert advance(line, machine()) == Timeline(NOON + timedelta(seconds=5), machine().up_s)


def test_a_network_that_says_more_than_a_wall_clock_ahead_moves_nothing_further() -> None:
    """One lying node must not end every lease."""
    machine = FakeMachine()
    line = begin(None, machine())
    machine.is_set(hours=2)
    line = settle(advance(line, machine()), machine(), NOON + timedelta(days=9999))
    assert line.at == NOON + 2 * HOUR


def test_within_one_boot_a_new_process_goes_on_where_the_last_one_was() -> None:
    """A clock that was set back while no daemon ran does not give leases more time."""
    machine = FakeMachine()
    before = kept(begin(None, machine()))
    machine.passes(hours=2)
    machine.is_set(hours=-5)
    assert begin(before, machine()).at == NOON + 2 * HOUR


def test_a_leap_while_no_daemon_ran_is_doubted_at_the_start() -> None:
    """Any leap, whoever watched."""
    machine = FakeMachine()
    before = kept(begin(None, machine()))
    machine.is_set(hours=2)
    line = begin(before, machine())
    assert line.at == NOON
    assert line.doubt is not None


def test_a_night_off_is_believed_and_a_week_off_is_asked_about() -> None:
    """After another boot nothing on the machine can tell how long it was."""
    for days, doubted in ((0.9, False), (7, True)):
        machine = FakeMachine()
        before = kept(begin(None, machine()))
        machine.boots(NOON + timedelta(days=days))
        line = begin(before, machine())
        assert (line.doubt is not None) is doubted
        assert line.at == (NOON if doubted else machine().wall)
        assert settle(line, machine(), machine().wall).at == machine().wall


def test_a_start_in_1970_goes_on_from_what_was_kept_and_asks_the_network() -> None:
    """An empty battery: no lease gets fifty years, and what ended meanwhile ends when the network says so."""
    machine = FakeMachine()
    before = kept(begin(None, machine()))
    machine.boots(IN_1970)
    line = begin(before, machine())
    assert line.at == NOON
    machine.passes(minutes=1)
    line = settle(line, machine(), NOON + 50 * HOUR)
    assert line.at == NOON + 50 * HOUR
    machine.passes(hours=1)
    line = advance(line, machine())
    assert (line.at, line.doubt) == (NOON + 51 * HOUR, None)


def test_a_start_in_1970_that_is_put_right_by_hand_is_confirmed_like_any_leap() -> None:
    """From 1970 to now is a leap, too."""
    machine = FakeMachine()
    before = kept(begin(None, machine()))
    machine.boots(IN_1970)
    line = begin(before, machine())
    machine.is_set(seconds=(NOON + 3 * HOUR - IN_1970).total_seconds())
    line = advance(line, machine())
    assert line.doubt is not None
    assert settle(line, machine(), NOON + 3 * HOUR).at == NOON + 3 * HOUR


def test_a_first_start_in_1970_is_no_time_to_trust() -> None:
    """Nothing was kept, but the project is younger."""
    machine = FakeMachine()
    machine.boots(IN_1970)
    line = begin(None, machine())
    assert line.doubt is not None
    assert settle(line, machine(), NOON).at == NOON


def test_a_kept_time_that_two_sources_contradict_is_dropped_after_another_boot() -> None:
    """It had been kept by a clock that was wrong."""
    machine = FakeMachine()
    before = kept(Timeline(NOON + timedelta(days=4000), 1000.0))
    machine.boots(NOON)
    line = begin(before, machine())
    assert line.doubt is not None
    assert settle(line, machine(), NOON).at == NOON


STEPS = st.one_of(
    st.tuples(st.just("passes"), st.floats(0, 10_000)),
    st.tuples(st.just("sleeps"), st.floats(0, 100_000)),
    st.tuples(st.just("is_set"), st.floats(-1_000_000, 1_000_000)),
    st.tuples(st.just("settle"), st.none() | st.floats(-1_000_000, 1_000_000)),
)


@given(st.lists(STEPS, max_size=40))
def test_within_a_process_time_never_goes_back_nor_slower_than_boottime(
    steps: list[tuple[str, float | None]],
) -> None:
    """Whatever is done to the clocks, and whatever the network says."""
    machine = FakeMachine()
    line = begin(None, machine())
    for what, value in steps:
        before, up_s = line.at, line.up_s
        if what == "settle":
            network = None if value is None else machine().wall + timedelta(seconds=value)
            line = settle(line, machine(), network)
        else:
            getattr(machine, what)(seconds=value)
            line = advance(line, machine())
        # Datetimes count in whole microseconds.
        assert line.at - before >= timedelta(seconds=line.up_s - up_s - 2e-6)
