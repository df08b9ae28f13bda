"""Rebooting and reinstalling a VM."""

import asyncio
from typing import Any

import pytest

from aleph_agentd.domain.errors import Refusal
from aleph_agentd.domain.model import Vm
from aleph_agentd.services import setup
from aleph_agentd.tools.toolbox import Toolbox
from support.fake_guests import FakeGuest
from support.world import ALICE, BOB, World, until


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks again at once how a script goes on."""
    monkeypatch.setattr(setup, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(setup, "_MAX_PAUSE_S", 0.001)


async def _power(world: World, caller: Any = ALICE, **arguments: Any) -> Any:
    return await Toolbox(world.services).call("aleph_vm_power", arguments, caller=caller)


async def _refusal(world: World, caller: Any = ALICE, **arguments: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await _power(world, caller, **arguments)
    assert refused.value.hint
    return refused.value


async def test_a_reboot_is_asked_of_its_crn_and_leaves_the_lease(world: World) -> None:
    """One order, no new row."""
    vm = await world.create(name="box")
    answer = await _power(world, item_hash="box", action="reboot")
    assert (answer["status"], answer["item_hash"]) == ("rebooting", vm.item_hash)
    assert world.network.asked("reboot") == [vm.item_hash]
    assert await world.row(vm) == vm


async def test_a_reinstall_wants_the_token_and_the_full_hash(world: World) -> None:
    """rules.md 24: no name, no other VM, no other session's token."""
    vm = await world.create(name="box")
    other = await world.create(name="other")
    asked = await _power(world, item_hash="box", action="reinstall")
    assert (asked["status"], asked["item_hash"]) == ("confirm", vm.item_hash)
    for reference, token in (("box", asked["token"]), (other.item_hash, asked["token"]), (vm.item_hash, "x")):
        refused = await _refusal(world, item_hash=reference, action="reinstall", token=token)
        assert refused.code == "not_confirmed"
    assert world.network.asked("reinstall") == []
    done = await _power(world, item_hash=vm.item_hash, action="reinstall", token=asked["token"])
    assert done["status"] == "reinstalling"
    assert world.network.asked("reinstall") == [vm.item_hash]


async def _confirmed(world: World, vm: Vm) -> dict[str, Any]:
    """The arguments of a reinstall that the user agreed to."""
    power = {"item_hash": vm.item_hash, "action": "reinstall"}
    return {**power, "token": (await _power(world, **power))["token"]}


def _new_disk(world: World, vm: Vm) -> FakeGuest:
    """What answers at its address from now on."""
    guest = world.guests.vms[vm.host_ipv4, vm.ssh_port] = FakeGuest("ssh-ed25519 NEW")
    return guest


async def _setup(world: World, vm: Vm) -> tuple[str, int | None]:
    words = {"item_hash": vm.item_hash, "timeout_s": 0.01}
    answer = await Toolbox(world.services).call("aleph_wait_vm", words, caller=ALICE)
    return answer["setup"], answer["setup_exit_code"]


async def test_its_script_runs_on_the_new_disk(world: World) -> None:
    """How it ended on the old one is told of the old one only."""
    vm = await world.create(name="box", setup="echo out")
    await world.quiet()
    assert await _setup(world, vm) == ("done", 0)
    power = await _confirmed(world, vm)
    hold = world.network.hold("reinstall")
    asked = asyncio.create_task(_power(world, **power))
    await hold.arrival()
    assert await _setup(world, vm) == ("running", None)
    guest = _new_disk(world, vm)
    hold.go.set()
    assert (await asked)["status"] == "reinstalling"
    await world.quiet()
    assert (await _setup(world, vm), len(guest.jobs)) == (("done", 0), 1)


async def _run(world: World, vm: Vm) -> Any:
    words = {"item_hash": vm.item_hash, "command": "true"}
    return (await Toolbox(world.services).call("aleph_vm_run", words, caller=ALICE))["exit_code"]


async def _pinned(world: World, vm: Vm) -> str:
    key = await world.inventory.guest_key(vm.item_hash)
    assert key
    return key.host_key


