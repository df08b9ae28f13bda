"""aleph_vm_ports: which ports of a VM the internet reaches."""

from typing import Literal

from pydantic import BaseModel, Field, model_validator

from ..domain.forwards import SSH_PORT, Change, Forwards
from ..domain.model import Vm
from ..ports import Execution
from ..services.inside import check_running
from .base import Answer, Arguments, Call, Tool
from .ownership import may_act, resolve, same_key
from .views import footer


class PortsArguments(Arguments):
    """Which VM, and what of it."""

    item_hash: str = Field(min_length=1, max_length=128, description="Hash, or name of a VM of this session")
    action: Literal["open", "close", "list"] = "list"
    port: int | None = Field(None, ge=1, le=65535, description="In the VM; 22 is always open")
    protocol: Literal["tcp", "udp"] = "tcp"

    @model_validator(mode="after")
    def _is_one_change(self) -> "PortsArguments":
        if (self.port is None) != (self.action == "list"):
            raise ValueError("open and close take a port, list takes none")
        if self.port == SSH_PORT:
            raise ValueError("port 22 is always open, and is never closed")
        return self


class PortView(BaseModel):
    """One port."""

    port: int
    protocol: str
    address: str = Field(description="host:port to connect to; empty: its CRN does not show it yet")


class PortsAnswer(Answer):
    """`open`, `closed`, `listed`, or `pending`: the network has it, the CRN does not show it yet."""

    status: str
    item_hash: str
    name: str
    ports: list[PortView] = Field(description="All that are open besides SSH")
    next: str = ""


async def run(call: Call, arguments: PortsArguments) -> PortsAnswer:
    """Change the payer's aggregate, and wait a while for the CRN."""
    vm = await resolve(call, arguments.item_hash.strip())
    may_act(call, vm)
    forwarding = call.services.forwarding
    if arguments.port is None:
        check_running(vm)
        wanted, done = await forwarding.open_now(vm), "listed"
    else:
        same_key(call, vm)
        opens = arguments.action == "open"
        wanted = await forwarding.change(vm, Change(opens, arguments.port, arguments.protocol))
        done = "open" if opens else "closed"
    await call.report(1, 2, "the network has it; waiting for its CRN")
    execution, settled = await forwarding.mapped(vm, wanted)
    return PortsAnswer(
        **await footer(call, vm),
        status=done if settled else "pending",
        item_hash=vm.item_hash,
        name=vm.name,
        ports=_views(vm, wanted, execution),
        next=_next(vm, arguments, settled),
    )


def _views(vm: Vm, wanted: Forwards, execution: Execution | None) -> list[PortView]:
    shown = execution.forwarded if execution else {}
    host = (execution.host_ipv4 if execution else "") or vm.host_ipv4
    return [
        PortView(
            port=port,
            protocol=str(protocols),
            address=f"{host}:{shown[port].host}" if host and port in shown else "",
        )
        for port, protocols in sorted(wanted.items())
    ]


def _next(vm: Vm, arguments: PortsArguments, settled: bool) -> str:
    if not settled:
        return f"Its CRN has not followed yet: call aleph_vm_ports with item_hash={vm.item_hash} and action=list."
    if arguments.action == "open":
        return "Anybody on the internet can connect: let the program in the VM check who does. Close it after use."
    return ""


TOOL = Tool(
    name="aleph_vm_ports",
    title="Ports of VM",
    description="Open, close or list the ports of a VM that the internet reaches.",
    arguments=PortsArguments,
    answer=PortsAnswer,
    run=run,
    destructive=True,
    idempotent=True,
)
