"""What every client does here: the tools on one VM, and some mistakes; and what must come of it."""

import sys
from typing import Any

from support.daemon import DaemonProcess

SHIM = [sys.executable, "-m", "aleph_agent_mcp"]
TOOLS = {
    "aleph_check_balance",
    "aleph_list_crns",
    "aleph_create_vm",
    "aleph_wait_vm",
    "aleph_list_my_vms",
    "aleph_extend_vm",
    "aleph_destroy_vm",
    "aleph_vm_run",
    "aleph_vm_copy",
    "aleph_vm_power",
    "aleph_adopt_vm",
    "aleph_vm_ports",
    "aleph_vm_logs",
    "aleph_spend_report",
    "aleph_freeze",
}
LASTING = {"aleph_freeze", "aleph_adopt_vm"}
"""What only the owner undoes, or allows: not for a daemon that others use after us. test_approvals has the adoption."""
UNKNOWN_CRN = "ab" * 32

ToolCall = tuple[str, dict[str, Any]]


def whole_life(name: str) -> list[ToolCall]:
    """All tools but the lasting ones, on a VM that is named and never mentioned by its hash."""
    return [
        ("aleph_check_balance", {}),
        ("aleph_list_crns", {"min_compute_units": 2}),
        ("aleph_create_vm", {"name": name, "ttl_hours": 0.1, "dry_run": True}),
        ("aleph_create_vm", {"name": name, "ttl_hours": 0.1, "purpose": "a test"}),
        ("aleph_wait_vm", {"item_hash": name}),
        ("aleph_list_my_vms", {}),
        ("aleph_extend_vm", {"item_hash": name, "additional_hours": 0.1}),
        ("aleph_vm_copy", {"item_hash": name, "path": "hello", "content": "hello"}),
        ("aleph_vm_run", {"item_hash": name, "command": "cat hello; exit 3"}),
        ("aleph_vm_ports", {"item_hash": name, "action": "open", "port": 8080}),
        ("aleph_vm_logs", {"item_hash": name}),
        ("aleph_vm_power", {"item_hash": name, "action": "reboot"}),
        ("aleph_spend_report", {}),
        ("aleph_destroy_vm", {"item_hash": name}),
        ("aleph_list_my_vms", {}),
    ]


def check_whole_life(name: str, answers: list[dict[str, Any]], daemon: DaemonProcess) -> None:
    """Each answer fits what was asked, and the network tells the same story."""
    balance, crns, quote, created, waited, mine, extended, *work, power, spent, destroyed, rest = answers
    assert balance["balance_credits"] > 0
    assert balance["active_vm_count"] == 0
    assert {crn["hash"] for crn in crns["crns"]} == {crn["hash"] for crn in daemon.net.crns}
    assert (quote["status"], quote["dry_run"], quote["item_hash"]) == ("quoted", True, None)
    assert 0 < quote["total_cost_estimate"] <= quote["hourly_cost"]
    assert created["status"] in ("provisioning", "running")
    assert (waited["ready"], waited["item_hash"]) == (True, created["item_hash"])
    assert waited["ssh_command"].startswith("ssh -p ")
    [listed] = mine["vms"]
    assert (listed["name"], listed["status"], listed["mine"]) == (name, "running", True)
    assert listed["purpose"] == "a test"
    assert extended["new_ttl_expires_at"] > created["ttl_expires_at"]
    copied, ran, ports, logs = work
    assert (copied["status"], copied["bytes"]) == ("written", 5)
    assert (ran["status"], ran["exit_code"], "\nhello\n" in ran["stdout"]) == ("done", 3, True)
    assert [(port["port"], port["protocol"]) for port in ports["ports"]] == [(8080, "tcp")]
    assert ports["status"] in ("open", "pending")
    assert "login:" in logs["log"]
    assert (power["status"], power["item_hash"]) == ("rebooting", created["item_hash"])
    assert [line["name"] for line in spent["vms"]] == [name]
    assert spent["vms"][0]["reserved"] > 0
    assert (destroyed["status"], destroyed["billing_ended"]) == ("destroyed", True)
    assert rest["vms"] == []
    assert all(answer["budget_left"] > 0 and answer["stuck"] == [] for answer in answers)
    check_ended(created["item_hash"], daemon)


def check_ended(item_hash: str, daemon: DaemonProcess) -> None:
    """The VM was on the network and was paid for; now it is forgotten and no CRN runs it."""
    message = daemon.net.message(item_hash)
    assert message is not None
    assert (message["type"], message["status"]) == ("INSTANCE", "forgotten")
    assert message["sender"] == daemon.address
    charged = [charge for charge in daemon.net.state()["charges"] if charge["item_hash"] == item_hash]
    assert charged
    assert item_hash not in daemon.net.running()


MISTAKES: list[tuple[ToolCall, list[str]]] = [
    (
        ("aleph_create_vm", {"name": "lost", "ttl_hours": 0.1, "crn_hash": UNKNOWN_CRN}),
        ["aleph_list_crns", "code: "],
    ),
    (
        (
            "aleph_create_vm",
            {"name": "two\nlines", "compute_units": 99, "ttl_hours": -1, "colour": "red"},
        ),
        ["name: ", "compute_units: ", "ttl_hours: ", "colour: is not an argument", "max_hourly_cost"],
    ),
    (("aleph_create_vm", {}), ["name: is missing"]),
    (("aleph_destroy_vm", {"item_hash": UNKNOWN_CRN}), ["aleph_list_my_vms", "code: not_found"]),
    (
        ("aleph_create_vm", {"name": "dear", "compute_units": 12, "ttl_hours": 24, "max_hourly_cost": 0.01}),
        ["max_hourly_cost"],
    ),
]
"""Calls that are refused, and what a model must find in the answer to know better."""


def check_mistakes(texts: list[str], daemon: DaemonProcess) -> None:
    """Every refusal explains itself, and none of them left anything on the network."""
    for text, (call, needed) in zip(texts, MISTAKES, strict=True):
        missing = [words for words in [*needed, "Next: "] if words not in text]
        assert not missing, (call, text)
    assert daemon.leaves_nothing()
