"""When a row needs attention, and in which order."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aleph_agentd.domain import leases
from aleph_agentd.domain.model import LEASED, Vm, VmState
from support.inventory import HOUR, NOW, a_vm

MINUTE = timedelta(minutes=1)
ROWS = st.lists(
    st.builds(
        lambda state, minutes, rate, forgotten: a_vm(
            minutes,
            state=state,
            expires_at=NOW + minutes * MINUTE,
            destroy_at=NOW,
            rate=Decimal(rate),
            ended_at=NOW if state in (VmState.GONE, VmState.FAILED) else None,
            forgotten_at=NOW if forgotten else None,
        ),
        st.sampled_from(list(VmState)),
        st.integers(-300, 300),
        st.integers(1, 50),
        st.booleans(),
    ),
    max_size=20,
)


@pytest.mark.parametrize(
    ("vm", "at"),
    [
        (a_vm(state=VmState.INTENDED), NOW + HOUR),
        (a_vm(state=VmState.PROVISIONING), NOW + HOUR),
        (a_vm(state=VmState.RUNNING), NOW + HOUR),
        (a_vm(state=VmState.RUNNING, next_attempt_at=NOW), NOW + HOUR),
        (a_vm(state=VmState.DESTROYING, destroy_at=NOW), NOW),
        (a_vm(state=VmState.DESTROYING, destroy_at=NOW, next_attempt_at=NOW + MINUTE), NOW + MINUTE),
        (a_vm(state=VmState.DESTROYING), NOW + HOUR),
        (a_vm(state=VmState.GONE, ended_at=NOW), NOW + 5 * MINUTE),
        (a_vm(state=VmState.GONE, ended_at=NOW, next_attempt_at=NOW + HOUR), NOW + HOUR),
        (a_vm(state=VmState.GONE, ended_at=NOW, verified_at=NOW), None),
        (a_vm(state=VmState.GONE), None),
        (a_vm(state=VmState.FAILED, ended_at=NOW), None),
    ],
)
def test_each_state_names_the_instant_of_its_next_look(vm: Vm, at: datetime | None) -> None:
    """A lease's end; a teardown's next attempt; five minutes after the end, once; then never."""
    assert leases.due_at(vm) == at


@pytest.mark.parametrize("state", sorted(LEASED))
def test_a_lease_is_due_at_its_very_end_and_not_before(state: VmState) -> None:
    """Not a microsecond early, not one late."""
    vm = a_vm(state=state)
    assert leases.due([vm], vm.expires_at - timedelta(microseconds=1)) == []
    assert leases.due([vm], vm.expires_at) == [vm]


def test_what_may_be_billed_comes_first_then_leases_then_the_dearest() -> None:
    """Under a backlog the most expensive mistake is ended first."""
    past = {"expires_at": NOW - HOUR, "destroy_at": NOW - HOUR}
    cheap = a_vm("cheap", state=VmState.RUNNING, rate=Decimal(1), **past)
    dear = a_vm("dear", state=VmState.RUNNING, rate=Decimal(8), **past)
    retry = a_vm("retry", state=VmState.DESTROYING, rate=Decimal(9), **past)
    erasing = a_vm("erasing", state=VmState.DESTROYING, rate=Decimal(10), forgotten_at=NOW, **past)
    gone = a_vm("gone", state=VmState.GONE, rate=Decimal(11), ended_at=NOW - HOUR)
    rows = [gone, erasing, retry, cheap, dear]
    assert [vm.name for vm in leases.due(rows, NOW)] == [
        "vm-dear",
        "vm-cheap",
        "vm-retry",
        "vm-gone",
        "vm-erasing",
    ]


@given(ROWS)
def test_due_is_exactly_what_has_come_and_ordered_by_urgency(rows: list[Vm]) -> None:
    """Nothing due is left out, nothing else is in."""
    due = leases.due(rows, NOW)
    ripe = [vm for vm in rows if (at := leases.due_at(vm)) is not None and at <= NOW]
    assert sorted(map(id, due)) == sorted(map(id, ripe))
    assert [leases.urgency(vm) for vm in due] == sorted(leases.urgency(vm) for vm in due)


@given(ROWS)
def test_the_next_deadline_is_never_past_and_hides_nothing(rows: list[Vm]) -> None:
    """At the next deadline something is due; before it nothing new becomes due."""
    deadline = leases.next_deadline(rows, NOW)
    instants = [at for vm in rows if (at := leases.due_at(vm)) is not None]
    if deadline is None:
        assert not instants
        return
    assert deadline >= NOW
    assert leases.due(rows, deadline)
    if deadline > NOW:
        assert not leases.due(rows, deadline - timedelta(microseconds=1))


@given(st.integers(-5, 10**6), st.floats(0, 1))
def test_backoff_stays_between_eight_seconds_and_72_minutes(attempts: int, jitter: float) -> None:
    """However often it failed, and whatever the dice say."""
    assert timedelta(seconds=8) <= leases.backoff(attempts, jitter) <= timedelta(minutes=72)


def test_backoff_doubles_from_ten_seconds_to_an_hour() -> None:
    """10 s, 20 s, … 1 h, with ± 20 %."""
    pauses = [leases.backoff(attempts, 0.5).total_seconds() for attempts in range(1, 12)]
    assert pauses == pytest.approx([10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600])
    assert leases.backoff(1, 0).total_seconds() == pytest.approx(8)
    assert leases.backoff(1, 1).total_seconds() == pytest.approx(12)
