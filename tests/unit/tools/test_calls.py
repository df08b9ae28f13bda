"""Calling the tools as a gateway does."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from aleph_agentd.domain.caller import Caller, SessionLimits
from aleph_agentd.domain.errors import Conflict, Denied, NotFound, Refusal, Unavailable
from aleph_agentd.domain.model import VmState
from aleph_agentd.ports import MessageStatus
from aleph_agentd.tools import create_vm, wait_vm
from aleph_agentd.tools.toolbox import Toolbox
from support.fake_network import ADA
from support.world import ALICE, BOB, HUMAN, Machine, World

COLLEAGUE = replace(BOB, project=ALICE.project)


async def _call(
    world: World, tool: str, caller: Caller = ALICE, key: str | None = None, **arguments: Any
) -> Any:
    return await Toolbox(world.services).call(f"aleph_{tool}", arguments, caller=caller, request_key=key)


async def _refusal(
    world: World, tool: str, caller: Caller = ALICE, key: str | None = None, **rest: Any
) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await _call(world, tool, caller, key, **rest)
    assert refused.value.hint
    return refused.value


async def test_a_vm_that_comes_up_while_it_is_looked_for_is_told_as_it_is_then(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as it was a moment before its create ended."""
    hold = world.network.hold("notify")
    order = await world.order(name="box")
    await hold.arrival()
    whole = world.inventory.setup_of

    async def late(item_hash: str) -> Any:
        hold.go.set()
        await world.services.provisioner.wait(order.create_id, 60)
        return await whole(item_hash)

    monkeypatch.setattr(world.inventory, "setup_of", late)
    answer = await _call(world, "create_vm", name="box", ttl_hours=4)
    assert (answer["status"], "already" in str(answer["warnings"])) == ("running", True)


async def test_a_session_from_balance_to_destroy(world: World) -> None:
    """The usual course of the instructions, with the mission's fields."""
    balance = await _call(world, "check_balance")
    assert (balance["balance_credits"], balance["balance_usd"]) == (10_000.0, 100.0)
    assert (balance["runway_hours"], balance["active_vm_count"], balance["warnings"]) == (None, 0, [])
    crns = await _call(world, "list_crns")
    assert [crn["name"] for crn in crns["crns"]] == ["crn-1", "crn-2", "crn-3", "crn-4"]
    made = await _call(world, "create_vm", name="box", ttl_hours=2)
    assert (made["status"], made["hourly_cost"], made["hourly_cost_usd"]) == ("running", 1.425, 0.01425)
    assert (made["total_cost_estimate"], made["total_cost_estimate_usd"]) == (2.85, 0.0285)
    assert (made["ssh_command"], made["expires_in"]) == ("ssh -p 24000 root@203.0.113.7", "2 h 0 min")
    assert (await _call(world, "wait_vm", item_hash="box"))["ready"] is True
    longer = await _call(world, "extend_vm", item_hash="box", additional_hours=3)
    assert longer["new_ttl_expires_at"] == "2026-11-23T17:00:00Z"
    assert (longer["additional_cost_estimate"], longer["additional_cost_estimate_usd"]) == (4.275, 0.04275)
    world.clock.forward(hours=1)
    [listed] = (await _call(world, "list_my_vms"))["vms"]
    assert (listed["status"], listed["cost_so_far"], listed["expires_in"], listed["mine"]) == (
        "running",
        1.425,
        "4 h 0 min",
        True,
    )
    ended = await _call(world, "destroy_vm", item_hash=made["item_hash"])
    assert (ended["status"], ended["billing_ended"], ended["runtime_minutes"]) == ("destroyed", True, 60.0)
    assert (ended["estimated_cost_incurred"], ended["estimated_cost_incurred_usd"]) == (1.425, 0.01425)
    assert (await _call(world, "list_my_vms"))["vms"] == []


