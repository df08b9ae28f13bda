"""Who may work in VMs at a time."""

from contextlib import ExitStack
from itertools import product

import pytest

from aleph_agentd.domain.errors import Conflict
from aleph_agentd.domain.model import Vm
from aleph_agentd.services.turns import MOST_IN_ALL, MOST_IN_ONE, MOST_OF_SESSION, Turns
from support.inventory import a_vm


def _vms(session: str) -> list[Vm]:
    """More of one session than it has turns for."""
    return [a_vm(f"{session}-{number}", session=session) for number in range(MOST_OF_SESSION + 1)]


@pytest.fixture
def turns() -> Turns:
    """All are free."""
    return Turns()


def test_one_vm_has_its_share(turns: Turns) -> None:
    """The others of its session go on; what is given back is there again."""
    vm, other, *_ = _vms("alice")
    with ExitStack() as held:
        for _ in range(MOST_IN_ONE):
            held.enter_context(turns.one(vm))
        with pytest.raises(Conflict) as refused, turns.one(vm):
            pass
        assert (refused.value.code, bool(refused.value.hint)) == ("busy", True)
        with turns.one(other):
            pass
    with turns.one(vm):
        pass


def test_one_session_cannot_take_all(turns: Turns) -> None:
    """However many VMs it has: another session's calls find room."""
    *vms, more = _vms("alice")
    with ExitStack() as held:
        for vm in vms:
            held.enter_context(turns.one(vm))
        with pytest.raises(Conflict, match=f"{MOST_OF_SESSION} of its session"), turns.one(more):
            pass
        with turns.one(a_vm("bob", session="bob")):
            pass
    with turns.one(more):
        pass


def test_all_together_have_a_bound(turns: Turns) -> None:
    """Of many sessions, too."""
    sessions = [_vms(str(number))[0] for number in range(MOST_IN_ALL // MOST_IN_ONE)]
    with ExitStack() as held:
        for vm, _ in product(sessions, range(MOST_IN_ONE)):
            held.enter_context(turns.one(vm))
        with pytest.raises(Conflict, match=f"{MOST_IN_ALL} in all"), turns.one(a_vm("last", session="last")):
            pass


def test_a_call_that_fails_gives_its_turn_back(turns: Turns) -> None:
    """Nothing is counted when nothing runs."""
    vm = a_vm("box")
    for _ in range(MOST_IN_ONE + 1):
        with pytest.raises(ZeroDivisionError), turns.one(vm):
            _ = 1 / 0
    with turns.one(vm):
        pass
