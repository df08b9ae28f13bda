"""The steps of the demo: an agent rents a VM, uses it, goes away, and the lease ends by itself."""

import asyncio
import time
from datetime import datetime
from typing import Any

from aleph_agentd.demo import agent, stage, truth
from aleph_agentd.demo.failure import DemoFailed
from aleph_agentd.demo.login import run_in_vm
from aleph_agentd.demo.narrator import Narrator
from aleph_agentd.domain import money

STEPS = 9
LEASE_S = 20
NAME = "demo-vm"
COMMAND = "uname -a"
WAIT_S = 30
END_S = 20.0
"""How long after the end of the lease the VM may still be there."""
POLL_S = 0.25
CLOCK_GRAIN_S = 1.0
"""`ttl_expires_at` is in whole seconds."""

Answer = dict[str, Any]


async def tell(narrator: Narrator) -> Answer:
    """Everything, in order; what was proven comes back. DemoFailed if anything is not as it should be."""
    narrator.step("Start a local Aleph network and the daemon, in a temporary directory")
    async with stage.set_up() as scene:
        crns = len(scene.network["crns"])
        narrator.fact(f"network at {scene.network['api_host']} with {crns} hosts; daemon ready", crns=crns)
        try:
            return await _life(scene, narrator)
        except DemoFailed as problem:
            # The daemon's log goes with the temporary directory, and it may know more.
            raise DemoFailed(f"{problem}{scene.daemon.last_words()}") from problem


async def _life(scene: stage.Stage, narrator: Narrator) -> Answer:
    created, ready = await _rent(scene, narrator)
    expires = datetime.fromisoformat(str(created["ttl_expires_at"])).timestamp()
    proof = await _outlive(scene, narrator, str(created["item_hash"]), expires)
    return {"vm": created, "ssh_command": ready["ssh_command"], **proof}


async def _rent(scene: stage.Stage, narrator: Narrator) -> tuple[Answer, Answer]:
    """What the agent does while it is there."""
    narrator.step("Connect an agent: a real MCP session through aleph-agent-mcp")
    async with agent.session(scene, narrator) as session:
        tools = await session.tools()
        narrator.fact(f"{len(tools)} tools: {', '.join(tools)}", tools=tools)
        await _ask_prices(session, narrator)
        created = await _create(session, narrator)
        ready = await _log_in(session, scene, narrator, str(created["item_hash"]))
    narrator.step("Close the MCP session: from here on nobody is connected")
    narrator.fact(f"{NAME} is left to its lease")
    return created, ready


async def _ask_prices(session: agent.Agent, narrator: Narrator) -> None:
    narrator.step("Check the balance, and ask what the VM would cost (dry run)")
    balance = await session.call("aleph_check_balance")
    units = _units(balance["balance_credits"])
    if units <= 0:
        raise DemoFailed(f"the account should have credits; its balance is {money.show(units)}")
    narrator.fact(f"balance: {money.show(units)}", balance_credits=balance["balance_credits"])
    quote = await session.call("aleph_create_vm", **_order(), dry_run=True)
    if quote.get("item_hash"):
        raise DemoFailed("a dry run created a VM")
    hourly, total = _units(quote["hourly_cost"]), _units(quote["total_cost_estimate"])
    narrator.fact(
        f"quote: {money.show(hourly)} per hour, at most {money.show(total)} for {LEASE_S} s", quote=quote
    )


def _order() -> Answer:
    return {"name": NAME, "compute_units": 1, "ttl_hours": LEASE_S / 3600, "purpose": "aleph-agentd demo"}


async def _create(session: agent.Agent, narrator: Narrator) -> Answer:
    narrator.step(f"Create {NAME}: 1 compute unit, with a lease of {LEASE_S} s")
    created = await session.call("aleph_create_vm", **_order())
    if not created.get("item_hash") or not created.get("ttl_expires_at"):
        raise DemoFailed(f"no VM was created: {created}")
    narrator.fact(
        f"{created['status']} on {created['crn_name']}: {created['item_hash']}",
        item_hash=created["item_hash"],
    )
    return created