@pytest.mark.parametrize("is_known", [True, False])
async def test_who_meets_the_old_disk_meanwhile_does_not_shut_the_daemon_out(
    world: World, is_known: bool
) -> None:
    """It pins the old key again; also when nobody knows whether the reinstall took effect, the next is the first."""
    vm = await world.create(name="box", setup="echo out")
    await world.quiet()
    power = await _confirmed(world, vm)
    hold = world.network.hold("reinstall")
    if not is_known:
        world.network.fail("reinstall", when="after")
    asked = asyncio.create_task(Toolbox(world.services).call("aleph_vm_power", power, caller=ALICE))
    await hold.arrival()
    await world.services.setup.recover()
    await until(lambda: not world.services.jobs.running(f"setup:{vm.item_hash}"))
    assert await _run(world, vm) == 0
    assert await _pinned(world, vm) == world.guests.at(vm.host_ipv4, vm.ssh_port).host_key
    guest = _new_disk(world, vm)
    hold.go.set()
    [answer] = await asyncio.gather(asked, return_exceptions=True)
    assert isinstance(answer, dict) is is_known
    await world.quiet()
    assert (await _run(world, vm), await _pinned(world, vm)) == (0, guest.host_key)
    assert (await _setup(world, vm), len(guest.jobs)) == (("done", 0), 2)


async def test_a_script_that_is_looked_after_meanwhile_is_begun_on_the_new_disk(world: World) -> None:
    """What is heard of the old disk after that is not waited for."""
    vm = await world.create(name="box", setup="echo out")
    await world.quiet()
    power = await _confirmed(world, vm)
    hold = world.network.hold("reinstall")
    asked = asyncio.create_task(_power(world, **power))
    await hold.arrival()
    ran, world.guests.gate = len(world.guests.ran), asyncio.Event()
    await world.services.setup.recover()
    await until(lambda: len(world.guests.ran) > ran)
    world.guests.gate, guest = None, _new_disk(world, vm)
    hold.go.set()
    await asked
    await world.quiet()
    assert (await _setup(world, vm), len(guest.jobs)) == (("done", 0), 1)


@pytest.mark.parametrize("why", ["refused", "not offered", "no key"])
async def test_what_is_known_of_a_disk_that_stays_is_kept(world: World, why: str) -> None:
    """A refusal leaves the pin, so another machine at its address is found out, and how its script ended."""
    vm = await world.create(name="box", setup="exit 7")
    await world.quiet()
    pinned, script = await _pinned(world, vm), await world.inventory.setup_of(vm.item_hash)
    assert pinned and script and script.result
    power = await _confirmed(world, vm)
    stranger = _new_disk(world, vm)
    if why == "refused":
        world.network.crn_does[vm.crn_hash] = "refuses_erase"
    elif why == "not offered":
        world.network.pools[vm.crn_url].clear()
    else:
        world.network.key_trouble = "no passphrase"
    await _refusal(world, **power)
    await world.quiet()
    assert (await _pinned(world, vm), await world.inventory.setup_of(vm.item_hash)) == (pinned, script)
    with pytest.raises(Refusal, match="Another machine"):
        await _run(world, vm)
    assert stranger.jobs == {}


async def test_a_caller_that_hangs_up_does_not_leave_half_of_a_reinstall(world: World) -> None:
    """The old pin is put back although nobody waits for the answer."""
    vm = await world.create(name="box")
    await _run(world, vm)
    pinned, power = await _pinned(world, vm), await _confirmed(world, vm)
    world.network.crn_does[vm.crn_hash] = "refuses_erase"
    hold = world.network.hold("reinstall")
    asked = asyncio.create_task(_power(world, **power))
    await hold.arrival()
    asked.cancel()
    await asyncio.wait({asked})
    assert await _pinned(world, vm) == ""
    hold.go.set()
    await world.quiet()
    assert await _pinned(world, vm) == pinned


@pytest.mark.parametrize("action", ["reboot", "reinstall"])
async def test_another_project_s_vm_and_one_that_ends_are_not_touched(world: World, action: str) -> None:
    """rules.md 14; and nothing restarts what is torn down."""
    vm = await world.create(name="box")
    assert (await _refusal(world, BOB, item_hash=vm.item_hash, action=action)).code == "not_yours"
    await world.services.teardown.order(vm.item_hash, "the test ends it")
    assert (await _refusal(world, item_hash=vm.item_hash, action=action)).code == "not_running"
    assert world.network.asked(action) == []


async def test_what_the_crn_says_is_told(world: World) -> None:
    """Refused, not offered, and not known are three answers."""
    vm = await world.create(name="box")
    world.network.crn_does[vm.crn_hash] = "refuses_erase"
    assert (await _refusal(world, item_hash="box", action="reboot")).code == "crn_refused"
    world.network.crn_does.clear()
    world.network.fail("reboot", when="after")
    assert "not known" in (await _refusal(world, item_hash="box", action="reboot")).message
    world.network.pools[vm.crn_url].clear()
    assert (await _refusal(world, item_hash="box", action="reboot")).code == "not_offered"
