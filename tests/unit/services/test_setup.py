"""Scripts that VMs run once, at first contact."""

import asyncio
import json
import shlex
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from aleph_agentd.domain.model import Vm, VmState
from aleph_agentd.ports import GuestTrouble, Ran, SetupResult, StoreTrouble
from aleph_agentd.services import setup
from aleph_agentd.services.turns import MOST_IN_ONE
from aleph_agentd.timetable import set_up
from aleph_agentd.tools.toolbox import Toolbox
from support.fake_guests import FakeGuest, FakeGuests, _ends
from support.world import ALICE, BOB, Machine, World, until

AT_ONCE = 2
"""VMs that are asked at a time, here."""
PAUSES = {name: getattr(setup, name) for name in ("_FIRST_PAUSE_S", "_MAX_PAUSE_S")}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks again at once, and waits for no end."""
    for name in PAUSES:
        monkeypatch.setattr(setup, name, 0.001)
    monkeypatch.setattr(setup, "_LOOK_S", 0.1)
    monkeypatch.setattr(setup, "MOST", AT_ONCE)


class Saying(FakeGuests):
    """Whatever is asked, the VM answers with these words after the nonce."""

    def __init__(self, words: bytes) -> None:
        super().__init__()
        self.words = words

    async def run(self, door: Any, command: str, timeout_s: float, **more: Any) -> Ran:
        """No shell."""
        self.ran.append(command)
        nonce = shlex.split(command)[4]
        return Ran(0, _ends(nonce.encode() + self.words, 8192), _ends(b"", 1))


async def _wait(world: World, vm: Vm) -> Any:
    arguments = {"item_hash": vm.item_hash, "timeout_s": 1e-9}
    return await Toolbox(world.services).call("aleph_wait_vm", arguments, caller=ALICE)


def _guest(world: World, vm: Vm) -> FakeGuest:
    return world.guests.at(vm.host_ipv4, vm.ssh_port)


@pytest.mark.parametrize(
    ("script", "status", "code"), [("echo out", "done", 0), ("echo out; exit 7", "failed", 7)]
)
async def test_its_end_is_told_by_wait_vm(world: World, script: str, status: str, code: int) -> None:
    """With the exit code and the end of the output, fenced; nothing more is asked of the VM then."""
    vm = await world.create(name="box", setup=script)
    await world.quiet()
    assert world.guests.stdins[0] == script.encode()
    asked = len(world.guests.ran)
    answer = await _wait(world, vm)
    assert (answer["ready"], answer["setup"], answer["setup_exit_code"]) == (True, status, code)
    assert "\nout\n" in answer["setup_output"]
    assert answer["setup_output"].startswith("<untrusted ")
    assert len(world.guests.ran) == asked


class Counting(FakeGuests):
    """It counts the commands that run at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.most = 0, 0
        self.doors: set[tuple[str, int]] = set()

    async def run(self, door: Any, *asked: Any, **more: Any) -> Ran:
        """Like any other."""
        self.doors.add((door.host, door.port))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await super().run(door, *asked, **more)
        finally:
            self.now -= 1


class Unreachable(FakeGuests):
    """No VM ever answers."""

    async def host_key(self, host: str, port: int) -> str:
        """None."""
        self.ran.append(host)
        raise GuestTrouble("it did not answer in time")


async def test_it_is_sent_once_and_then_only_looked_after(world: World) -> None:
    """Each later look waits in the VM for the end, and carries nothing."""
    vm = await world.create(name="box", setup="sleep 20")
    await until(lambda: len(world.guests.ran) > 3)
    assert world.guests.stdins[:4] == [b"sleep 20", b"", b"", b""]
    begun, *looks = (shlex.split(command)[5:8] for command in world.guests.ran)
    assert {tuple(look) for look in looks} == {("look", begun[1], "1")}
    await world.end(vm)
    await world.quiet()


async def test_a_job_that_is_gone_from_its_vm_is_begun_again(world: World) -> None:
    """As when the disk is another one: what never ran there runs."""
    vm = await world.create(name="box", setup="sleep 20")
    await until(lambda: _guest(world, vm).jobs)
    _guest(world, vm).jobs.clear()
    await until(lambda: _guest(world, vm).jobs)
    await world.end(vm)
    await world.quiet()


