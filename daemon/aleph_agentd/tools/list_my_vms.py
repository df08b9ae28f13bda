"""aleph_list_my_vms: every VM that lives or may live, orphans included."""

from pydantic import Field

from ..domain.model import LIVE, TOMBSTONES
from .base import Answer, Arguments, Call, Tool
from .views import VmView, footer, orphan_view, vm_view

PAGE = 10


class MineArguments(Arguments):
    """Which page."""

    after: str = Field("", max_length=64, description="item_hash of the last VM of the page before")
    ended: bool = Field(False, description="List ended VMs instead")


class VmPage(Answer):
    """Newest first."""

    vms: list[VmView]
    total: int
    more: bool


async def run(call: Call, arguments: MineArguments) -> VmPage:
    """A page of the inventory; orphans come on the first one."""
    services, now = call.services, call.services.clock.now()
    states = sorted(TOMBSTONES if arguments.ended else LIVE)
    rows = await services.inventory.page(states=states, limit=PAGE + 1, after=arguments.after)
    findings = services.sweeper.findings
    orphans = [] if arguments.after or arguments.ended else [*findings.orphans, *findings.lost]
    views = [orphan_view(orphan) for orphan in orphans[:PAGE]] + [
        vm_view(vm, now, call.caller.session, services.idleness.words(vm)) for vm in rows[:PAGE]
    ]
    return VmPage(
        **await footer(call),
        vms=views,
        total=await services.inventory.count(states) + len(orphans),
        more=len(rows) > PAGE,
    )


TOOL = Tool(
    name="aleph_list_my_vms",
    title="List my VMs",
    description="Live VMs with status, cost so far, time left and SSH command; expired ones and orphans are flagged. 10 per page.",
    arguments=MineArguments,
    answer=VmPage,
    run=run,
    read_only=True,
    idempotent=True,
    always_load=True,
)