@pytest.mark.parametrize(
    "trouble",
    [
        {"max_concurrent_vms": 0},
        {"max_ttl_hours": 1.0},
        {"balance_guard_percent": 0},
        {"max_creates_per_hour": 0},
        {"human_approval_threshold_units": 1},
    ],
)
async def test_a_dry_run_always_answers_and_creates_nothing(machine: Machine, trouble: Any) -> None:
    """With what would refuse it now."""
    async with machine.life(**trouble) as world:
        quoted = await _call(world, "create_vm", name="box", ttl_hours=4, dry_run=True)
        assert (quoted["status"], quoted["dry_run"], quoted["item_hash"]) == ("quoted", True, None)
        assert quoted["total_cost_estimate"] == 5.7
        assert quoted["warnings"][0].startswith("would be refused now")
        assert await world.rows() == []


async def test_a_dry_run_answers_without_a_key_an_allowance_or_a_free_name(world: World) -> None:
    """It signs nothing and spends nothing."""
    await world.create()
    world.network.key_trouble = "no key file"
    world.services.treasury._human_address = "0xHuman"
    caller = replace(ALICE, spending_refused="another payer")
    quoted = await _call(world, "create_vm", caller, name="box", dry_run=True)
    assert "name_taken" in quoted["warnings"][0]


async def test_above_the_threshold_it_asks_first_and_a_yes_takes_the_quoted_plan(machine: Machine) -> None:
    """rules.md 24: the CRN that was shown, even when another is better by now."""
    async with machine.life(cost_threshold_units=50_000) as world:
        asked = await _call(world, "create_vm", name="box")
        assert (asked["requires_confirmation"], asked["status"]) == (True, "quoted")
        assert "5.70 credits (US$0.057)" in asked["confirmation_message"]
        assert await world.rows() == []
        first = world.network.crn_list[0]
        world.network.crn_list = (replace(world.network.crn_list[1], score=2.0), first)
        made = await _call(world, "create_vm", name="box", confirmed=True)
        assert (made["status"], made["crn_name"]) == ("running", asked["crn_name"])


@pytest.mark.parametrize(
    "other", [{"compute_units": 2}, {"ttl_hours": 5}, {"name": "other"}, {"os_image": "debian12"}]
)
async def test_a_yes_to_one_plan_is_no_yes_to_another(machine: Machine, other: dict[str, Any]) -> None:
    """It is quoted anew."""
    async with machine.life(cost_threshold_units=50_000) as world:
        await _call(world, "create_vm", name="box")
        again = await _call(world, "create_vm", **({"name": "box", "confirmed": True} | other))
        assert again["requires_confirmation"]
        assert await world.rows() == []


async def test_a_yes_without_a_question_and_another_session_s_yes_are_none(machine: Machine) -> None:
    """`confirmed=true` alone is not enough."""
    async with machine.life(cost_threshold_units=50_000) as world:
        assert (await _call(world, "create_vm", name="box", confirmed=True))["requires_confirmation"]
        assert (await _call(world, "create_vm", BOB, name="box", confirmed=True))["requires_confirmation"]


async def test_a_price_that_moved_since_the_question_asks_again(machine: Machine) -> None:
    """Dearer than approved is not approved."""
    async with machine.life(cost_threshold_units=50_000) as world:
        await _call(world, "create_vm", name="box")
        world.network.price_moves("1.2")
        again = await _call(world, "create_vm", name="box", confirmed=True)
        assert again["requires_confirmation"]
        assert "6.84 credits" in again["confirmation_message"]


async def test_a_yes_does_not_pass_the_limits(machine: Machine) -> None:
    """No tool argument stands in for the owner."""
    async with machine.life(human_approval_threshold_units=50_000, cost_threshold_units=1) as world:
        await _call(world, "create_vm", name="box", dry_run=True)
        answer = await _call(world, "create_vm", name="box", confirmed=True)
        assert answer["status"] == "awaiting_approval"
        assert await world.rows() == []


async def test_a_request_sent_again_gets_the_same_vm(world: World) -> None:
    """Also while the first one still runs."""
    hold = world.network.hold("notify")
    toolbox = Toolbox(world.services)
    first, second = (
        asyncio.ensure_future(toolbox.call("aleph_create_vm", {"name": "box"}, caller=ALICE, request_key="k"))
        for _ in range(2)
    )
    await hold.arrival()
    hold.go.set()
    one, two = await asyncio.gather(first, second)
    three = await toolbox.call("aleph_create_vm", {"name": "box"}, caller=ALICE, request_key="k")
    assert one["item_hash"] == two["item_hash"] == three["item_hash"]
    assert len(world.network.billed()) == 1


