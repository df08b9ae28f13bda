"""What each call of a tool leaves in the audit log."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from aleph_agentd.domain.audit import Deed
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.services import auditor
from aleph_agentd.tools.toolbox import Toolbox
from support.world import ALICE, HUMAN, Machine, World


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written before the test asks for it."""
    monkeypatch.setattr(auditor, "WRITE_S", 60.0)


async def call(world: World, tool: str, caller: Any = ALICE, key: str | None = None, **arguments: Any) -> Any:
    """A call, whatever becomes of it."""
    try:
        return await Toolbox(world.services).call(tool, arguments, caller=caller, request_key=key)
    except Refusal as refusal:
        return refusal


async def deeds(world: World, *kinds: str) -> list[Deed]:
    """What was written, oldest first; all kinds, or these."""
    entries = await world.services.auditor.page(0, 500)
    return [entry.deed for entry in entries if not kinds or entry.deed.kind in kinds]


async def test_a_call_names_caller_request_arguments_and_outcome(world: World) -> None:
    """One entry, behind all that it has led to; each of these names the same caller and request."""
    made = await call(world, "aleph_create_vm", key="k1", name="box", ttl_hours=2, purpose="build")
    told = await deeds(world)
    last = told[-1]
    assert (last.kind, last.item_hash) == ("call", made["item_hash"])
    assert last.text.startswith("aleph_create_vm name=box purpose=build ttl_hours=2.0 [")
    assert last.text.endswith("] from /home/you/alice (claimed): ok, running")
    assert {(done.actor, done.session, done.request_key) for done in told} == {
        ("agent uid=1000 pid=4242", "alice", "alice/k1")
    }
    assert [done.kind for done in told].count("decision") == 1


async def test_a_human_is_told_from_an_agent(world: World) -> None:
    """By the socket, not by what anybody claims."""
    await call(world, "aleph_check_balance", HUMAN)
    await call(world, "aleph_check_balance", replace(ALICE, client="a human"))
    assert [done.actor for done in await deeds(world)] == ["human uid=1000 pid=1", "agent uid=1000 pid=4242"]


async def test_a_denial_names_its_rule_and_says_why(machine: Machine) -> None:
    """As a decision, beside the call; nothing else happened."""
    async with machine.life(max_ttl_hours=1.0) as world:
        refusal = await call(world, "aleph_create_vm", name="box", ttl_hours=2)
        decision, made = await deeds(world)
    assert (decision.kind, made.kind) == ("decision", "call")
    assert decision.text == f"aleph_create_vm: denied by {refusal.code}: {refusal.message}"
    assert made.text.endswith(f": denied by {refusal.code}")


@pytest.mark.parametrize(
    ("tool", "arguments", "outcome"),
    [
        ("aleph_destroy_vm", {"item_hash": "nobody"}, "refused: not_found"),
        ("aleph_create_vm", {"name": "box", "secret": "hunter2"}, "refused: bad_input"),
        ("aleph_rm_rf", {}, "refused: unknown_tool"),
    ],
)
async def test_every_other_refusal_is_an_entry_as_well(
    world: World, tool: str, arguments: dict[str, Any], outcome: str
) -> None:
    """With its code; of arguments that were not understood nothing is written down."""
    await call(world, tool, **arguments)
    [made] = await deeds(world)
    assert made.text.startswith(tool) and made.text.endswith(outcome)
    assert "hunter2" not in made.text


async def test_what_a_failed_create_ran_into_is_told(world: World) -> None:
    """Also what refused its later attempts, which are no call of their own."""
    world.network.key_trouble = "no key file"
    refusal = await call(world, "aleph_create_vm", name="box")
    assert (await deeds(world, "call"))[0].text.endswith(f": refused: {refusal.code}: {refusal.message}")


async def test_a_call_that_breaks_off_is_an_entry(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled by its client, or by a mistake of ours."""
    hold = world.network.hold("notify")
    waiting = asyncio.create_task(call(world, "aleph_create_vm", name="box"))
    await hold.arrival()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (await deeds(world, "call"))[0].text.endswith(": broke off")


async def test_reads_cost_no_transaction_and_repeats_are_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for the next one; a thousand equal ones are one entry."""
    await call(world, "aleph_check_balance")
    writes: list[bool] = []
    run = world.inventory._run

    def counted(work: Any, writing: bool, loop: Any) -> Any:
        writes.append(writing)
        return run(work, writing, loop)

    monkeypatch.setattr(world.inventory, "_run", counted)
    toolbox = Toolbox(world.services)
    for number in range(999):
        await toolbox.call("aleph_check_balance", {}, caller=ALICE, request_key=str(number))
    assert not any(writes)
    [made] = await deeds(world)
    assert made.text.endswith(": ok (1000 times)")


async def test_arguments_that_nobody_needs_to_see_are_a_digest(world: World) -> None:
    """A key is not shown; another one gives another digest."""
    key = world.services.ssh_pubkey
    other = key[:-8] + "AAAAAAAA"
    for which in (key, other):
        await call(world, "aleph_create_vm", name="box", dry_run=True, ssh_pubkey=which)
    texts = [done.text for done in await deeds(world, "call")]
    assert len(set(texts)) == 2
    assert not any(word in text for text in texts for word in key.split())


async def test_names_cannot_forge_entries(world: World) -> None:
    """A project is a claim, and may hold anything: it stays within its line."""
    caller = replace(ALICE, project="/x: ok\n17 human approved")
    await call(world, "aleph_check_balance", caller)
    [made] = await deeds(world)
    assert "\n" not in made.text and made.actor.startswith("agent ")
