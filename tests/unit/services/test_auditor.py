"""The auditor: what is done is written soon, anchored outside, and compared with it; it never fails what it audits."""

import asyncio
from typing import cast

import pytest

from aleph_agentd.domain import audit
from aleph_agentd.domain.acting import Act, on_behalf_of
from aleph_agentd.domain.audit import Link
from aleph_agentd.domain.model import VmState
from aleph_agentd.ports import StoreTrouble
from aleph_agentd.services import auditor as auditing
from aleph_agentd.services.auditor import Auditor
from support.anchors import MemoryAnchors
from support.world import ALICE, Machine, World, until


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is written at once, and anchored at every third entry."""
    monkeypatch.setattr(auditing, "WRITE_S", 0.0)
    monkeypatch.setattr(auditing, "ANCHOR_EVERY", 3)


def anchors_of(auditor: Auditor) -> MemoryAnchors:
    """Where it keeps them."""
    return cast(MemoryAnchors, auditor._anchors)


async def story(world: World) -> list[str]:
    """Kind and text of every entry."""
    entries = await world.services.auditor.page(0, 500)
    return [f"{entry.deed.kind}: {entry.deed.text}" for entry in entries]


async def test_what_is_noted_is_written_by_itself(world: World) -> None:
    """Nobody has to wait for it, and nobody has to write anything else."""
    with on_behalf_of(Act("agent", "alice", "alice/1")):
        world.services.auditor.note("call", "something", "ab")
    await until(lambda: not world.inventory._backlog)
    [entry] = await world.inventory.audit_page(0, 10)
    assert (entry.deed.actor, entry.deed.session, entry.deed.request_key, entry.deed.item_hash) == (
        "agent",
        "alice",
        "alice/1",
        "ab",
    )
    assert entry.deed.at == world.clock.now()


async def test_every_so_many_entries_the_head_is_anchored(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log and in the file, also when all of them came at once; and once only."""
    caplog.set_level("INFO")
    auditor = world.services.auditor
    for n in range(7):
        auditor.note("call", str(n))
    await auditor.write()
    await auditor.write()
    entries = await world.inventory.audit_page(0, 10)
    marks = [entries[2].link, entries[5].link]
    assert anchors_of(auditor).links == marks
    assert audit.anchors_in(caplog.text) == marks


async def test_a_change_of_state_is_anchored_too(world: World) -> None:
    """The composition root says so whenever the inventory has changed."""
    world.inventory.on_change = world.services.auditor.changed
    await world.create()
    await until(lambda: anchors_of(world.services.auditor).links)
    assert (await world.services.auditor.verify()).problem == ""


async def test_the_last_thing_is_an_anchor_of_the_head(world: World) -> None:
    """rules.md 23: then a tail that is cut while the daemon is off is seen."""
    auditor = world.services.auditor
    auditor.note("call", "one")
    auditor.note("daemon", "stopped")
    await auditor.stop()
    head = await world.inventory.audit_head()
    assert (head.n, anchors_of(auditor).links) == (2, [head])
    await auditor.stop()
    assert anchors_of(auditor).links == [head]


async def cut(world: World, after: int) -> None:
    """Take the newest entries away."""
    from sqlalchemy import text

    await world.inventory._transact(
        lambda c: c.execute(text(f"DELETE FROM audit WHERE n > {after}")) and None, quiet=True
    )


async def test_a_start_sees_that_the_tail_was_cut(world: World) -> None:
    """It is an alert until the next start, and an entry; and the check still finds it when the log went on."""
    first = world.services.auditor
    for n in range(5):
        first.note("call", str(n))
    await first.stop()
    await cut(world, after=3)
    again = Auditor(world.inventory, anchors_of(first), world.clock)
    await again.start()
    assert "ends with entry 3, but entry 5 was anchored" in again.alerts()[0]
    again.note("daemon", "started")
    [_, _, _, told, _] = await again.page(0, 10)
    assert (told.deed.kind, "its tail was cut" in told.deed.text) == ("audit", True)
    assert "entry 5 is not the one that was anchored" in (await again.verify()).problem


async def test_a_start_sees_that_the_head_was_written_anew(world: World) -> None:
    """The same number with another hash."""
    first = world.services.auditor
    first.note("call", "one")
    await first.stop()
    head = await world.inventory.audit_head()
    again = Auditor(world.inventory, MemoryAnchors(), world.clock)
    anchors_of(again).links = [Link(head.n, "f" * 64)]
    await again.start()
    assert "entry 1 is not the one that was anchored" in again.alerts()[0]


async def test_a_sound_start_says_nothing_and_anchors_what_a_crash_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marks that were reached before the daemon was killed are anchored by its next life."""
    monkeypatch.setattr(auditing, "WRITE_S", 60.0)
    first = world.services.auditor
    await first.start()
    for n in range(3):
        first.note("call", str(n))
    await first.write()
    for n in range(4):
        world.inventory.audit(audit.deed(world.clock.now(), "call", str(n), Act()))
    await world.inventory.write_audit()
    again = Auditor(world.inventory, anchors_of(first), world.clock)
    await again.start()
    assert again.alerts() == []
    await again.write()
    assert [link.n for link in anchors_of(again).links] == [3, 6]


async def test_the_caller_may_bring_anchors_of_its_own(world: World) -> None:
    """The journal's, say: the file beside the inventory is in reach of whoever can write the inventory."""
    auditor = world.services.auditor
    auditor.note("call", "one")
    sound = await auditor.verify()
    assert (sound.problem, sound.anchors) == ("", 0)
    assert (await auditor.verify([sound.head])).anchors == 1
    assert "was anchored" in (await auditor.verify([Link(1, "0" * 64)])).problem
    assert "its tail was cut" in (await auditor.verify([Link(2, "0" * 64)])).problem