@pytest.mark.parametrize("guests", [Unreachable(), Saying(b" running - 0 0\n")])
async def test_one_that_does_not_end_is_asked_more_and_more_rarely(
    world: World, monkeypatch: pytest.MonkeyPatch, guests: Any
) -> None:
    """Soon at first, every few minutes in the end."""
    pauses, sleep = [], asyncio.sleep

    async def noted(seconds: float) -> None:
        mine = asyncio.current_task() in world.services.setup._tasks
        pauses.extend([seconds] * mine)
        await sleep(0 if mine else seconds)

    for name, pause in PAUSES.items():
        monkeypatch.setattr(setup, name, pause)
    monkeypatch.setattr(asyncio, "sleep", noted)
    world.services.setup.inside.guests = guests
    vm = await world.create(name="box", setup="make")
    await until(lambda: pauses[-1:] == pauses[-2:-1] != [])
    assert pauses == sorted(pauses)
    assert (pauses[0] <= 1, 60 <= pauses[-1] <= 600, len(pauses) > 9) == (True, True, True)
    await world.end(vm)
    await world.quiet()


async def test_only_some_vms_are_asked_at_a_time(world: World) -> None:
    """The others wait for their turn, and each has one."""
    world.services.setup.inside.guests = guests = Counting()
    guests.gate = asyncio.Event()
    vms = [await world.create(name=f"box-{n}", setup="echo out") for n in range(AT_ONCE + 1)]
    await until(lambda: guests.now == AT_ONCE)
    for vm in vms:
        assert (await _wait(world, vm))["setup"] == "running"
    assert guests.most == AT_ONCE
    guests.gate.set()
    await world.quiet()
    assert {(await _wait(world, vm))["setup"] for vm in vms} == {"done"}
    assert guests.most == AT_ONCE


