"""An inventory that was deleted or put back: nothing new, and nothing ended by a listing, until it knows again (rules.md 7)."""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from aleph_agentd.adapters.start_counter import StartFile
from aleph_agentd.adapters.store import SqlInventory
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.domain.model import Expense, Vm, VmState
from aleph_agentd.services.restoration import DAY
from aleph_agentd.tools.views import alerts
from support.fake_network import ADDRESS
from support.world import ALICE, Machine, World

HOUR = timedelta(hours=1)
FIRST, SECOND, THIRD = (f"box-{n}" for n in (1, 2, 3))


def keep(machine: Machine) -> Path:
    """A copy of the inventory, made while no daemon runs."""
    return Path(shutil.copy(machine.database, machine.directory / "old copy"))


def delete(machine: Machine) -> None:
    """The database is gone, and what lies beside it is not."""
    for file in machine.directory.glob("inventory.db*"):
        file.unlink()


def put_back(machine: Machine, copy: Path) -> None:
    """The old copy is the inventory again."""
    delete(machine)
    shutil.copy(copy, machine.database)


async def extend(world: World, vm: Vm, hours: float) -> Vm:
    """More time, published."""
    world.clock.forward(milliseconds=1)
    extended = await world.services.extender.extend(vm, hours, ALICE)
    assert await world.services.publisher.published(extended)
    return extended


async def an_old_copy(machine: Machine) -> dict[str, Vm]:
    """The first VM is in the copy; its extension, the second VM, and the third that has ended, are not."""
    async with machine.life() as world:
        first = await world.create(name=FIRST)
    copy = keep(machine)
    async with machine.life() as world:
        first = await extend(world, first, 5)
        second = await world.create(name=SECOND, ttl_hours=6)
        third = await world.create(name=THIRD)
        machine.clock.forward(hours=1)
        third = await world.end(third)
        assert third.state is VmState.GONE
    put_back(machine, copy)
    return {FIRST: first, SECOND: second, THIRD: third}


async def refusal(world: World, name: str = "new") -> Refusal:
    """What a create is refused with."""
    with pytest.raises(Refusal) as refused:
        await world.create(name=name)
    return refused.value


async def sweep(world: World) -> None:
    """Sweep, and wait until what it began is done."""
    await world.services.sweeper.run()
    await world.quiet()


async def kinds(world: World) -> list[str]:
    """The kinds of the events."""
    return [event.kind for event in await world.inventory.events(0, 1000)]


async def test_an_old_copy_is_made_whole_and_nothing_is_refused_afterwards(machine: Machine) -> None:
    """rules.md 7: leases as extended, rows for what it never knew, the money of what has ended; nothing is destroyed."""
    vms = await an_old_copy(machine)
    billed, running = machine.network.billed(), machine.network.running()
    async with machine.life() as world:
        assert (await refusal(world)).code == "inventory_restored"
        await sweep(world)
        first, second = [await world.row(vms[name]) for name in (FIRST, SECOND)]
        assert (first.expires_at, first.lease_version) == (vms[FIRST].expires_at, 2)
        assert (second.state, second.expires_at) == (VmState.RUNNING, vms[SECOND].expires_at)
        assert (await world.money(first))[0] >= first.cost_units(first.expires_at)
        assert (await world.inventory.balances([vms[THIRD].item_hash])) == {
            vms[THIRD].item_hash: (0, vms[THIRD].cost_units(machine.clock.now()))
        }
        assert (machine.network.billed(), machine.network.running()) == (billed, running)
        assert (await kinds(world)).count("restoring") == (await kinds(world)).count("restored") == 1
        assert alerts(world.services) == []
        await world.create(name="new")
    async with machine.life() as world:
        assert world.services.restoration.pending == ""


async def test_an_extension_is_refused_too_and_the_refusal_names_the_way_out(machine: Machine) -> None:
    """A code, what happened, what it waits for, and the command."""
    vms = await an_old_copy(machine)
    async with machine.life() as world:
        with pytest.raises(Refusal) as refused:
            await world.services.extender.extend(await world.row(vms[FIRST]), 1, ALICE)
        assert refused.value.code == "inventory_restored"
        assert "copy from before the last of 2 starts" in refused.value.message
        assert "the next sweep" in refused.value.message
        assert "aleph-agentctl recover" in refused.value.hint
        assert any("aleph-agentctl recover" in alert for alert in alerts(world.services))


@pytest.mark.parametrize("method", ["instances", "published_ends", "expenses", "sender", "price"])
async def test_what_is_not_told_completely_is_unknown_and_refuses_also_after_a_restart(
    machine: Machine, method: str
) -> None:
    """Each of the answers is needed; the mark is on disk, and the money is counted once."""
    vms = await an_old_copy(machine)
    async with machine.life() as world:
        machine.network.fail(method, 9)
        await sweep(world)
        machine.network.heal()
        assert (await refusal(world)).code == "inventory_restored"
    async with machine.life() as world:
        assert (await refusal(world)).code == "inventory_restored"
        await sweep(world)
        await sweep(world)
        await world.create(name="new")
        spent = (await world.inventory.balances([vms[THIRD].item_hash]))[vms[THIRD].item_hash]
        assert spent == (0, vms[THIRD].cost_units(machine.clock.now()))


