"""A real daemon and its key: locked, opened, and another one than before."""

import json
import secrets
from pathlib import Path

import pytest
from eth_account import Account

from aleph_agentd.domain.errors import Refusal
from support.daemon import DaemonProcess, eventually
from support.devnet import DevnetProcess

PASSPHRASE = "correct horse"


async def test_a_locked_key_lets_read_and_refuses_creates_until_it_is_unlocked(net: DevnetProcess) -> None:
    """The refusal says the exact next command; the passphrase leaves no trace."""
    tenant = DaemonProcess(net)
    sealed = Account.encrypt(tenant.key_file.read_bytes(), PASSPHRASE, kdf="pbkdf2", iterations=1000)
    tenant.key_file.write_text(json.dumps(sealed))
    with tenant as daemon:
        assert await daemon.rows() == []
        with pytest.raises(Refusal, match="aleph-agentctl unlock"):
            await daemon.call("aleph_create_vm", {"name": "locked"})
        assert await daemon.control("key.state") == {"open": ""}
        with pytest.raises(Refusal, match="does not open"):
            await daemon.control("key.unlock", {"passphrase": "wrong"})
        assert (await daemon.control("key.unlock", {"passphrase": PASSPHRASE}))["address"] == daemon.address
        assert await daemon.control("key.state") == {"open": daemon.address}
        assert (await daemon.call("aleph_create_vm", {"name": "open"}))["name"] == "open"
        entries = json.dumps(await daemon.control("audit.list"))
        assert "key.unlock" in entries
        assert PASSPHRASE not in daemon.log() + entries


async def test_another_key_signs_nothing_and_stored_kill_switches_still_end_what_runs(
    net: DevnetProcess,
) -> None:
    """The signing-address guard: reads go on, with an alarm; its VM ends by what the old key signed."""
    with DaemonProcess(net) as daemon:
        made = await daemon.call("aleph_create_vm", {"name": "old"})
        old = daemon.key_file.read_bytes()
        fresh = secrets.token_bytes(32)
        daemon.terminate()
        daemon.key_file.write_bytes(fresh)
        daemon.start()
        await eventually(lambda: "no usable key" in daemon.log(), "the alarm in the log")
        listed = await daemon.call("aleph_list_my_vms")
        assert any(daemon.address in alert for alert in listed["alerts"]), listed["alerts"]
        with pytest.raises(Refusal, match=daemon.address):
            await daemon.call("aleph_create_vm", {"name": "new"})
        await daemon.control(
            "tools.call", {"name": "aleph_destroy_vm", "arguments": {"item_hash": made["item_hash"]}}
        )
        await eventually(lambda: not daemon.live_instances(), "its stored FORGET ended it")
        stranger = Account.from_key(fresh).address
        assert not [m for m in net.state()["messages"] if m["sender"] == stranger]
        daemon.terminate()
        daemon.key_file.write_bytes(old)
        daemon.start()
        await eventually(daemon.leaves_nothing, "the old key erased it")


async def test_a_key_put_right_later_is_claimed_before_it_signs_and_bound_to_the_inventory(
    net: DevnetProcess,
) -> None:
    """While another daemon has it nothing is signed; when that one has ended, no restart is needed."""
    late = DaemonProcess(net)
    first = DaemonProcess(net, environment={"XDG_STATE_HOME": late.environment["XDG_STATE_HOME"]})
    first.environment["ALEPH_AGENT_INVENTORY_PATH"] = str(first.folder / "other.db")
    secret = late.key_file.read_bytes()
    first.key_file.write_bytes(secret)
    late.key_file.write_bytes(secret[:16])
    with late as daemon:
        with first:
            await eventually(
                lambda: any(Path(daemon.folder / "state").rglob("key-*.lock")), "the first claim"
            )
            daemon.key_file.write_bytes(secret)
            with pytest.raises(Refusal, match="already works with the key"):
                await daemon.call("aleph_create_vm", {"name": "two"})
            first.terminate()
            assert (await daemon.call("aleph_create_vm", {"name": "one"}))["name"] == "one"
            first.spawn()
            assert first.wait() == 1
            assert "already works with the key" in first.log()
        daemon.terminate()
        daemon.key_file.write_bytes(secrets.token_bytes(32))
        daemon.start()
        await eventually(lambda: "this inventory was made with" in daemon.log(), "the alarm")
        assert [row["name"] for row in await daemon.rows("live")] == ["one"]
