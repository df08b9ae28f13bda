"""A disk that is really full, under a real daemon: nothing new, and everything that is due still ends."""

from pathlib import Path

import pytest

from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.control_freeze import CONFIRMATION
from support.daemon import DaemonProcess, eventually
from support.devnet import DevnetProcess
from support.full_disk import fill, small_disk


async def test_a_full_disk_refuses_creates_and_still_destroys(tmp_path: Path) -> None:
    """By hand and by lease; and when there is room again, the inventory says what is true."""
    with (
        DevnetProcess(tmp_path / "net") as net,
        small_disk(tmp_path / "disk") as disk,
        DaemonProcess(net, environment={"ALEPH_AGENT_INVENTORY_PATH": str(disk / "inventory.db")}) as daemon,
    ):
        by_hand = await daemon.call("aleph_create_vm", {"name": "by-hand", "ttl_hours": 4})
        by_lease = await daemon.call("aleph_create_vm", {"name": "by-lease", "ttl_hours": 10 / 3600})
        ballast = fill(disk)
        with pytest.raises(Refusal) as refused:
            await daemon.call("aleph_create_vm", {"name": "no", "ttl_hours": 1})
        assert refused.value.code == "store_full"
        answer = await daemon.call("aleph_destroy_vm", {"item_hash": by_hand["item_hash"]})
        assert answer["billing_ended"]
        await eventually(daemon.leaves_nothing, "the lease to end the other one")
        assert any(
            "cannot be written" in alert for alert in (await daemon.call("aleph_check_balance"))["alerts"]
        )
        assert len(daemon.instances()) == 2

        ballast.unlink()

        async def ended() -> bool:
            return {row["status"] for row in await daemon.rows()} == {"gone"}

        await eventually(ended, "the rows to follow")
        assert {row["item_hash"] for row in await daemon.rows()} == {
            by_hand["item_hash"],
            by_lease["item_hash"],
        }
        assert (await daemon.call("aleph_check_balance"))["reserved_credits"] == 0
        again = await daemon.call("aleph_create_vm", {"name": "yes", "ttl_hours": 1})
        assert again["status"] == "running"
        await daemon.call("aleph_destroy_vm", {"item_hash": again["item_hash"]})


async def test_a_panic_on_a_full_disk_ends_every_vm(tmp_path: Path) -> None:
    """The owner's last button asks for no room; it is written down, and done, when there is some."""
    with (
        DevnetProcess(tmp_path / "net") as net,
        small_disk(tmp_path / "disk") as disk,
        DaemonProcess(net, environment={"ALEPH_AGENT_INVENTORY_PATH": str(disk / "inventory.db")}) as daemon,
    ):
        for name in ("one", "two"):
            await daemon.call("aleph_create_vm", {"name": name, "ttl_hours": 4})
        ballast = fill(disk)
        await daemon.control("panic", {"confirm": CONFIRMATION})
        await eventually(daemon.leaves_nothing, "the panic to end them")
        ballast.unlink()

        async def done() -> bool:
            return bool((await daemon.control("panic.status"))["done"])

        await eventually(done, "the panic to be done")
        rows = await daemon.rows()
        assert {row["name"] for row in rows} == {"one", "two"}
        assert {row["status"] for row in rows} <= {"gone", "destroying"}
