"""A daemon whose wall clock is moved under it, with libfaketime: rules.md 19, over the real thing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.daemon import DaemonProcess, eventually
from support.devnet import DevnetProcess

FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
pytestmark = pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")


@pytest.fixture
def net(tmp_path: Path) -> Iterator[DevnetProcess]:
    """A network of one's own: its clock is moved."""
    with DevnetProcess(tmp_path / "net") as started:
        yield started


def on_clock(net: DevnetProcess, clock_file: Path) -> DaemonProcess:
    """A daemon that reads its wall clock's distance from the true time in a file."""
    return DaemonProcess(
        net,
        environment={
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(clock_file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Its fix for old C libraries makes every switch between threads slow: 20 s for an import.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        },
    )


async def rent_two(daemon: DaemonProcess) -> None:
    """Two VMs for an hour."""
    for name in ("one", "two"):
        answer = await daemon.call("aleph_create_vm", {"name": name, "ttl_hours": 1})
        assert answer["status"] == "running"


async def test_when_it_really_is_later_everything_ends_and_never_comes_back(net):
    """Machine and network agree; then the clock goes back, and no lease follows it."""
    with on_clock(net, net.clock_file) as daemon:
        await rent_two(daemon)
        await net.call(net.advance, 7200)
        await eventually(lambda: ended(daemon), "both leases to end")
        assert daemon.leaves_nothing()
        before = (await daemon.rows())[0]["ttl_expires_at"]
        await net.call(net.advance, -7200)
        later = await daemon.call("aleph_create_vm", {"name": "later", "ttl_hours": 1})
        assert later["ttl_expires_at"] > before, "the daemon's time never goes back"


async def ended(daemon: DaemonProcess) -> bool:
    """Whether no lease runs and no teardown is left."""
    return not await daemon.rows("live")


async def test_when_only_the_machine_says_so_nothing_ends(net, tmp_path):
    """The wall clock leapt while the daemon was dead; the network contradicts it."""
    wrong = tmp_path / "wrong-clock"
    wrong.write_text("+0.000\n")
    with on_clock(net, wrong) as daemon:
        await rent_two(daemon)
        await eventually((daemon.database.parent / "clock.json").exists, "the time to be kept")
        daemon.kill()
        wrong.write_text("+7200.000\n")
        await asyncio.to_thread(daemon.start)
        await eventually(lambda: "taken to be" in daemon.log(), "the network to be asked")
        assert len(daemon.live_instances()) == len(daemon.running()) == 2
        assert [row["status"] for row in await daemon.rows("live")] == ["running", "running"]
