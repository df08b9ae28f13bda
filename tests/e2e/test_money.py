"""Who pays, and which limits hold, over a real daemon and devnet."""

import signal
from pathlib import Path
from typing import Any

import pytest

from aleph_agentd.domain.errors import Refusal
from support.daemon import DaemonProcess, eventually
from support.devnet import DevnetProcess


async def _refused(daemon: DaemonProcess, tool: str, arguments: dict[str, Any]) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await daemon.call(tool, arguments)
    return refused.value


def _charged(net: DevnetProcess, address: str) -> list[str]:
    return [charge["item_hash"] for charge in net.state()["charges"] if charge["address"] == address]


@pytest.mark.parametrize("delegated", [False, True], ids=["own account", "delegated"])
async def test_the_payer_s_balance_guards_and_is_charged(net: DevnetProcess, delegated: bool) -> None:
    """The human's when there is one: the agent's own account holds nothing and pays nothing."""
    human = net.account("human")["address"]
    role, environment = ("agent", {"ALEPH_AGENT_HUMAN_ADDRESS": human}) if delegated else (None, {})
    with DaemonProcess(net, role=role, environment=environment) as daemon:
        payer = human if delegated else daemon.address
        status = await daemon.control("status")
        assert (status["payer"], status["address"]) == (payer, daemon.address)
        before = await net.call(net.state)
        balance = await daemon.call("aleph_check_balance")
        assert balance["balance_credits"] == pytest.approx(before["balances"][payer] / 10_000, abs=1)
        vm = await daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1})
        assert vm["item_hash"] in _charged(net, payer)
        assert (await daemon.call("aleph_check_balance"))["runway_hours"] > 24
        poor = -net.state()["balances"][payer] + 100_000
        await net.call(lambda: net.credits(poor, address=payer))
        try:

            async def guarded() -> bool:  # a balance is kept for five seconds
                quote = await daemon.call(
                    "aleph_create_vm", {"name": "more", "ttl_hours": 8, "dry_run": True}
                )
                return any("balance_guard" in warning for warning in quote["warnings"])

            await eventually(guarded, "the guard to see the payer's balance")
            refusal = await _refused(daemon, "aleph_create_vm", {"name": "more", "ttl_hours": 8})
            assert refusal.code == "balance_guard"
            assert refusal.data["buy_credits_url"]
        finally:
            await net.call(lambda: net.credits(-poor, address=payer))
        await daemon.call("aleph_destroy_vm", {"item_hash": vm["item_hash"]})
        report = await daemon.call("aleph_spend_report")
        assert report["session_credits"] > 0


async def test_sighup_reads_the_policy_again_and_a_broken_one_changes_nothing(
    net: DevnetProcess, tmp_path: Path
) -> None:
    """The old limits hold, every answer says so, and the next sound file ends that."""
    file = tmp_path / "config.toml"
    file.write_text("[policy]\nmax_concurrent_vms = 3\n")
    with DaemonProcess(net, environment={"ALEPH_AGENT_CONFIG": str(file)}) as daemon:
        first = (await daemon.control("status"))["policy"]

        async def policy(**wanted: bool) -> bool:
            now = (await daemon.control("status"))["policy"]
            seen = {"changed": now["version"] != first["version"], "trouble": bool(now["trouble"])}
            return all(seen[name] is value for name, value in wanted.items())

        file.write_text("[policy\n")
        daemon.send(signal.SIGHUP)
        await eventually(lambda: policy(changed=False, trouble=True))
        answer = await daemon.call("aleph_check_balance")
        assert any("The policy could not be read again" in alert for alert in answer["alerts"])
        file.write_text('[policy]\nmax_concurrent_vms = 0\n[projects."/work"]\nmax_daily_spend = 5\n')
        daemon.send(signal.SIGHUP)
        await eventually(lambda: policy(changed=True, trouble=False))
        refusal = await _refused(daemon, "aleph_create_vm", {"name": "box"})
        assert refusal.code == "max_concurrent_vms"
        assert (await daemon.control("status"))["policy"]["projects"] == ["/work"]
