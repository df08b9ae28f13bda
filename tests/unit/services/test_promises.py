"""The promises of design.md under everything at once: a daemon in simulated time, and Hypothesis as its fate."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from aleph_agentd.domain.caller import Caller
from aleph_agentd.domain.model import LEASED, LIVE, Vm, VmState
from aleph_agentd.ports import MessageStatus
from support.estate import Estate
from support.fake_network import CrnMood
from support.simulated_network import CCN_CALLS, CRN_CALLS
from support.world import ALICE, BOB, HUMAN, KEY

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
FATES = settings(
    max_examples=int(os.environ.get("EXAMPLES", "2000" if LONG else "25")),
    stateful_step_count=40 if LONG else 30,
    derandomize=not LONG,
    database=None,
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
"""The same fates in every run of the suite; `HYPOTHESIS_PROFILE=long` draws new and longer ones."""

_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
WHICH = st.integers(0, 7)
MOMENTS = st.sampled_from([0.02, 0.07, 0.12, 0.27, 0.5, 1, 5, 30, 120])
"""How long an agent's call runs before the next thing happens: mostly not to its end."""
RUNNING = precondition(lambda self: self.estate.life is not None)
DEAD = precondition(lambda self: self.estate.life is None)
FAULTS = st.one_of(
    st.tuples(st.just("calls"), st.sampled_from([*CCN_CALLS, *CRN_CALLS]), st.integers(1, 4), st.booleans()),
    st.tuples(st.just("flaky"), st.integers(0, 9)),
    st.tuples(st.just("flaky"), st.integers(10, 19)),
    st.tuples(st.just("ccn"), st.booleans()),
    st.tuples(st.just("crn"), st.integers(0, 3), st.sampled_from(get_args(CrnMood))),
    st.tuples(st.just("next"), st.sampled_from(["processed", "pending", "rejected"])),
    st.tuples(st.just("balance"), st.sampled_from([0, 400_000, 100_000_000])),
    st.tuples(st.just("price"), st.sampled_from(["0.5", "1.03", "2"])),
    st.tuples(st.just("slow boot"), st.booleans()),
    st.tuples(st.just("heal")),
)
"""What goes wrong with the network from now on, for some calls or until it is healed."""
DRIFTS = {
    "another CCN takes what was refused": (["rejected", "pending"], "processed"),
    "a CCN was put back: what was forgotten is there": (["forgotten", "removed"], "processed"),
    "the payer forgets it": (["processed", "removing"], "forgotten"),
    "the credits run out": (["processed"], "removing"),
    "… and nobody tops up": (["removing"], "removed"),
}
"""What becomes of messages without our doing: from one of these statuses to that."""


@pytest.fixture(autouse=True)
def short_pauses() -> None:
    """The pauses of production: time is simulated."""


@pytest.fixture(autouse=True)
def nothing_blocks() -> None:
    """The database is in the loop's own thread here."""