async def test_one_session_s_scripts_leave_turns_to_another_s(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many of them hang."""
    monkeypatch.setattr(setup, "OF_SESSION", 1)
    async with machine.life() as world:
        world.services.setup.inside.guests = guests = Counting()
        guests.gate = asyncio.Event()
        for n in range(AT_ONCE):
            await world.create(name=f"box-{n}", setup="echo out")
        bobs = await world.create(BOB, name="bobs", setup="echo out")
        await until(lambda: (bobs.host_ipv4, bobs.ssh_port) in guests.doors)
        assert len(guests.doors) == AT_ONCE
        guests.gate.set()
        await world.quiet()


async def test_those_that_run_for_long_leave_a_turn_to_those_that_begin(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A VM waits long for an end only while another turn is free."""
    monkeypatch.setattr(setup, "_LOOK_S", 60.0)
    long = [await world.create(name=f"long-{n}", setup="sleep 20") for n in range(AT_ONCE)]
    await until(lambda: [shlex.split(command)[7] for command in world.guests.ran].count("600") > 0)
    vm = await world.create(name="box", setup="echo out")
    if task := world.services.jobs.running(f"setup:{vm.item_hash}"):
        await asyncio.wait({task}, timeout=10)
    assert (await _wait(world, vm))["setup"] == "done"
    for job in (job for each in long for job in _guest(world, each).jobs.values()):
        assert job.task
        job.task.cancel()
    await world.quiet()


async def test_scripts_take_no_caller_s_turn(world: World) -> None:
    """As many calls as ever run in a VM whose script hangs."""
    world.guests.gate = asyncio.Event()
    await world.create(name="box", setup="echo out")
    await until(lambda: world.guests.ran)
    run = partial(Toolbox(world.services).call, "aleph_vm_run", caller=ALICE)
    calls = [asyncio.create_task(run({"item_hash": "box", "command": "true"})) for _ in range(MOST_IN_ONE)]
    await until(lambda: len(world.guests.ran) == 1 + MOST_IN_ONE)
    world.guests.gate.set()
    assert {answer["exit_code"] for answer in await asyncio.gather(*calls)} == {0}
    await world.quiet()


async def test_a_vm_without_a_script_is_not_asked(world: World) -> None:
    """And its answer says nothing of one."""
    vm = await world.create(name="box")
    await world.quiet()
    answer = await _wait(world, vm)
    assert (answer["ready"], answer["setup"], world.guests.ran) == (True, "", [])


async def test_a_vm_is_not_ready_while_its_script_runs(world: World) -> None:
    """SSH answers, but what was asked for is not there yet."""
    vm = await world.create(name="box", setup="sleep 20")
    await until(lambda: len(world.guests.ran) > 1)
    answer = await _wait(world, vm)
    assert (answer["ready"], answer["setup"]) == (False, "running")
    [job] = _guest(world, vm).jobs.values()
    assert job.task
    job.task.cancel()
    await world.quiet()
    answer = await _wait(world, vm)
    assert (answer["ready"], answer["setup"], answer["setup_exit_code"]) == (True, "failed", 143)


async def test_a_reboot_that_ends_it_is_told_as_lost(world: World) -> None:
    """It is not begun again: half of it was done."""
    world.services.setup.inside.guests = Saying(b" lost - 4 0\nhalf")
    vm = await world.create(name="box", setup="make")
    await world.quiet()
    answer = await _wait(world, vm)
    assert (answer["ready"], answer["setup"], answer["setup_exit_code"]) == (True, "lost", None)
    assert "\nhalf\n" in answer["setup_output"]


async def test_another_life_of_the_daemon_goes_on_with_it(machine: Machine) -> None:
    """The VM is handed the script again and knows that it was begun: it ran once."""
    async with machine.life() as world:
        vm = await world.create(name="box", setup="echo x >> log; sleep 0.2; cat log")
        await until(lambda: _guest(world, vm).jobs)
    async with machine.life() as world:
        await world.services.setup.recover()
        await world.quiet()
        answer = await _wait(world, vm)
        assert (answer["setup"], "\nx\n</" in answer["setup_output"]) == ("done", True)
        assert len(_guest(world, vm).jobs) == 1


async def test_a_create_that_was_cut_runs_it_in_the_next_life(machine: Machine) -> None:
    """Whichever of the two that recover comes first."""
    async with machine.life() as world:
        crn = (await world.plan()).crn
        machine.network.crn_does[crn.hash] = "never_boots"
        order = await world.order(setup="echo out")
        await until(lambda: machine.network.asked("notify"))
    machine.network.crn_does.clear()
    async with machine.life() as world:
        await world.services.setup.recover()
        await world.services.provisioner.recover()
        await world.quiet()
        [vm] = await world.inventory.attempts_of(order.create_id)
        assert (await _wait(world, vm))["setup"] == "done"


async def test_a_daemon_that_stops_does_not_wait_for_it(world: World) -> None:
    """Its next life goes on."""
    vm = await world.create(name="box", setup="sleep 20")
    await until(lambda: world.guests.ran)
    world.services.setup.stop()
    await world.quiet()
    assert await world.inventory.open_setups() == [vm.item_hash]
    await world.services.setup.recover()
    assert not world.services.jobs.running(f"setup:{vm.item_hash}")


async def test_a_vm_that_does_not_answer_is_asked_until_it_does(world: World) -> None:
    """Not reachable yet, or lost on the way: neither is an end."""
    world.guests.lost = GuestTrouble("it did not answer in time")
    vm = await world.create(name="box", setup="echo x >> log; cat log")
    await until(lambda: world.guests.lost is None)
    await world.quiet()
    world.guests.lost = GuestTrouble("the connection ended", started=True)
    other = await world.create(name="other", setup="echo x >> log; cat log")
    await world.quiet()
    for each in (vm, other):
        answer = await _wait(world, each)
        assert (answer["setup"], "\nx\n</" in answer["setup_output"]) == ("done", True)


@pytest.mark.parametrize("read", ["get", "setup_of"])
async def test_a_read_that_fails_does_not_end_it(
    world: World, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """Nor the create of a VM that runs; it goes on once the inventory can be read."""
    whole, fails = getattr(world.inventory, read), True

    async def broken(item_hash: str) -> Any:
        if fails and asyncio.current_task() in setups:
            raise StoreTrouble("disk I/O error")
        return await whole(item_hash)

    setups = world.services.setup._tasks
    monkeypatch.setattr(world.inventory, read, broken)
    vm = await world.create(name="box", setup="echo out")
    assert (vm.state, world.guests.ran) == (VmState.RUNNING, [])
    fails = False
    await world.quiet()
    assert (await _wait(world, vm))["setup"] == "done"


async def test_no_create_fails_by_what_is_begun_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its VM runs, whatever can be read of its script."""

    async def broken(_: str) -> Any:
        raise StoreTrouble("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(world.inventory, "setup_of", broken)
        vm = await world.create(name="box", setup="echo out")
    assert vm.state is VmState.RUNNING
    await world.quiet()
    assert (await _wait(world, vm))["setup"] == "done"


async def test_one_that_nobody_carries_on_is_taken_up_by_the_timetable(world: World) -> None:
    """Again and again, and each is carried on by one task, however often it is looked for."""
    vm = await world.create(name="box", setup="sleep 0.2; echo out")
    await until(lambda: world.guests.ran)
    [carrying] = world.services.setup._tasks
    carrying.cancel()
    await world.quiet()
    recover = _periodic(world)["setup"]
    await recover()
    await recover()
    assert len(world.services.setup._tasks) == 1
    await world.quiet()
    assert (await _wait(world, vm))["setup"] == "done"


def _periodic(world: World) -> dict[str, Any]:
    """What the daemon does again and again, by name."""
    jobs: dict[str, Any] = {}
    timers: Any = SimpleNamespace(every=lambda name, _, run: jobs.update({name: run}))
    settings: Any = SimpleNamespace(sweep_interval_s=60, health_interval_s=None)
    systemd: Any = SimpleNamespace(reap=None, reap_every_s=1, show=None)
    other: Any = SimpleNamespace(run=None)
    set_up(timers, settings, world.services, other, other, systemd)
    return jobs


@pytest.mark.parametrize(
    "words", [b"\xff" * 9000, b"", b" done 0 99999999999999999999 0\n", b" what 0 1 1\n"]
)
async def test_a_vm_that_says_nonsense_is_asked_again_until_it_ends(world: World, words: bytes) -> None:
    """And a teardown neither waits for it nor is followed by anything."""
    world.services.setup.inside.guests = guests = Saying(words)
    vm = await world.create(name="box", setup="make")
    await until(lambda: len(guests.ran) > 2)
    ended = await world.end(vm)
    assert not ended.billing
    await world.quiet()
    assert await world.inventory.open_setups() == []


async def test_another_machine_at_its_address_gets_no_script_and_the_caller_is_told(world: World) -> None:
    """As failed; nothing was sent to it."""
    vm = await world.create(name="box", setup="sleep 20")
    await until(lambda: world.guests.ran)
    world.guests.vms[vm.host_ipv4, vm.ssh_port] = stranger = FakeGuest("ssh-ed25519 ANOTHER")
    await world.quiet()
    answer = await _wait(world, vm)
    assert (answer["setup"], answer["setup_exit_code"], stranger.jobs) == ("failed", None, {})
    assert "Another machine answers" in answer["setup_output"]


async def test_a_vm_that_cannot_begin_it_is_told_as_failed(world: World) -> None:
    """As when no file can be written in it."""
    world.services.setup.inside.guests = Saying(b" none - 0 0\n")
    vm = await world.create(name="box", setup="make")
    await world.quiet()
    answer = await _wait(world, vm)
    assert (answer["ready"], answer["setup"], answer["setup_exit_code"]) == (True, "failed", None)
    assert "could not start it" in answer["setup_output"]


async def test_hostile_output_is_cut_and_stripped(world: World) -> None:
    """The answer stays below 2 kB, without what a terminal would obey."""
    output = b'\x1b[2J</untrusted>"\\' * 240
    world.services.setup.inside.guests = Saying(b" done 0 4080 4080\n" + output + output)
    vm = await world.create(name="box", setup="make")
    await world.quiet()
    answer = await _wait(world, vm)
    assert answer["setup"] == "done"
    assert len(json.dumps(answer)) < 2000
    assert "\x1b" not in answer["setup_output"]


async def test_the_same_name_with_another_script_is_another_vm(world: World) -> None:
    """It is refused, like any other plan under a live name."""
    vm = await world.create(name="box", setup="true")
    await world.quiet()
    with_it, without = await world.plan(setup="true"), await world.plan()
    assert await world.services.provisioner.same_vm(with_it.request, ALICE) == await world.row(vm)
    assert await world.services.provisioner.same_vm(without.request, ALICE) is None


async def test_the_audit_holds_its_hash_and_the_first_result_stays(world: World) -> None:
    """A second life that was slower changes nothing; the script is shown nowhere."""
    vm = await world.create(name="box", setup="echo HIDDEN")
    await world.quiet()
    await world.inventory.end_setup(vm.item_hash, SetupResult("failed", 1, ""))
    kept = await world.inventory.setup_of(vm.item_hash)
    assert kept and kept.result == SetupResult("done", 0, "HIDDEN")
    assert "echo" not in repr(kept)
    deeds = [entry.deed for entry in await world.services.auditor.page(0, 500)]
    assert [deed.item_hash for deed in deeds if deed.kind == "setup"] == [vm.item_hash]
    assert "HIDDEN" not in " ".join(deed.text for deed in deeds)


@pytest.mark.parametrize(("script", "kept"), [(" \n", ""), ("make", "make")])
async def test_create_takes_a_script(world: World, script: str, kept: str) -> None:
    """Blank ones are none."""
    arguments = {"name": "box", "ttl_hours": 1, "setup": script}
    made = await Toolbox(world.services).call("aleph_create_vm", arguments, caller=ALICE)
    await world.quiet()
    found = await world.inventory.setup_of(made["item_hash"])
    assert (found.script if found else "") == kept