async def test_a_request_key_with_other_arguments_is_a_conflict(world: World) -> None:
    """rules.md 12: a mistake, or an attack."""
    await _call(world, "create_vm", key="k", name="box")
    assert (await _refusal(world, "create_vm", key="k", name="other")).code == "request_key_reused"
    assert (
        await _refusal(world, "extend_vm", key="k", item_hash="box", additional_hours=1)
    ).code == "request_key_reused"
    assert (await _call(world, "create_vm", BOB, key="k", name="bobs"))["name"] == "bobs", (
        "keys are per session"
    )


async def test_an_extension_sent_again_extends_once(world: World) -> None:
    """The second answer tells the same end."""
    await _call(world, "create_vm", name="box")
    first = await _call(world, "extend_vm", key="k", item_hash="box", additional_hours=1)
    assert await _call(world, "extend_vm", key="k", item_hash="box", additional_hours=1) == first


async def test_a_failed_create_sent_again_is_refused_again(world: World) -> None:
    """Never answered as a VM that is being set up."""
    world.network.next_instance = MessageStatus.REJECTED
    first = await _refusal(world, "create_vm", key="k", name="box")
    world.network.next_instance = MessageStatus.PROCESSED
    await world.quiet()
    again = await _refusal(world, "create_vm", key="k", name="box")
    assert first.code == again.code == "create_failed"
    assert "not authorised" in again.message


async def test_a_create_sent_again_after_its_vm_ended_says_that_it_has_ended(world: World) -> None:
    """No second VM, and no `call aleph_wait_vm`."""
    made = await _call(world, "create_vm", key="k", name="box")
    await _call(world, "destroy_vm", item_hash="box")
    again = await _call(world, "create_vm", key="k", name="box")
    assert (again["item_hash"], again["status"]) == (made["item_hash"], "gone")
    assert again["next"].startswith("This VM has ended")
    assert world.network.billed() == []


async def test_the_same_name_and_plan_gives_the_same_vm_and_says_so(world: World) -> None:
    """Within one session."""
    made = await _call(world, "create_vm", name="box")
    again = await _call(world, "create_vm", name="box")
    assert again["item_hash"] == made["item_hash"]
    assert "not a new one" in again["warnings"][0]
    assert (await _refusal(world, "create_vm", BOB, name="box")).code == "name_taken"


async def test_one_s_own_vm_is_named_by_name_and_by_prefix(world: World) -> None:
    """Another session's only by its full hash."""
    made = await _call(world, "create_vm", name="box")
    for reference in ("box", made["item_hash"], made["item_hash"][:8], f" {made['item_hash']} "):
        assert (await _call(world, "wait_vm", item_hash=reference))["name"] == "box"
    for reference in ("box", made["item_hash"][:8], made["item_hash"][:63]):
        with pytest.raises(NotFound):
            await _call(world, "wait_vm", BOB, item_hash=reference)
    assert (await _call(world, "wait_vm", BOB, item_hash=made["item_hash"]))["name"] == "box"
    assert (await _call(world, "wait_vm", HUMAN, item_hash="box"))["name"] == "box"


@pytest.mark.parametrize(("tool", "rest"), [("destroy_vm", {}), ("extend_vm", {"additional_hours": 1})])
async def test_another_project_s_vm_can_only_be_looked_at(world: World, tool: str, rest: Any) -> None:
    """rules.md 14; its own project's sessions and a human may act."""
    made = await _call(world, "create_vm", name="box")
    refused = await _refusal(world, tool, BOB, item_hash=made["item_hash"], **rest)
    assert refused.code == "not_yours"
    assert "aleph-agentctl" in refused.hint
    nameless = replace(BOB, project="")
    assert (await _refusal(world, tool, nameless, item_hash=made["item_hash"], **rest)).code == "not_yours"
    assert (await world.rows())[0].state is VmState.RUNNING
    for caller in (COLLEAGUE, HUMAN):
        await _call(world, tool, caller, item_hash=made["item_hash"], **rest)
        if tool == "destroy_vm":
            break


