"""A Hypothesis state machine: everything that agents, people, machines and the network may do to a daemon."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from aleph_agentd.domain.caller import Caller, Peer
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
LOOKS = st.sampled_from([0.3, 1, 5])
"""How soon after a scene it is looked what came of it."""
LAST_MOMENTS = st.sampled_from([0.15, 0.3, 0.3])
ASLEEP = st.sampled_from([0, 0.02, 2, 2])
FORGET_FATES = [
    ("swallows", 1),
    ("swallows", 1),
    ("swallows", 3),
    ("calls", "post", 1, False),
    ("calls", "post", 1, True),
]
RUNNING = precondition(lambda self: self.estate.life is not None)
DEAD = precondition(lambda self: self.estate.life is None)
FROZEN = precondition(lambda self: self.estate.frozen)
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


class Fates(RuleBasedStateMachine):
    """Everything that agents, people, machines and the network may do to a daemon, in any order."""

    ran = 0
    """VMs that came to life, in all fates: a machine in which nothing lives proves nothing."""

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
                Fates.ran += sum(vm.running_at is not None for vm in self.estate.rows())
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
            self.destroy_this(vm)
            self.estate.pass_time(moment)

    # ------------------------------------------------------------------ scenes: where it is most likely to go wrong

    def _in_fair_weather(self) -> None:
        """Nothing else is wrong, so that what the scene is about can happen."""
        if self.estate.life is None:
            self.estate.start()
        self.estate.network.suffers("heal")
        self.estate.network.suffers("balance", 100_000_000)
        self.estate.pass_time(1)
        self.estate.unfreeze()

    def _one_that_runs(self, which: int) -> Vm | None:
        if vm := self._pick(which, [VmState.RUNNING]):
            return vm
        self.create(f"scene-{len(self.requests)}", ALICE, 1, 1, False, 3)
        return self._pick(which, [VmState.RUNNING])

    @rule(which=WHICH, fate=st.sampled_from(FORGET_FATES), by_lease=st.booleans(), seconds=LOOKS)
    def a_forget_goes_astray(self, which: int, fate: tuple[Any, ...], by_lease: bool, seconds: float) -> None:
        """A VM ends, and exactly its FORGET is swallowed, lost, or takes effect unseen."""
        if vm := self._one_that_runs(which):
            self.estate.network.suffers(*fate)
            if by_lease:
                self.estate.wake_before_the_end(vm, 0.2)
            else:
                self.destroy_this(vm)
            self.estate.pass_time(seconds)

    @rule(which=WHICH, mood=st.sampled_from(["keeps_listing", "refuses_erase", "silent"]), seconds=LOOKS)
    def a_crn_does_not_erase(self, which: int, mood: CrnMood, seconds: float) -> None:
        """A VM ends, and its CRN holds on to it."""
        if vm := self._one_that_runs(which):
            self.estate.network.crn_does[vm.crn_hash] = mood
            self.destroy_this(vm)
            self.estate.pass_time(seconds)

    @rule(
        call=st.sampled_from(["admit", "post", "post", "post", "status", "notify", "notify", "execution"]),
        what=st.sampled_from(["destroy", "destroy", "freeze", "freeze", "panic"]),
        lost=st.sampled_from([True, True, False]),
        seconds=LOOKS,
    )
    def a_create_is_interrupted(self, call: str, what: str, lost: bool, seconds: float) -> None:
        """Somebody changes their mind in the middle of one of its calls."""
        self._in_fair_weather()
        self.estate.interrupt(call, what, lost=lost)
        self.create(f"scene-{len(self.requests)}", BOB, 1, 1, False, 3 + seconds)
        self.estate.network.interruption = None

    @rule(again=st.booleans())
    def what_was_refused_is_taken_elsewhere(self, again: bool) -> None:
        """A create is rejected, proven so, and then another CCN takes the very bytes."""
        network = self.estate.network
        network.suffers("heal")
        network.suffers("next", "rejected")
        before = set(network.ours())
        self.create(f"scene-{len(self.requests)}", ALICE, 4, 1, False, 5)
        network.suffers("next", "processed")
        for item in set(network.ours()) - before:
            if again:
                self.estate.pass_time(1900)
            if network.statuses[item] is MessageStatus.REJECTED:
                network.statuses[item] = MessageStatus.PROCESSED
                self.estate.promises.outside.revived.add(item)
        self.estate.pass_time(2)

    @rule(before=LAST_MOMENTS, meanwhile=st.sampled_from([0.02, 0.02, 0.07, 0.12]), hours=ASLEEP)
    def extend_at_the_very_end(self, before: float, meanwhile: float, hours: float) -> None:
        """An extension is under way when the lease ends, or the machine is suspended until long after that."""
        self._in_fair_weather()
        self._one_that_runs(0)
        if running := [vm for vm in self.estate.rows() if vm.state is VmState.RUNNING]:
            vm = min(running, key=lambda one: one.expires_at)
            self.estate.wake_before_the_end(vm, before)
            asked = {"item_hash": vm.item_hash, "additional_hours": 0.1}
            self.estate.call("aleph_extend_vm", owner(vm), **asked)
            self.estate.pass_time(meanwhile)
            self.estate.sleep(hours=hours)

    @rule(
        minutes=st.sampled_from([1, 25, 25, 25]),
        ends=st.sampled_from([False, False, True]),
        seconds=st.sampled_from([0.3, 1000, 1000, 1000]),
    )
    def a_node_does_not_know_it(self, minutes: float, ends: bool, seconds: float) -> None:
        """Whoever answers for a while is behind: a 404 is not gone."""
        self._in_fair_weather()
        for _ in range(2):  # a listing of nothing would say nothing
            self.create(f"scene-{len(self.requests)}", BOB, 1, 1, False, 3)
        self.estate.sleep(hours=0.3)  # sweeps look at none that is young
        self.estate.check()  # what was not seen to run cannot be missed
        running = [vm for vm in self.estate.rows() if vm.state is VmState.RUNNING]
        if running and running[-1].item_hash not in self.estate.network.denied:
            self.estate.network.deny(running[-1].item_hash, minutes)
            if ends:
                self.destroy_this(running[-1])
            self.estate.pass_time(seconds)

    @rule(
        ttl=st.sampled_from([11, 11, 12]),
        sessions=st.sampled_from([1, 3]),
        new_day=st.sampled_from([True, True, False]),
    )
    def many_want_much_at_once(self, ttl: float, sessions: int, new_day: bool) -> None:
        """Three creates, each for half of all that may be spent in a day, by as many new sessions or by one."""
        self._in_fair_weather()
        if new_day:  # what was spent before leaves no room
            self.estate.sleep(hours=25)
            self.estate.pass_time(5)
        first = len(self.requests)
        for number in range(first, first + 3):
            peer = first + number % sessions
            caller = Caller(f"session-{peer}", Peer(1000, peer), project="/home/you/many", client="pytest")
            self.create(f"dear-{number}", caller, ttl, 2, False, 0)
        self.estate.pass_time(2)

    def destroy_this(self, vm: Vm) -> None:
        """Its owner is done with it."""
        self.estate.promises.destroyed.add(vm.item_hash)
        self.estate.call("aleph_destroy_vm", owner(vm), item_hash=vm.item_hash)

    # ------------------------------------------------------------------ people

    @RUNNING
    @rule(what=st.sampled_from(["freeze", "freeze", "panic"]))
    def a_human_stops_it(self, what: str) -> None:
        """The buttons."""
        getattr(self.estate, what)()

    @FROZEN
    @rule()
    def a_human_lifts_it(self) -> None:
        """And goes on."""
        self.estate.unfreeze()

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
            network.resurrected.add(vm.item_hash)
            network.pools[vm.crn_url].add(vm.item_hash)


def owner(vm: Vm) -> Caller:
    """Who may act on it."""
    return next((caller for caller in (ALICE, BOB) if caller.session == vm.session), HUMAN)
