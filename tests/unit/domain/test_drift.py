"""A day of charges against a day of our books: a billing quantum explains what it can, and nothing else does."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aleph_agentd.domain.drift import Line, compare, whole_lives
from aleph_agentd.domain.model import Expense, Vm
from support.inventory import HOUR, NOW, a_vm

HOURLY = 14_250


def _vm(hours_ago: float, ended: float | None = None, seed: int = 1, **fields: Any) -> Vm:
    gone = None if ended is None else NOW - ended * HOUR
    return a_vm(seed, broadcast_at=NOW - hours_ago * HOUR, forgotten_at=gone, **fields)


def _booked(vm: Vm, units: int, hours_ago: float = 1.0, n: int = 0) -> Expense:
    return Expense(f"{vm.item_hash}.{n}", NOW - hours_ago * HOUR, vm.item_hash, units)


@pytest.mark.parametrize(
    ("told", "off"),
    [
        (4 * HOURLY, 0),
        (5 * HOURLY, 0),
        (5 * HOURLY + 1, 1),
        (3 * HOURLY, 0),
        (3 * HOURLY - 1, 1),
        (0, 3 * HOURLY),
        (100 * HOURLY, 95 * HOURLY),
    ],
)
def test_a_quantum_more_or_less_is_explained_and_no_more(told: int, off: int) -> None:
    """Of a VM that ran for four hours and has ended."""
    vm = _vm(8, 4)
    [line] = compare([vm], [_booked(vm, told)], NOW).lines
    assert (line.ours, line.told, line.off) == (4 * HOURLY, told, off)


@pytest.mark.parametrize(("off", "drifts"), [(5, False), (6, True)])
def test_five_percent_beyond_that_is_drift(off: int, drifts: bool) -> None:
    """Exactly five is none yet."""
    assert Line("h", "n", 100, 0, off).drifts is drifts


def test_what_arose_in_the_last_hour_may_be_booked_later() -> None:
    """A running VM's history lags; a quantum may be missing on top of it."""
    vm = _vm(10)
    assert compare([vm], [_booked(vm, 8 * HOURLY)], NOW).off == 0
    assert compare([vm], [_booked(vm, 8 * HOURLY - 1)], NOW).off == 1


def test_only_the_last_day_counts() -> None:
    """Of VMs that began before it too."""
    vm = _vm(100)
    old = _booked(vm, 10**9, hours_ago=24.0)
    seen = compare([vm], [old, _booked(vm, 24 * HOURLY)], NOW)
    assert (seen.ours, seen.told, seen.off) == (24 * HOURLY, 24 * HOURLY, 0)


def test_what_is_too_young_or_not_told_says_nothing() -> None:
    """The second kind is counted, so that people see it."""
    young, silent = _vm(0.9, seed=1), _vm(5, seed=2)
    seen = compare([young, silent], [_booked(young, 10**9)], NOW)
    assert (seen.lines, seen.untold, seen.drifts) == ((), 1, False)


def test_too_much_here_does_not_make_up_for_too_little_there() -> None:
    """Two wrongs are drift."""
    one, two = _vm(20, 2, seed=1), _vm(20, 2, seed=2)
    seen = compare([one, two], [_booked(one, 28 * HOURLY), _booked(two, 8 * HOURLY)], NOW)
    assert seen.ours == seen.told
    assert seen.drifts
    assert [line.item_hash for line in seen.worst] == [one.item_hash, two.item_hash]


def test_a_whole_life_is_known_only_of_what_began_and_ended_within_what_was_asked() -> None:
    """The late difference is booked for those alone."""
    over, running, older = _vm(5, 2, seed=1), _vm(5, seed=2), _vm(50, 2, seed=3)
    rows = [over, running, older]
    booked = [_booked(vm, n, n=n) for vm in rows for n in (1, 2)]
    assert whole_lives(rows, booked, NOW - 24 * HOUR) == {over.item_hash: 3}


@given(
    st.lists(
        st.tuples(st.integers(0, 40 * 3600), st.integers(0, 40 * 3600), st.integers(0, 3599)), max_size=8
    )
)
def test_a_network_that_books_hour_by_hour_never_drifts(lives: list[tuple[int, int, int]]) -> None:
    """As devnet does: each full hour, the rest at the end, and up to an hour late."""
    vms, booked = [], []
    for seed, (ago, span, lag) in enumerate(lives):
        began = NOW - timedelta(seconds=ago)
        ended = began + timedelta(seconds=span)
        vm = a_vm(seed, broadcast_at=began, forgotten_at=ended if ended <= NOW else None)
        vms.append(vm)
        marks = [began + HOUR * n for n in range(1, 41) if began + HOUR * n < ended] + [ended]
        before = began
        for n, mark in enumerate(marks):
            if mark <= NOW - timedelta(seconds=lag):
                booked.append(
                    Expense(f"{seed}.{n}", mark, vm.item_hash, int((mark - before) / HOUR * HOURLY))
                )
            before = mark
    assert not compare(vms, booked, NOW).drifts