@pytest.mark.parametrize(
    ("tool", "rest"),
    [("create_vm", {"name": "new"}), ("extend_vm", {"item_hash": "box", "additional_hours": 1})],
)
async def test_a_session_with_other_settings_may_not_spend_but_may_destroy(
    world: World, tool: str, rest: dict[str, Any]
) -> None:
    """rules.md 11."""
    await _call(world, "create_vm", name="box")
    caller = replace(ALICE, spending_refused="its payer is another one")
    assert (await _refusal(world, tool, caller, **rest)).code == "other_settings"
    assert (await _call(world, "destroy_vm", caller, item_hash="box"))["status"] == "destroyed"


async def test_a_vm_of_another_key_is_not_pretended_to_be_destroyed(world: World) -> None:
    """The mission's guard."""
    await _call(world, "create_vm", name="box")
    world.network.key_address = "0xAnotherKey"
    assert (await _refusal(world, "destroy_vm", item_hash="box")).code == "other_key"
    assert (await world.rows())[0].state is VmState.RUNNING


async def test_every_answer_tells_time_money_and_what_is_stuck(machine: Machine) -> None:
    """Whatever was asked."""
    async with machine.life(max_daily_spend_units=1_000_000) as world:
        world.network.stranger("ab" * 32)
        world.clock.forward(minutes=16)
        await world.services.sweeper.run()
        stuck = await world.create(name="stuck")
        world.network.crn_does[stuck.crn_hash] = "silent"
        await world.end(stuck, passes=7)
        world.network.crn_does.clear()
        await _call(world, "create_vm", name="box", ttl_hours=2)
        toolbox = Toolbox(world.services)
        calls: dict[str, dict[str, Any]] = {
            "aleph_check_balance": {},
            "aleph_list_crns": {},
            "aleph_create_vm": {"name": "box", "ttl_hours": 1},
            "aleph_wait_vm": {"item_hash": "box"},
            "aleph_list_my_vms": {},
            "aleph_extend_vm": {"item_hash": "box", "additional_hours": 1},
            "aleph_vm_run": {"item_hash": "box", "command": "true"},
            "aleph_vm_copy": {"item_hash": "box", "path": "a", "content": ""},
            "aleph_vm_power": {"item_hash": "box", "action": "reboot"},
            "aleph_adopt_vm": {"item_hash": "ab" * 32, "ttl_hours": 1},
            "aleph_spend_report": {},
            "aleph_freeze": {"reason": "enough"},
            "aleph_destroy_vm": {"item_hash": "box"},
        }
        assert set(calls) == {tool["name"] for tool in toolbox.listing()}
        for name, arguments in calls.items():
            answer = await toolbox.call(name, arguments, caller=ALICE)
            assert answer["stuck"][0].startswith("stuck ("), name
            assert answer["budget_left"] > 0, name
            assert answer["budget_left_usd"] == pytest.approx(answer["budget_left"] / 100), name
            assert answer["expires_in"] or name == "aleph_destroy_vm", name


async def test_a_destroy_whose_network_is_away_is_ordered_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`destroying`, billing not ended, and the reason."""
    await _call(world, "create_vm", name="box")
    world.network.fail("status")
    ended = await _call(world, "destroy_vm", item_hash="box")
    assert (ended["status"], ended["billing_ended"]) == ("destroying", False)
    assert "connection refused" in ended["note"]


async def test_a_destroy_sent_twice_tells_the_truth_twice(world: World) -> None:
    """By hash: a name is only for the living."""
    made = await _call(world, "create_vm", name="box")
    first = await _call(world, "destroy_vm", item_hash=made["item_hash"])
    second = await _call(world, "destroy_vm", item_hash=made["item_hash"])
    assert first["status"] == second["status"] == "destroyed"
    assert len(world.network.of_kind("FORGET")) == 1


async def test_waiting_reports_progress_until_ssh_answers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And stops as soon as it does."""
    monkeypatch.setattr(wait_vm, "_PAUSE_S", 0.001)
    await _call(world, "create_vm", name="box")
    world.network.ssh_up = False
    said: list[str] = []

    async def progress(done: float, total: float | None, message: str) -> None:
        said.append(message)
        world.network.ssh_up = len(said) >= 3

    answer = await Toolbox(world.services).call(
        "aleph_wait_vm", {"item_hash": "box"}, caller=ALICE, progress=progress
    )
    assert answer["ready"] is True
    assert len(said) == 3
    assert (await world.rows())[0].ssh_at is not None


