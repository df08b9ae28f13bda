"""What systemd is told of a daemon: a line for the owner, a fed watchdog, a reload and a drain."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from aleph_agentd import under_systemd
from aleph_agentd.domain.model import STUCK_AFTER_ATTEMPTS
from aleph_agentd.ports import StoreTrouble
from aleph_agentd.under_systemd import UnderSystemd
from support.world import World


class Manager:
    """What systemd has heard."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def heard(self) -> list[str]:
        """Everything since the last time that it was asked, a message a line."""
        messages: list[str] = []
        while True:
            try:
                messages.append(self._sock.recv(4096).decode().replace("\n", " "))
            except BlockingIOError:
                return messages


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """A notification socket, as systemd has one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield Manager(sock)


@pytest.fixture
def told(world: World, manager: Manager) -> UnderSystemd:
    """The daemon's end."""
    return UnderSystemd(world.services, world.clock)


async def test_the_status_is_what_an_owner_wants_to_know(
    machine, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many VMs, when the next one ends, what the day has cost; and nothing that is not so."""
    async with machine.life(max_daily_spend_units=10_000_000) as world:
        told = UnderSystemd(world.services, world.clock)
        await told.show()
        assert manager.heard() == ["STATUS=0 VMs, 0 of 1000 credits today"]
        await world.create(name="a", ttl_hours=0.2)
        await world.create(name="b", ttl_hours=3)
        await told.show()
        (line,) = manager.heard()
        exposure = (await world.services.treasury.overview("")).exposure
        today = (exposure.reserved_units + exposure.spent_day_units) / 10_000
        assert today > 0
        assert line == f"STATUS=2 VMs, next end in 12 min, {today:.1f} of 1000 credits today"


async def test_without_a_daily_limit_it_tells_only_what_was_spent(
    told: UnderSystemd, manager: Manager
) -> None:
    """No limit is made up."""
    await told.show()
    assert manager.heard() == ["STATUS=0 VMs, 0 credits today"]


async def test_what_the_owner_should_look_into_is_in_the_line(
    world: World, told: UnderSystemd, manager: Manager
) -> None:
    """A teardown that failed often, and a key that cannot be used."""
    vm = await world.create()
    world.network.fail("post", 100)
    await world.end(vm, STUCK_AFTER_ATTEMPTS)
    world.network.key_trouble = "no key"
    await told.show()
    (line,) = manager.heard()
    assert line.startswith("STATUS=1 VM, ")
    assert line.endswith(", 1 stuck, no usable key")


async def test_an_inventory_that_cannot_be_read_is_told_instead(
    world: World, told: UnderSystemd, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old line would be a lie."""

    async def broken(_: str) -> None:
        raise StoreTrouble("disk full")

    monkeypatch.setattr(world.services.treasury, "overview", broken)
    await told.show()
    assert manager.heard() == ["STATUS=the inventory cannot be read: disk full"]


async def test_many_changes_are_one_new_line(
    world: World, told: UnderSystemd, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next change is told again."""
    monkeypatch.setattr(under_systemd, "QUIET_S", 0.0)
    for _ in range(2):
        for _ in range(100):
            told.changed()
        await asyncio.sleep(0.01)
        await world.quiet()
        assert manager.heard() == ["STATUS=0 VMs, 0 credits today"]


async def test_only_the_end_of_a_pass_feeds_the_watchdog(
    world: World, told: UnderSystemd, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reaper that hangs is a dead daemon, whatever else still turns; one that failed is alive."""
    let_go = asyncio.Event()
    monkeypatch.setattr(world.services.reaper, "run", let_go.wait)
    hanging = asyncio.create_task(told.reap())
    for _ in range(3):  # a queue of ten that nobody reads would make each further one wait
        await told.show()
    assert not [line for line in manager.heard() if "WATCHDOG" in line]
    let_go.set()
    await hanging
    assert manager.heard() == ["WATCHDOG=1"]

    async def fails() -> None:
        raise StoreTrouble("disk full")

    monkeypatch.setattr(world.services.reaper, "run", fails)
    with pytest.raises(StoreTrouble):
        await told.reap()
    assert manager.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize(("allowed", "every"), [(None, 15), ("60000000", 15), ("4000000", 2)])
async def test_the_reaper_passes_at_least_twice_per_watchdog(
    world: World, monkeypatch: pytest.MonkeyPatch, allowed: str | None, every: float
) -> None:
    """However short the owner makes it."""
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if allowed:
        monkeypatch.setenv("WATCHDOG_USEC", allowed)
    assert UnderSystemd(world.services, world.clock).reap_every_s == every


async def test_a_reload_begins_and_ends_also_when_it_fails(told: UnderSystemd, manager: Manager) -> None:
    """systemd would wait for the READY that ends it, and then kill the daemon."""

    async def fails() -> None:
        raise StoreTrouble("disk full")

    with pytest.raises(StoreTrouble):
        await told.reload(fails)
    first, second = manager.heard()
    assert first.startswith("RELOADING=1 MONOTONIC_USEC=")
    assert second == "READY=1"


async def test_a_drain_asks_for_time_until_it_is_over(
    world: World, told: UnderSystemd, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TimeoutStopSec= is for a daemon that hangs, not for one that finishes a create."""
    monkeypatch.setattr(under_systemd, "ASK_EVERY_S", 0.001)
    async with told.stopping():
        await asyncio.sleep(0.05)
        first, *asked = manager.heard()
        assert first == "STOPPING=1 STATUS=finishing what runs"
        assert len(asked) > 1 and set(asked) == {"EXTEND_TIMEOUT_USEC=10000000"}
        told.changed()
    await asyncio.sleep(0)
    manager.heard()
    await asyncio.sleep(0.01)
    assert not manager.heard()
