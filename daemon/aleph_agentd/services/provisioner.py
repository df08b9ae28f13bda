"""Creating VMs: plan, policy, intent on disk, broadcast, notify, address.

The work runs as the daemon's own job. Whoever asked waits for it as long as its patience lasts; when
it is gone, the job goes on.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from ..domain import policy
from ..domain.approvals import Approval
from ..domain.caller import Caller
from ..domain.clock import Clock
from ..domain.errors import Conflict, Refusal, Unavailable
from ..domain.gpu import plain_size
from ..domain.model import LEASED, Exposure, Intent, SignedMessage, Stamp, Vm, VmState
from ..domain.projects import budgets_of
from ..ports import Guests, Inventory, KeyMissing, KeyPair, Market, NetworkTrouble, Signer
from .billing_end import FORGETS_PER_VM
from .birth import Birth, Stillborn
from .freezes import Freezes
from .intents import instance_spec, new_row
from .jobs import Jobs
from .own_key import no_key
from .quotes import CreateRequest, Plan, Planner
from .teardown import Teardown
from .treasury import Treasury, moved_too_far

log = logging.getLogger(__name__)

PATIENCE_S = 45.0
MAX_TRIES = 3
_BILLING_END_S = 30.0
_SAME_LEASE_TOLERANCE = timedelta(minutes=1)


@dataclass
class Order:
    """One create that is being carried out, over several attempts if it must be."""

    caller: Caller
    plan: Plan
    create_id: str
    request_key: str | None
    request_hash: str
    approval: Approval | None = None
    """The human's yes that it is carried out under."""
    tried: list[str] = field(default_factory=list)
    """What happened on each CRN that did not work out, in words."""