async def test_waiting_ends_at_its_timeout_with_the_next_step(world: World) -> None:
    """Not ready is an answer, not an error."""
    await _call(world, "create_vm", name="box")
    world.network.ssh_up = False
    answer = await _call(world, "wait_vm", item_hash="box", timeout_s=0.01)
    assert (answer["ready"], answer["next"][:13]) == (False, "Call aleph_wa")


async def test_waiting_for_an_ended_vm_is_refused_at_once(world: World) -> None:
    """It will not come up."""
    made = await _call(world, "create_vm", name="box")
    await _call(world, "destroy_vm", item_hash="box")
    assert (await _refusal(world, "wait_vm", item_hash=made["item_hash"])).code == "vm_ended"


async def test_a_balance_that_is_not_known_is_null_with_a_warning(world: World) -> None:
    """The inventory still answers."""
    await _call(world, "create_vm", name="box")
    world.network.fail("balance")
    answer = await _call(world, "check_balance")
    assert answer["balance_credits"] is None
    assert answer["active_vm_count"] == 1
    assert any("balance is not known" in warning for warning in answer["warnings"])


async def test_what_is_affordable_is_what_creates_find(machine: Machine) -> None:
    """By size, with the owner's limits."""
    async with machine.life(max_compute_units=2, max_concurrent_vms=2) as world:
        answer = await _call(world, "check_balance")
        assert answer["affordable"] == {"1 CU": 2, "2 CU": 2, "4 CU": 0, "6 CU": 0, "8 CU": 0, "12 CU": 0}
        for n in range(2):
            await _call(world, "create_vm", name=f"vm-{n}")
        assert (await _refusal(world, "create_vm", name="vm-2")).code == "max_concurrent_vms"


async def test_a_session_s_own_limit_holds_for_its_creates(world: World) -> None:
    """The shim's environment can only tighten."""
    caller = replace(ALICE, limits=SessionLimits(max_ttl_hours=1.0))
    assert (await _refusal(world, "create_vm", caller, name="box", ttl_hours=2)).code == "max_ttl"
    made = await _call(world, "create_vm", caller, name="box")
    assert made["expires_in"] == "1 h 0 min"


async def test_orphans_and_expired_vms_are_flagged(world: World) -> None:
    """In the list, and as an alert."""
    await _call(world, "create_vm", name="box", ttl_hours=1)
    world.network.stranger("ab" * 32)
    world.clock.forward(hours=1)
    await world.services.sweeper.run()
    listed = await _call(world, "list_my_vms")
    assert {(vm["status"], vm["expired"]) for vm in listed["vms"]} == {("orphan", False), ("expired", True)}
    assert any("not in the inventory" in alert for alert in listed["alerts"])


async def test_without_a_key_every_answer_says_so(world: World) -> None:
    """And reads still answer."""
    world.network.key_trouble = "no key file"
    assert "no key file" in (await _call(world, "list_my_vms"))["alerts"][0]
    assert (await _refusal(world, "create_vm", name="box")).code in ("no_key", "unavailable")


async def test_without_an_ssh_key_a_create_says_how_to_give_one(world: World) -> None:
    """Before anything is planned."""
    services = replace(world.services, ssh_pubkey="", ssh_pubkey_trouble="id_ed25519.pub: No such file")
    with pytest.raises(Unavailable, match="No such file") as refused:
        await Toolbox(services).call("aleph_create_vm", {"name": "box"}, caller=ALICE)
    assert "ssh-keygen" in refused.value.hint