async def test_a_rotation_in_the_middle_of_a_check_is_no_problem(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is gone when its turn comes was there when the check began: it begins again."""
    monkeypatch.setattr(audit, "KEPT", 20)
    monkeypatch.setattr(audit, "ROTATED_AT_ONCE", 10)
    monkeypatch.setattr(auditing, "_PAGE", 5)
    auditor = world.services.auditor
    for n in range(28):
        auditor.note("call", str(n))
    await auditor.write()
    page, rotated = world.inventory.audit_page, False

    async def rotate_first(after: int, limit: int) -> list[audit.Entry]:
        nonlocal rotated
        if not rotated and after > 0:
            rotated = True
            for n in range(14):
                world.inventory.audit(audit.deed(world.clock.now(), "call", str(n), Act()))
            await world.inventory.write_audit()
        return await page(after, limit)

    monkeypatch.setattr(world.inventory, "audit_page", rotate_first)
    verdict = await auditor.verify()
    assert rotated
    assert (verdict.problem, verdict.base.n, verdict.head.n) == ("", 20, 42)


async def test_an_audit_that_cannot_be_kept_fails_nothing_and_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, or a file of anchors that cannot be written: an alert, until it works again."""
    auditor, write = world.services.auditor, world.inventory.write_audit

    async def full() -> None:
        raise StoreTrouble("no room")

    monkeypatch.setattr(world.inventory, "write_audit", full)
    auditor.note("call", "one")
    await auditor.write()
    assert auditor.alerts() == ["The audit log could not be kept: no room."]
    monkeypatch.setattr(world.inventory, "write_audit", write)
    anchors_of(auditor).trouble = PermissionError("no")
    for n in range(3):
        auditor.note("call", str(n))
    await auditor.write()
    assert auditor.alerts() == ["The audit log could not be kept: no."]
    assert (await world.inventory.audit_head()).n == 4
    await Auditor(world.inventory, anchors_of(auditor), world.clock).start()
    anchors_of(auditor).trouble = None
    await auditor.stop()
    assert auditor.alerts() == []
    assert [link.n for link in anchors_of(auditor).links][-1] == 4


# ---------------------------------------------------------------------- what services leave behind


async def test_a_rental_leaves_its_signatures_and_messages_in_order(world: World) -> None:
    """Signed, decided, written, sent, taken, running, ended: by kind and hash."""
    with on_behalf_of(Act("agent", "alice", "alice/1")):
        vm = await world.create()
    await world.end(vm)
    told = await story(world)
    create, forgets = vm.item_hash, await world.inventory.forgets(vm.item_hash)
    assert told[0] == f"signature: INSTANCE on crn-1, paid by {world.network.address}"
    assert told[1] == f"signature: 8 FORGET: {', '.join(one.item_hash[:16] for one in forgets)}"
    assert told[2].startswith("decision: create box: allowed by every rule")
    assert told[3].startswith("intended: ")
    assert told[4] == f"sent: INSTANCE {create}: a node has it"
    assert [line.split(":")[0] for line in told[5:]] == [
        "provisioning",
        "sent",
        "running",
        "destroying",
        "sent",
        "settled",
        "sent",
        "gone",
    ]
    assert told[6].startswith("sent: notify to http://")
    assert told[9] == f"sent: FORGET {forgets[0].item_hash}: a node has it"
    assert told[11].startswith("sent: signed erase to http://")
    entries = await world.inventory.audit_page(0, 100)
    assert {entry.deed.item_hash for entry in entries} == {create}
    actors = {entry.deed.actor for entry in entries if entry.deed.kind in ("signature", "running")}
    assert actors == {"agent"}
    assert {entry.deed.request_key for entry in entries[:8]} == {"alice/1"}


async def test_what_may_have_left_is_told_as_not_known(world: World) -> None:
    """A kill switch, a notify and an erase whose answers were lost after they took effect."""
    for method in ("notify", "erase"):
        world.network.fail(method, when="after")
    vm = await world.create()
    world.network.fail("post", when="after")
    await world.end(vm, passes=3)
    told = [line for line in await story(world) if "not known" in line]
    assert [line.split(" not known ")[1].split(" (")[0] for line in told] == [
        "whether it arrived",
        "whether it arrived",
        "whether it took effect",
    ]
    assert [line.split()[1] for line in told] == ["notify", "FORGET", "signed"]


async def test_an_alarm_that_a_caller_set_off_is_the_daemon_s_own_doing(machine: Machine) -> None:
    """Whoever made the VM: its lease ends by the daemon."""
    async with machine.life() as world:
        with on_behalf_of(Act("agent", "alice", "alice/1")):
            vm = await world.create(ALICE)
        world.clock.forward(hours=5)
        await world.services.reaper.run()
        await world.quiet()
        assert (await world.row(vm)).state is VmState.GONE
        entries = await world.inventory.audit_page(0, 100)
        ends = [e.deed for e in entries if e.deed.kind in ("destroying", "settled", "gone")]
        assert [(done.actor, done.request_key) for done in ends] == [("daemon", "")] * 3


async def test_many_notes_in_one_turn_make_one_write(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is only read costs no transaction of its own."""
    writes: list[int] = []
    transact = world.inventory._run

    def counted(*arguments: object) -> object:
        writes.append(1)
        return transact(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(world.inventory, "_run", counted)
    for n in range(50):
        world.services.auditor.note("call", str(n), countable=True)
    assert writes == []
    await until(lambda: not world.inventory._backlog)
    await asyncio.sleep(0)
    assert sum(writes) <= 2