class Provisioner:
    """The only way in which VMs come into being."""

    def __init__(
        self,
        inventory: Inventory,
        signer: Signer,
        market: Market,
        treasury: Treasury,
        planner: Planner,
        birth: Birth,
        teardown: Teardown,
        clock: Clock,
        jobs: Jobs,
        freezes: Freezes,
        installation: str,
    ) -> None:
        self._inventory, self._signer, self._market = inventory, signer, market
        self._treasury, self._planner, self._birth, self._teardown = treasury, planner, birth, teardown
        self._clock, self._jobs, self._installation = clock, jobs, installation
        self._freezes = freezes
        self._orders: dict[str, Order] = {}
        self.draining = False
        self.gates = planner.gates
        self.guests: Guests | None = None
        """Makes the key that lets the daemon into each VM; without it, only the renter gets in."""
        self.born: Callable[[Vm], None] = _nothing
        """What is begun with a VM that has come up; it cannot fail."""
        self.ready: Callable[[], Awaitable[None]] = _at_once
        """Waits until this daemon may sign creates; raises the Refusal of one that never may (rules.md 7)."""

    # ------------------------------------------------------------------ asked by tools

    async def create(
        self,
        plan: Plan,
        caller: Caller,
        request_key: str | None,
        request_hash: str,
        approval: Approval | None = None,
    ) -> Order:
        """Start a create. Raises the Refusal of the first attempt's admission; the rest goes on by itself."""
        await self.ready()
        if self.draining:
            raise Unavailable("aleph-agentd is stopping.", "Send the same call again in a few seconds.")
        if self._signer.trouble:
            raise no_key(self._signer.trouble)
        self._freezes.check("create", caller)
        for gate in self.gates:
            gate()
        order = Order(caller, plan, "c-" + secrets.token_hex(8), request_key, request_hash, approval)
        self._orders[order.create_id] = order
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        job = self._jobs.start(f"create:{order.create_id}", lambda: self._carry_out(order, admitted))
        job.add_done_callback(lambda _: self._orders.pop(order.create_id, None))
        await asyncio.wait({admitted, job}, return_when=asyncio.FIRST_COMPLETED)
        if not admitted.done():
            await job  # it raised before it was admitted
        return order

    async def same_vm(self, request: CreateRequest, caller: Caller) -> Vm | None:
        """The live VM that this session already has by this name and plan, with a lease that covers the request."""
        for vm in await self._inventory.find(request.name):
            if vm.name != request.name or vm.state not in LEASED:
                continue
            asked_end = self._clock.now() + timedelta(seconds=request.ttl_s)
            wanted = plain_size(request.compute_units)
            same = not request.gpu and (vm.session, vm.compute_units, vm.memory_mib, vm.os_image) == (
                caller.session,
                wanted.compute_units,
                wanted.memory_mib,
                request.os_image,
            )
            setup = await self._inventory.setup_of(vm.item_hash)
            same = same and request.setup == (setup.script if setup else "")
            ends = (request.idle_minutes, request.save_paths)
            same = same and ends == (vm.idle_minutes, vm.save_paths)
            if same and vm.expires_at + _SAME_LEASE_TOLERANCE >= asked_end:
                return vm
        return None

    async def wait(self, create_id: str, seconds: float) -> Vm:
        """The VM of a create once its job ended or the patience did. Raises its Refusal.

        Between two attempts that is the one that is torn down while its job goes on.
        """
        job = self._jobs.running(f"create:{create_id}")
        if job is not None:
            await asyncio.wait({job}, timeout=seconds)
            if job.done() and not job.cancelled() and (error := job.exception()):
                raise error
        attempts = await self._inventory.attempts_of(create_id)
        if not attempts:
            raise Unavailable("This create never began.", "Call aleph_create_vm again.")
        last = attempts[-1]
        if last.state not in LEASED and last.running_at is None and not self.under_way(create_id):
            # Its job ended before we looked, or in another life of the daemon: a failure all the same.
            raise _failure(last.name, [f"{vm.crn_name or vm.crn_hash[:12]}: {vm.cause}" for vm in attempts])
        return last

    def under_way(self, create_id: str) -> bool:
        """Whether its job still runs."""
        return self._jobs.running(f"create:{create_id}") is not None

    async def ask_again(self, create_id: str) -> None:
        """A known request was sent again: its create goes on, also after a restart of the daemon."""
        attempts = await self._inventory.attempts_of(create_id)
        if attempts and attempts[-1].state in (VmState.INTENDED, VmState.PROVISIONING):
            self._birth.asked(create_id)
            self._jobs.start(f"create:{create_id}", lambda: self._resume(attempts[-1]))

    # ------------------------------------------------------------------ the daemon's own

    async def recover(self) -> None:
        """After a start: every create that was cut is brought to an end, from what the network says."""
        for vm in await self._inventory.page(states=[VmState.INTENDED, VmState.PROVISIONING], limit=10_000):
            self._jobs.start(f"create:{vm.create_id}", lambda vm=vm: self._resume(vm))  # type: ignore[misc]

    async def _resume(self, vm: Vm) -> Vm:
        try:
            born = await self._birth.resume(vm)
            self.born(born)
            return born
        except Stillborn as why:
            await self._bury(vm, why)
            raise Unavailable(
                f"{vm.name} could not be created: {why}.", "Call aleph_create_vm again."
            ) from why

    async def _carry_out(self, order: Order, admitted: "asyncio.Future[None]") -> Vm:
        avoid: frozenset[str] = frozenset()
        while True:
            vm = await self._admit_again(order, avoid) if avoid else await self._admit(order)
            if not admitted.done():
                admitted.set_result(None)
            self._planner.breakers.began(vm.crn_hash)
            try:
                born = await self._birth.run(vm)
                self._planner.breakers.succeeded(vm.crn_hash)
                self.born(born)
                return born
            except Stillborn as why:
                order.tried.append(f"{vm.crn_name or vm.crn_hash[:12]}: {why}")
                avoid |= {vm.crn_hash}
                await self._bury(vm, why)
                again = why.another_crn_may_do and len(order.tried) < MAX_TRIES and not order.plan.request.crn
                if not again or not await self._teardown.billing_end(vm.item_hash, _BILLING_END_S):
                    raise _failure(order.plan.request.name, order.tried) from why

    async def _admit_again(self, order: Order, avoid: frozenset[str]) -> Vm:
        """The next attempt, on the next best CRN; what refuses it is told along with what went before."""
        try:
            order.plan = await self._planner.again(order.plan, order.caller, avoid)
            return await self._admit(order)
        except Refusal as refusal:
            order.tried.append(refusal.message)
            raise _failure(order.plan.request.name, order.tried) from refusal

    async def _bury(self, vm: Vm, why: Stillborn) -> None:
        """Begin to tear down what did not come to life."""
        if why.another_crn_may_do:
            self._planner.breakers.failed(vm, str(why))
        self._teardown.start(await self._teardown.order(vm.item_hash, f"its create failed: {why}"))

    async def _guest_key(self) -> KeyPair:
        # In a thread: the first one loads the SSH library.
        return await asyncio.to_thread(self.guests.new_key) if self.guests else KeyPair("", "")

    async def _admit(self, order: Order) -> Vm:
        """Sign, then commit 1: everything that is needed to track and to end the VM is on disk before it exists."""
        plan, now = order.plan, self._clock.now()
        lease = Stamp(self._installation, secrets.token_hex(16), now + timedelta(seconds=plan.request.ttl_s))
        rootfs = self._market.images()[plan.request.os_image]
        key = await self._guest_key()
        spec = instance_spec(plan, self._treasury.payer, rootfs, lease, key.public)
        try:
            create = await self._signer.sign_instance(spec)
            forgets = await self._signer.sign_forgets(create.item_hash, spec.payer, FORGETS_PER_VM)
        except KeyMissing as missing:
            raise no_key(str(missing)) from missing
        await self._check_estimate(create, plan)
        case = await self._planner.case(plan, order.caller, confirmed=True)
        if order.approval is not None:
            case = replace(case, approved_units=order.approval.units)
        limits = self._treasury.limits_of(order.caller)
        intent = Intent(
            vm=new_row(
                plan, spec, create.item_hash, order.caller, order.create_id, self._signer.address, now
            ),
            create=create,
            forgets=forgets,
            reserve_units=plan.reserve_units,
            request_key=None if order.tried else order.request_key,
            request_hash=order.request_hash,
            approval=order.approval.id if order.approval else "",
            guest_key=key.private,
            setup=plan.request.setup,
        )

        def decide(exposure: Exposure) -> None:
            if order.tried:  # the attempt before holds the name until its CRN has erased it
                exposure = replace(exposure, names=exposure.names - {plan.request.name})
            self._freezes.check("create", order.caller)
            policy.evaluate(case, limits, exposure)

        return await self._inventory.admit(intent, decide, now, budgets_of(limits, case.project))

    async def _check_estimate(self, create: SignedMessage, plan: Plan) -> None:
        try:
            live = await self._market.estimate(create)
        except NetworkTrouble as trouble:
            raise Unavailable(
                f"The network does not say what this VM costs: {trouble}.", "Try again in a minute."
            ) from trouble
        if moved_too_far(plan.rate, live):
            raise Conflict(
                f"The network's own estimate ({live} units/s) is more than 5 % off compute units × price ({plan.rate}).",
                "Nothing was created. Ask again; if it stays so, tell the owner: the network's prices changed.",
                code="estimate_off",
            )


def _nothing(_: Vm) -> None:
    return


async def _at_once() -> None:
    return


def _failure(name: str, tried: list[str]) -> Unavailable:
    return Unavailable(
        f"{name} could not be created. Tried: {'; '.join(tried)}.",
        "Nothing of it stays: what was begun is being torn down (aleph_list_my_vms shows it). Try again, or name another CRN.",
        code="create_failed",
        data={"tried": tried},
    )