async def _log_in(session: agent.Agent, scene: stage.Stage, narrator: Narrator, item_hash: str) -> Answer:
    narrator.step("Wait until its SSH answers")
    ready = await session.call("aleph_wait_vm", item_hash=item_hash, timeout_s=WAIT_S)
    if not ready["ready"]:
        raise DemoFailed(f"SSH did not answer within {WAIT_S} s: the VM is {ready['status']}")
    narrator.fact(str(ready["ssh_command"]), ssh_command=ready["ssh_command"])
    narrator.step(f"Log in and run `{COMMAND}`")
    client, said = await run_in_vm(str(ready["ssh_command"]), scene.key, COMMAND)
    if "Linux" not in said:
        raise DemoFailed(f"`{COMMAND}` in the VM answered {said!r}")
    narrator.fact(f"{client}: {said}", ssh_client=client, answer=said)
    return ready


async def _outlive(scene: stage.Stage, narrator: Narrator, item_hash: str, expires: float) -> Answer:
    """Watch the lease end, and let the network testify."""
    narrator.step("Wait for the lease to end; the network is asked, not the daemon")
    api_host = str(scene.network["api_host"])
    while time.time() < expires - CLOCK_GRAIN_S:
        seen = await truth.look(api_host, item_hash)
        if time.time() < expires - CLOCK_GRAIN_S and (seen.status != "processed" or not seen.hosts):
            raise DemoFailed(f"the VM ended before its lease: {seen.status}, on {len(seen.hosts)} hosts")
        narrator.progress(f"{max(0, expires - time.time()):.0f} s left; running on {', '.join(seen.hosts)}")
        await asyncio.sleep(POLL_S)
    narrator.fact("the lease is over")
    narrator.step("Prove that the VM is gone, and what it cost")
    end = await _until_gone(narrator, api_host, item_hash, expires)
    return await _bill(scene, narrator, item_hash, end, expires)


async def _until_gone(narrator: Narrator, api_host: str, item_hash: str, expires: float) -> truth.Truth:
    while True:
        seen = await truth.look(api_host, item_hash)
        if seen.forgotten and not seen.hosts:
            return seen
        late = seen.now - expires
        if late > END_S:
            raise DemoFailed(
                f"{late:.0f} s after its lease the VM is still {seen.status}, on {len(seen.hosts)} hosts"
            )
        narrator.progress(f"message {seen.status}, on {len(seen.hosts)} hosts")
        await asyncio.sleep(POLL_S)


async def _bill(
    scene: stage.Stage, narrator: Narrator, item_hash: str, end: truth.Truth, expires: float
) -> Answer:
    if end.billing or end.charged_units is None or end.charged_seconds is None:
        raise DemoFailed(f"the network's books do not say what the VM cost: {end}")
    if end.charged_seconds > LEASE_S + END_S:
        raise DemoFailed(f"the VM was billed for {end.charged_seconds:.1f} s, with a lease of {LEASE_S} s")
    narrator.fact("the network: its INSTANCE message is forgotten, and no host runs it", forgotten=True)
    cost = f"{money.show(end.charged_units)} for {end.charged_seconds:.1f} s"
    narrator.fact(f"the network charged {cost}", charged_units=end.charged_units)
    state = await _daemon_agrees(scene, item_hash)
    narrator.fact(f"the daemon's inventory agrees: {state}", state=state)
    return {
        "forgotten": True,
        "running_on": [],
        "charged_units": end.charged_units,
        "charged_credits": money.in_credits(end.charged_units),
        "charged_usd": money.in_usd(end.charged_units),
        "charged_s": round(end.charged_seconds, 1),
        "seen_gone_after_lease_s": round(end.now - expires, 1),
    }


async def _daemon_agrees(scene: stage.Stage, item_hash: str) -> str:
    deadline = time.monotonic() + END_S
    while True:
        state = str((await scene.ask_daemon("vms.get", {"item_hash": item_hash}))["status"])
        if state == "gone":
            return state
        if time.monotonic() > deadline:
            raise DemoFailed(f"the VM is gone, but the daemon still calls it {state}")
        await asyncio.sleep(POLL_S)


def _units(amount: Any) -> int:
    """Network units of an answer's credits."""
    return round(float(amount or 0) * money.UNITS_PER_CREDIT)