async def test_a_deleted_inventory_is_noticed_by_the_counter_beside_it(machine: Machine) -> None:
    """rules.md 7 and 26: even if nothing is on the network: what was spent is."""
    vms = await an_old_copy(machine)
    delete(machine)
    async with machine.life(max_daily_spend_units=20_000) as world:
        assert "there were 2 starts before" in (await refusal(world)).message
        await sweep(world)
        exposure = await world.inventory.exposure("", machine.clock.now())
        assert exposure.spent_day_units == vms[THIRD].cost_units(machine.clock.now())
        assert exposure.live_vms == 2
        assert (await refusal(world)).code == "max_daily_spend"


async def test_no_sweep_ends_anything_while_it_is_not_known_what_is_missing(machine: Machine) -> None:
    """A tombstone that is listed, say: it ends as soon as everything is known."""
    async with machine.life() as world:
        undead = await world.create(name=FIRST)
        await world.inventory.move(undead.item_hash, VmState.DESTROYING, "test", machine.clock.now())
        await world.inventory.move(undead.item_hash, VmState.GONE, "test", machine.clock.now())
    (machine.directory / "starts-inventory.json").unlink()
    async with machine.life() as world:
        machine.network.fail("expenses")
        await sweep(world)
        assert machine.network.billed() == [undead.item_hash]
        await sweep(world)
        assert machine.network.billed() == []


async def test_a_lease_that_is_over_by_an_old_row_ends_once_the_extensions_are_known(
    machine: Machine,
) -> None:
    """It runs on if it was extended, and ends if it was not; unread extensions are waited for an hour."""
    vms = await an_old_copy(machine)
    machine.clock.forward(hours=3, minutes=30)
    async with machine.life() as world:
        machine.network.fail("published_ends", 99)
        first = await world.row(vms[FIRST])
        assert first.expires_at < machine.clock.now() < vms[FIRST].expires_at
        await sweep(world)
        await world.services.reaper.run()
        assert (await world.row(first)).state is VmState.RUNNING
        machine.network.heal()
        await sweep(world)
        await world.services.reaper.run()
        assert (await world.row(first)).expires_at == vms[FIRST].expires_at


async def test_a_lease_that_is_over_is_not_spared_for_longer_than_an_hour(machine: Machine) -> None:
    """Nobody may keep a VM alive by keeping us from reading."""
    vms = await an_old_copy(machine)
    machine.clock.forward(hours=3, minutes=30)
    async with machine.life() as world:
        machine.network.fail("published_ends", 99)
        machine.clock.forward(minutes=59)
        await world.services.reaper.run()
        assert (await world.row(vms[FIRST])).state is VmState.RUNNING
        machine.clock.forward(minutes=1)
        await world.services.reaper.run()
        await world.quiet()
        assert (await world.row(vms[FIRST])).state is VmState.GONE


async def test_an_intent_of_an_old_copy_may_have_been_broadcast_since(machine: Machine) -> None:
    """It is asked for by its hash, goes on, and is not taken for dead."""
    hold: Any = None
    async with machine.life() as world:
        hold = machine.network.hold("post")
        order = await world.order(name=FIRST)
        await hold.arrival()
        [vm] = await world.inventory.attempts_of(order.create_id)
        await world.inventory.note(vm.item_hash, broadcast_at=None)
    copy = keep(machine)
    async with machine.life() as world:
        message = await world.inventory.create_message(vm.item_hash)
        assert message
        await machine.network.post(message)
    put_back(machine, copy)
    async with machine.life() as world:
        await world.services.provisioner.recover()
        await world.quiet()
        await sweep(world)
        assert (await world.row(vm)).state is VmState.RUNNING


async def test_an_old_copy_of_vms_that_all_have_ended_is_made_whole_too(machine: Machine) -> None:
    """An empty listing is no riddle once each of them is known to be forgotten."""
    async with machine.life() as world:
        vm = await world.create(name=FIRST)
    copy = keep(machine)
    async with machine.life() as world:
        await world.end(vm)
    put_back(machine, copy)
    machine.clock.forward(hours=1)
    async with machine.life() as world:
        await sweep(world)
        assert world.services.restoration.pending == ""


async def test_what_the_payer_spends_on_others_is_not_ours(machine: Machine) -> None:
    """Another key's VM does not count; what nobody can tell counts."""
    async with machine.life():
        pass
    delete(machine)
    now, network = machine.clock.now(), machine.network
    network.stranger("ab" * 32, sender="0xElse")
    network.booked[ADDRESS] += [
        Expense("other", now, "ab" * 32, 700),
        Expense("unknown", now, "cd" * 32, 40),
        Expense("nameless", now, "", 2),
        Expense("old", now - DAY - HOUR, "cd" * 32, 9000),
    ]
    async with machine.life() as world:
        await sweep(world)
        assert (await world.inventory.exposure("", now)).spent_day_units == 42


