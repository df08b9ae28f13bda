"""Carrying out what a human has approved: exactly that, under every other rule as it is now."""

from ..domain import policy
from ..domain.approvals import Approval
from ..domain.clock import Clock
from ..domain.errors import Conflict, Denied
from ..ports import Inventory
from .adoption import Adoption
from .asked import AdoptRequest, ExtendRequest, caller_of, request_of
from .extender import Extender
from .provisioner import Provisioner
from .publisher import Publisher
from .quotes import CreateRequest, Planner
from .treasury import Treasury


class Dearer(Exception):
    """It would cost more by now than the human agreed to."""

    def __init__(self, case: policy.Case) -> None:
        super().__init__("dearer than approved")
        self.case = case


class Executor:
    """Turns an approval into a create, an extension or an adoption of its session."""

    def __init__(
        self,
        inventory: Inventory,
        treasury: Treasury,
        planner: Planner,
        provisioner: Provisioner,
        extender: Extender,
        adoption: Adoption,
        publisher: Publisher,
        clock: Clock,
    ) -> None:
        self._inventory, self._treasury, self._planner = inventory, treasury, planner
        self._provisioner, self._extender, self._clock = provisioner, extender, clock
        self._adoption, self._publisher = adoption, publisher

    def check_policy(self, approval: Approval) -> None:
        """Denied when the owner's limits are not the ones that it was asked under."""
        if approval.policy_version != self._treasury.limits.version:
            raise Denied(
                f"The policy has changed since {approval.id} was asked.",
                "Send the request again: the owner is asked anew.",
                code="policy_changed",
            )

    async def run(self, approval: Approval) -> str:
        """What it was used for: the create's id, or the VM's hash. Raises Refusal or Dearer; then it is not spent."""
        self.check_policy(approval)
        request = request_of(approval)
        if isinstance(request, CreateRequest):
            return await self._create(approval, request)
        if isinstance(request, AdoptRequest):
            return await self._adopt(approval, request)
        return await self._extend(approval, request)

    async def _create(self, approval: Approval, request: CreateRequest) -> str:
        caller = caller_of(approval)
        plan = await self._planner.plan(request, caller, confirmed=False)
        self._check_price(approval, await self._planner.case(plan, caller, confirmed=True))
        order = await self._provisioner.create(plan, caller, None, "", approval)
        return order.create_id

    async def _extend(self, approval: Approval, request: ExtendRequest) -> str:
        vm = await self._inventory.get(request.item_hash)
        if vm is None or vm.lease_version != request.lease_version:
            raise Conflict(
                f"The lease of {request.name} is not the one any more that the request was made for.",
                "Look at aleph_list_my_vms, then decide again.",
                code="lease_changed",
            )
        self._check_price(approval, await self._extender.case(vm, request.hours))
        await self._extender.extend(vm, request.hours, caller_of(approval), approval=approval)
        await self._publisher.run()
        return vm.item_hash

    async def _adopt(self, approval: Approval, request: AdoptRequest) -> str:
        caller = caller_of(approval)
        await self._adoption.sweep()
        offer = await self._adoption.look(request.item_hash, request.hours, caller)
        self._check_price(approval, offer.case)
        vm = await self._adoption.adopt(offer, caller, approval)
        await self._publisher.run()
        return vm.item_hash

    def _check_price(self, approval: Approval, case: policy.Case) -> None:
        if policy.worst_case(case) > approval.units:
            raise Dearer(case)