class Fates(RuleBasedStateMachine):
    """Everything that agents, people, machines and the network may do to a daemon, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.estate = Estate(Path(tempfile.mkdtemp(prefix="estate-", dir=_MEMORY)))
        self.requests: list[dict[str, Any]] = []

    @initialize(vms=st.sampled_from([0, 1, 1, 2]))
    def begin(self, vms: int) -> None:
        """Some agents have their VM already."""
        self.estate.start()
        for number in range(vms):
            self.create(f"early-{number}", ALICE, [1, 23][number], 1, True, 60)

    def teardown(self) -> None:
        """Whatever happened: in the end nothing is left, and everything is paid for."""
        try:
            if not self.estate.promises.broken:
                self.estate.end()
        finally:
            self.estate.close()

    @invariant()
    def promises_hold(self) -> None:
        """After every step."""
        self.estate.check()

    def _pick(self, which: int, states: Iterable[VmState]) -> Vm | None:
        fitting = [vm for vm in self.estate.rows() if vm.state in states]
        return fitting[which % len(fitting)] if fitting else None

    # ------------------------------------------------------------------ agents; their call starts the daemon

    @rule(
        name=st.sampled_from(["box", "web"]),
        caller=st.sampled_from([ALICE, BOB]),
        ttl=st.sampled_from([0.2, 1, 4, 23]),
        units=st.sampled_from([1, 1, 4]),
        key=st.booleans(),
        moment=MOMENTS,
    )
    def create(self, name: str, caller: Caller, ttl: float, units: int, key: bool, moment: float) -> None:
        """An agent asks for a VM."""
        request = {"name": name, "ttl_hours": ttl, "compute_units": units, "ssh_pubkey": KEY}
        sent = {"caller": caller, "key": f"k{len(self.requests)}" if key else None, **request}
        self.requests.append(sent)
        self.estate.call("aleph_create_vm", **sent)
        self.estate.pass_time(moment)

    @precondition(lambda self: self.requests)
    @rule(which=WHICH, moment=MOMENTS)
    def ask_again(self, which: int, moment: float) -> None:
        """A shim sends an unanswered request again; also after a restart."""
        self.estate.call("aleph_create_vm", **self.requests[-1 - which % len(self.requests)])
        self.estate.pass_time(moment)

    @rule(which=WHICH, hours=st.sampled_from([0.1, 1, 6]), moment=MOMENTS)
    def extend(self, which: int, hours: float, moment: float) -> None:
        """An agent wants more time, perhaps too late."""
        if vm := self._pick(which, [*LEASED, VmState.DESTROYING]):
            self.estate.call("aleph_extend_vm", owner(vm), item_hash=vm.item_hash, additional_hours=hours)
            self.estate.pass_time(moment)

    @rule(which=WHICH, moment=MOMENTS)
    def destroy(self, which: int, moment: float) -> None:
        """An agent is done, or never wanted it."""
        if vm := self._pick(which, LIVE):
            self.estate.promises.destroyed.add(vm.item_hash)
            self.estate.call("aleph_destroy_vm", owner(vm), item_hash=vm.item_hash)
            self.estate.pass_time(moment)

    # ------------------------------------------------------------------ time

    @rule(seconds=st.sampled_from([0.05, 1, 15, 60, 300, 1900]))
    def time_passes(self, seconds: float) -> None:
        """With the alarms that come due, and the sweeps."""
        self.estate.pass_time(seconds)

    @rule(hours=st.sampled_from([0.02, 0.15, 1, 5, 25, 200]))
    def machine_sleeps(self, hours: float) -> None:
        """Suspended, or switched off."""
        self.estate.sleep(hours=hours)

    # ------------------------------------------------------------------ the daemon

    @RUNNING
    @rule(after=MOMENTS, lost=st.sampled_from([False, False, False, True]))
    def crash(self, after: float, lost: bool) -> None:
        """SIGKILL; and perhaps somebody deletes the database."""
        self.estate.pass_time(after)
        self.estate.crash()
        if lost:
            self.estate.lose_inventory()
            self.requests.clear()

    @DEAD
    @rule(moment=MOMENTS)
    def restart(self, moment: float) -> None:
        """The next life over the same database."""
        self.estate.start()
        self.estate.pass_time(moment)

    @rule()
    def rest(self) -> None:
        """The storm is over for a while."""
        self.estate.rest()

    # ------------------------------------------------------------------ the network

    @rule(fault=FAULTS)
    def network_goes_wrong(self, fault: tuple[Any, ...]) -> None:
        """Calls or their answers are lost; a CCN or a CRN is away, refuses, or lies; money and prices move."""
        self.estate.network.suffers(*fault)

    @rule(which=WHICH, drift=st.sampled_from(sorted(DRIFTS)))
    def message_drifts(self, which: int, drift: str) -> None:
        """Another node, the payer, or the network itself decides otherwise."""
        network, outside = self.estate.network, self.estate.promises.outside
        before, after = DRIFTS[drift]
        if fitting := [item for item in network.ours() if network.statuses[item] in before]:
            item_hash = fitting[which % len(fitting)]
            network.statuses[item_hash] = MessageStatus(after)
            (outside.revived if after == "processed" else outside.ended).add(item_hash)

    @rule(which=WHICH)
    def something_arrives_late(self, which: int) -> None:
        """Bytes that were given up on reach a CCN; an old notify reaches its CRN again, and the VM starts."""
        network = self.estate.network
        if lost := network.in_transit():
            message = lost[which % len(lost)]
            self.estate.promises.outside.revived.add(message.item_hash)
            self.estate.loop.run_until_complete(network.arrives(message))
        vm = self._pick(which, [VmState.DESTROYING, VmState.GONE])
        if vm and vm.verified_at is None and vm.item_hash in network.notified:
            network.pools[vm.crn_url].add(vm.item_hash)


def owner(vm: Vm) -> Caller:
    """Who may act on it."""
    return next((caller for caller in (ALICE, BOB) if caller.session == vm.session), HUMAN)


@pytest.mark.timeout(36_000 if LONG else 300)
def test_the_promises_hold_whatever_happens_in_whatever_order() -> None:
    """Promises 1, 2, 3 and 5 after every step, and everything settled at rest."""
    run_state_machine_as_test(Fates, settings=FATES)
