"""When creates stop for a while, and how they begin again."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from aleph_agentd.domain.breaker import LONGEST_PAUSE, PAUSE, TRIAL, WINDOW, Breaker, Failure
from support.clock import NOON

MINUTE = timedelta(minutes=1)


def fails(breaker: Breaker, at: datetime, place: str = "crn-1", times: int = 1) -> None:
    """Count failures at one instant."""
    for _ in range(times):
        breaker.failed(Failure(at, place, "refused"))


def test_it_opens_at_the_limit_and_not_before() -> None:
    """Two failures are bad luck, three a pattern."""
    breaker = Breaker(3)
    fails(breaker, NOON, times=2)
    assert breaker.open_until(NOON) is None
    fails(breaker, NOON + MINUTE)
    assert breaker.open_until(NOON + MINUTE) == NOON + MINUTE + PAUSE
    assert breaker.open_until(NOON + MINUTE + PAUSE) is None


def test_failures_far_apart_are_no_pattern() -> None:
    """Only what lies in the window counts."""
    breaker = Breaker(3)
    for number in range(10):
        at = NOON + number * (WINDOW / 2 + MINUTE)
        fails(breaker, at)
        assert breaker.open_until(at) is None


def test_a_success_in_between_begins_the_count_anew() -> None:
    """In a row means in a row."""
    breaker = Breaker(3)
    fails(breaker, NOON, times=2)
    breaker.succeeded()
    fails(breaker, NOON, times=2)
    assert breaker.open_until(NOON) is None


def test_failures_on_one_place_do_not_stop_all_places() -> None:
    """The global one wants to have seen several."""
    breaker = Breaker(6, places=2)
    fails(breaker, NOON, times=6)
    assert breaker.open_until(NOON) is None
    fails(breaker, NOON, place="crn-2")
    assert breaker.open_until(NOON) == NOON + PAUSE


def test_after_the_pause_one_trial_is_let_in_at_a_time() -> None:
    """A trial that never tells makes room for another."""
    breaker = Breaker(3)
    fails(breaker, NOON, times=3)
    later = NOON + PAUSE
    breaker.began(later)
    assert breaker.open_until(later) == later + TRIAL
    assert breaker.open_until(later + TRIAL) is None


def test_a_trial_that_fails_opens_it_for_twice_as_long_and_one_that_works_closes_it() -> None:
    """Up to an hour."""
    breaker, at = Breaker(3), NOON
    fails(breaker, at, times=3)
    for pause in (2 * PAUSE, 4 * PAUSE, LONGEST_PAUSE, LONGEST_PAUSE):
        at = breaker.open_until(at) or at
        breaker.began(at)
        fails(breaker, at)
        assert breaker.open_until(at) == at + pause
    at += LONGEST_PAUSE
    breaker.began(at)
    breaker.succeeded()
    assert breaker.open_until(at) is None
    fails(breaker, at, times=2)
    assert breaker.open_until(at) is None


def test_what_was_under_way_when_it_opened_does_not_lengthen_the_pause() -> None:
    """Those creates began before anybody knew."""
    breaker = Breaker(3)
    fails(breaker, NOON, times=8)
    assert breaker.open_until(NOON) == NOON + PAUSE


@given(st.lists(st.tuples(st.sampled_from(["fail", "succeed", "begin"]), st.integers(0, 3000)), max_size=60))
def test_it_never_stays_open_for_longer_than_the_longest_pause(steps: list[tuple[str, int]]) -> None:
    """Whatever happened, creates get another chance within an hour."""
    breaker, at = Breaker(3), NOON
    for what, seconds in steps:
        at += timedelta(seconds=seconds)
        match what:
            case "fail":
                fails(breaker, at)
            case "succeed":
                breaker.succeeded()
            case _:
                breaker.began(at)
        until = breaker.open_until(at)
        assert until is None or at < until <= at + LONGEST_PAUSE
        assert len(breaker.seen) <= 3