async def test_lost_rows_are_a_sign_of_their_own(machine: Machine) -> None:
    """With the counter rolled back too: our stamp without a row proves that something is missing."""
    vms = await an_old_copy(machine)
    await StartFile(machine.database).write(1)
    async with machine.life() as world:
        assert world.services.restoration.pending == ""
        machine.network.fail("expenses")
        await sweep(world)
        assert (await refusal(world)).code == "inventory_restored"
        await sweep(world)
        assert (await world.row(vms[SECOND])).expires_at == vms[SECOND].expires_at
        await world.create(name="new")


# ------------------------------------------------------------------ counting


@pytest.mark.parametrize("cut", ["write(0)", "count_start", "write(n)"])
async def test_a_start_that_is_cut_anywhere_is_neither_taken_for_a_loss_nor_hides_one(
    machine: Machine, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL before each of the steps, at the first start, at a later one, and at the first after a loss."""
    for _ in range(2):
        with monkeypatch.context() as patched:
            _cut_before(patched, cut)
            async with machine.life():
                pass
        async with machine.life() as world:
            assert world.services.restoration.pending == "", "it is not taken for a loss"
    copy = keep(machine)
    async with machine.life():
        pass
    put_back(machine, copy)
    with monkeypatch.context() as patched:
        _cut_before(patched, cut)
        async with machine.life():
            pass
    async with machine.life() as world:
        assert world.services.restoration.pending, "the loss is not hidden"


def _cut_before(patched: pytest.MonkeyPatch, cut: str) -> None:
    write = StartFile.write

    async def dies(*_: object) -> int:
        raise OSError("killed")

    async def dies_at(counter: StartFile, count: int) -> None:
        if (count == 0) == (cut == "write(0)"):
            raise OSError("killed")
        await write(counter, count)

    if cut == "count_start":
        patched.setattr(SqlInventory, "count_start", dies)
    else:
        patched.setattr(StartFile, "write", dies_at)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"starts": -1}', '{"starts": true}', '{"starts": "7"}'])
async def test_a_damaged_counter_is_unknown_and_refuses(machine: Machine, content: str) -> None:
    """Until everything is known again; then the next start counts on."""
    async with machine.life():
        pass
    (machine.directory / "starts-inventory.json").write_text(content)
    async with machine.life() as world:
        assert (await refusal(world)).code == "inventory_restored"
        await sweep(world)
        await world.create(name=FIRST)
    async with machine.life() as world:
        assert world.services.restoration.pending == ""


async def test_a_counter_that_is_gone_is_unknown(machine: Machine) -> None:
    """A copy on another machine has none beside it."""
    async with machine.life():
        pass
    (machine.directory / "starts-inventory.json").unlink()
    async with machine.life() as world:
        assert "counter of its starts is gone" in world.services.restoration.pending


async def test_a_start_that_cannot_be_counted_is_counted_by_a_sweep(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: creates wait, nothing else does."""
    with monkeypatch.context() as patched:
        _cut_before(patched, "count_start")
        async with machine.life() as world:
            assert "cannot be counted: killed" in (await refusal(world)).message
            patched.undo()
            await sweep(world)
            await world.create(name=FIRST)


async def test_a_copy_of_a_long_life_is_an_old_one_too(machine: Machine) -> None:
    """Life is counted by the hour; an hour that cannot be counted freezes nothing."""
    copy = machine.directory / "old copy"
    async with machine.life() as world:
        with closing(sqlite3.connect(machine.database)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        await world.services.restoration.count_on()
        await world.create(name=FIRST)
    put_back(machine, copy)
    async with machine.life() as world:
        assert world.services.restoration.pending


async def test_an_hour_that_cannot_be_counted_freezes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk may be full for a while."""
    _cut_before(monkeypatch, "count_start")
    await world.services.restoration.count_on()
    await world.create(name=FIRST)


async def test_a_quote_says_that_it_would_be_refused_now(machine: Machine) -> None:
    """A dry run asks the same gates as a create."""
    await an_old_copy(machine)
    async with machine.life() as world:
        [objection] = await world.services.planner.objections(await world.plan(name="new"), ALICE)
        assert "inventory_restored" in objection


async def test_an_extension_that_is_asked_for_while_the_daemon_starts_waits_for_the_count(
    world: World,
) -> None:
    """It is not refused because nobody has looked yet."""
    vm = await world.create()
    restoration = world.services.restoration
    restoration._looked.clear()
    restoration._uncounted = "not yet"
    extending = asyncio.ensure_future(world.services.extender.extend(vm, 1, ALICE))
    await asyncio.sleep(0)
    assert not extending.done()
    await restoration.begin_life()
    assert (await extending).lease_version == 2


async def test_quotes_of_before_are_void(world: World) -> None:
    """They were priced against books that are not to be relied on."""
    plan = await world.plan(name=FIRST)
    quote = world.services.planner.remember(plan, ALICE)
    await world.services.restoration.begin("test")
    assert world.services.treasury.find_quote(ALICE.session, quote.request) is None