async def test_lists_are_paged(machine: Machine) -> None:
    """Ten at a time, newest first; CRNs best first."""
    async with machine.life(max_concurrent_vms=12, balance_guard_percent=100) as world:
        world.tick_at("estimate")
        for n in range(11):
            await world.create(name=f"vm-{n}")
        first = await _call(world, "list_my_vms")
        assert (first["vms"][0]["name"], len(first["vms"]), first["more"]) == (
            "vm-10",
            10,
            True,
        )
        rest = await _call(world, "list_my_vms", after=first["vms"][-1]["item_hash"])
        assert ([vm["name"] for vm in rest["vms"]], rest["more"], rest["total"]) == (["vm-0"], False, 11)


async def test_the_filters_of_the_crn_list_filter(world: World) -> None:
    """By size, GPU and name."""
    small = replace(world.network.crn_list[1], free_memory_mib=2048)
    gpu = replace(world.network.crn_list[2], has_gpu=True, gpus=(ADA,))
    world.network.crn_list = (world.network.crn_list[0], small, gpu)

    async def names(**filters: Any) -> list[str]:
        return [crn["name"] for crn in (await _call(world, "list_crns", **filters))["crns"]]

    assert await names() == ["crn-1", "crn-2", "crn-3"]
    assert await names(min_compute_units=2) == ["crn-1", "crn-3"]
    assert await names(gpu=True) == await names(gpu_model="4000") == ["crn-3"]
    assert (await _refusal(world, "list_crns", gpu_model="h100")).code == "no_gpu"
    assert await names(name="N-2") == ["crn-2"]
    assert await names(page=2) == []
    world.network.fail("crns")
    assert (await _refusal(world, "list_crns")).code == "unavailable"


async def test_a_cancelled_call_leaves_its_create_to_the_daemon(world: World) -> None:
    """And its request key finds it again."""
    hold = world.network.hold("notify")
    calling = asyncio.ensure_future(_call(world, "create_vm", key="k", name="box"))
    await hold.arrival()
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    hold.go.set()
    again = await _call(world, "create_vm", key="k", name="box")
    assert again["status"] == "running"
    assert len(world.network.billed()) == 1


async def test_denials_reach_the_agent_whole(machine: Machine) -> None:
    """Code, why and next step."""
    async with machine.life(max_concurrent_vms=0) as world:
        refused = await _refusal(world, "create_vm", name="box")
        assert isinstance(refused, Denied)
        assert not isinstance(refused, Conflict)
        assert refused.as_dict()["code"] == "max_concurrent_vms"


async def test_an_agent_s_freeze_stops_its_own_project_alone_and_it_cannot_lift_it(world: World) -> None:
    """rules.md 13: creates only; extends and teardown go on."""
    vm = await _call(world, "create_vm", name="box", ttl_hours=1)
    frozen = await _call(world, "freeze", reason="too many\u202e failures")
    assert frozen["frozen"] == f"creates of {ALICE.project}"
    assert "\u202e" not in str(frozen)
    refusal = await _refusal(world, "create_vm", name="more", ttl_hours=1)
    assert refusal.code == "frozen"
    assert (await _call(world, "extend_vm", item_hash=vm["item_hash"], additional_hours=1))["name"] == "box"
    assert (await Toolbox(world.services).call("aleph_create_vm", {"name": "bobs"}, caller=BOB))["item_hash"]
    assert (await _call(world, "destroy_vm", item_hash="box"))["status"] == "destroyed"


async def test_a_create_that_is_still_tried_elsewhere_is_unknown_and_not_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the patience ends between two attempts: an agent that was told "failed" would rent a second VM."""
    monkeypatch.setattr(create_vm, "PATIENCE_S", 0.05)
    monkeypatch.setattr(create_vm, "_PROGRESS_S", 0.01)
    world.network.crn_does[world.network.crn_list[0].hash] = "refuses"
    holds = []

    async def hold_the_next_attempt(_: str) -> None:
        if not holds:
            holds.append(world.network.hold("estimate"))

    world.network.before("notify", hold_the_next_attempt)
    refusal = await _refusal(world, "create_vm", name="box", ttl_hours=1)
    assert refusal.code == "unknown"
    assert "aleph_list_my_vms" in refusal.hint
    holds[0].go.set()
    await world.quiet()
    [vm] = (await _call(world, "list_my_vms"))["vms"]
    assert (vm["name"], vm["status"]) == ("box", "running")
