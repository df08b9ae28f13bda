"""What scripts and agents of the mission's predecessor send and read, against the real daemon."""

import json
import shlex
import subprocess
import sys
from datetime import datetime

import pytest

from aleph_agentd.domain.errors import Refusal
from support.daemon import DaemonProcess, eventually

VM = {"item_hash", "name", "status", "crn_url", "uptime_minutes", "cost_so_far", "ttl_expires_at", "ssh_command",
      "expired"}  # fmt: skip
CRN = {"hash", "name", "url", "score", "version", "has_gpu", "terms_and_conditions"}
FIELDS = {
    "aleph_check_balance": {"balance_credits", "burn_rate_per_hour", "runway_hours", "active_vm_count",
                            "active_vms", "warnings", "balance_usd", "reserved_credits", "budget_left",
                            "affordable", "buy_credits_url"},
    "aleph_create_vm": {"item_hash", "ssh_command", "ipv4_host", "ssh_port", "ipv6", "hourly_cost",
                        "total_cost_estimate", "ttl_expires_at", "requires_confirmation",
                        "confirmation_message", "dry_run", "warnings"},
    "aleph_destroy_vm": {"status", "runtime_minutes", "estimated_cost_incurred"},
    "aleph_extend_vm": {"new_ttl_expires_at", "additional_cost_estimate"},
}  # fmt: skip
ALWAYS = {"expires_in", "budget_left", "stuck"}


def has(answer: dict, tool: str) -> bool:
    """Whether an answer has the mission's fields and ours."""
    missing = (FIELDS[tool] | ALWAYS) - answer.keys()
    assert not missing, missing
    return True


def log_in(daemon: DaemonProcess, ssh_command: str, command: str) -> subprocess.CompletedProcess[str]:
    """The real client, with the command that the tool gave."""
    ssh, *where = shlex.split(ssh_command)
    options = ["-i", str(daemon.ssh_key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-F", "none",
               "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]  # fmt: skip
    return subprocess.run([ssh, *options, *where, command], capture_output=True, text=True, timeout=60)


def ctl(daemon: DaemonProcess, *words: str) -> tuple[int, dict]:
    """`aleph-agentctl WORDS --json`."""
    program = [sys.executable, "-m", "aleph_agentd.control", *words, "--json"]
    done = subprocess.run(program, env=daemon.environment, capture_output=True, text=True, timeout=90)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout or done.stderr)


async def test_the_life_of_a_vm_in_the_missions_six_tools(net, daemon):
    """Every field of the mission; prices from the live network; ssh really logs in; the end is final."""
    crns = (await daemon.call("aleph_list_crns", {"min_compute_units": 1, "gpu": False}))["crns"]
    assert {crn["hash"] for crn in crns} == {crn["hash"] for crn in net.crns}
    assert all(crn.keys() >= CRN for crn in crns)
    wanted = net.crns[1]

    created = await daemon.call(
        "aleph_create_vm",
        {"name": "box", "crn_hash": wanted["hash"], "compute_units": 2, "ttl_hours": 2, "os_image": "debian12",
         "dry_run": False, "purpose": "a test", "confirmed": False},
    )  # fmt: skip
    assert has(created, "aleph_create_vm")
    assert (created["hourly_cost"], created["total_cost_estimate"]) == (2.85, 5.7)
    assert created["item_hash"] in net.state()["crns"][wanted["hash"]]["vms"]
    waited = await daemon.call("aleph_wait_vm", {"item_hash": "box"})
    assert waited["ready"] is True
    done = log_in(daemon, created["ssh_command"], "uname -a")
    assert (done.returncode, "Linux" in done.stdout) == (0, True), done.stderr

    (listed,) = (await daemon.call("aleph_list_my_vms"))["vms"]
    assert listed.keys() >= VM
    assert (listed["status"], listed["expired"], listed["ssh_command"]) == (
        "running",
        False,
        created["ssh_command"],
    )
    balance = await daemon.call("aleph_check_balance")
    assert has(balance, "aleph_check_balance")
    assert (balance["active_vm_count"], balance["burn_rate_per_hour"]) == (1, 2.85)
    assert [vm["item_hash"] for vm in balance["active_vms"]] == [created["item_hash"]]

    extended = await daemon.call(
        "aleph_extend_vm", {"item_hash": created["item_hash"], "additional_hours": 3}
    )
    assert has(extended, "aleph_extend_vm")
    ends = [
        datetime.fromisoformat(answer)
        for answer in (created["ttl_expires_at"], extended["new_ttl_expires_at"])
    ]
    assert ((ends[1] - ends[0]).total_seconds(), extended["additional_cost_estimate"]) == (3 * 3600, 8.55)

    destroyed = await daemon.call("aleph_destroy_vm", {"item_hash": created["item_hash"][:16]})
    assert has(destroyed, "aleph_destroy_vm")
    assert destroyed["status"] == "destroyed"
    assert daemon.leaves_nothing()
    assert log_in(daemon, created["ssh_command"], "true").returncode != 0
    again = await daemon.call("aleph_destroy_vm", {"item_hash": created["item_hash"]})
    assert again["status"] == "destroyed"


async def test_what_a_vm_costs_is_asked_first_and_bound_to_what_was_shown(daemon):
    """Above the threshold: a quote, then `confirmed`; without a quote `confirmed` confirms nothing."""
    large = {"name": "large", "compute_units": 12, "ttl_hours": 4}
    unasked = await daemon.call("aleph_create_vm", {**large, "confirmed": True, "name": "unasked"})
    assert unasked["requires_confirmation"] is True
    quote = await daemon.call("aleph_create_vm", large)
    assert has(quote, "aleph_create_vm")
    assert (quote["requires_confirmation"], quote["item_hash"], quote["dry_run"]) == (True, None, False)
    assert quote["total_cost_estimate"] == 68.4
    assert "68.4" in quote["confirmation_message"] and "confirmed=true" in quote["confirmation_message"]
    other = await daemon.call("aleph_create_vm", {**large, "ttl_hours": 5, "confirmed": True})
    assert other["requires_confirmation"] is True
    assert daemon.instances() == []
    created = await daemon.call("aleph_create_vm", {**large, "confirmed": True})
    assert (created["status"], created["crn_url"]) == ("running", quote["crn_url"])
    assert daemon.live_instances() == [created["item_hash"]]


async def test_dry_runs_always_answer_and_create_nothing(resident):
    """Also for what would be refused, which they say."""
    dry = await resident.call("aleph_create_vm", {"name": "box", "ttl_hours": 1, "dry_run": True})
    assert (dry["dry_run"], dry["item_hash"], dry["total_cost_estimate"]) == (True, None, 1.425)
    refused = await resident.call("aleph_create_vm", {"name": "box", "ttl_hours": 100, "dry_run": True})
    assert "max_ttl" in refused["warnings"][0]
    assert resident.instances() == []


async def test_above_the_threshold_a_human_is_waited_for_and_nothing_created(resident):
    """Whatever the arguments say."""
    large = {"name": "box", "compute_units": 12, "ttl_hours": 24, "confirmed": True}
    asked = await resident.call("aleph_create_vm", large)
    assert (asked["status"], asked["item_hash"]) == ("awaiting_approval", None)
    assert f"aleph-agentctl approve {asked['approval_id']}" in asked["approval_message"]
    assert resident.instances() == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"max_hourly_cost": 1.0}, "max_hourly_cost"),
        ({"ttl_hours": 25}, "max_ttl"),
        ({"crn_hash": "no such crn"}, "not_found"),
    ],
)
async def test_each_limit_refuses_by_name_and_creates_nothing(resident, arguments, code):
    """No argument raises a limit."""
    with pytest.raises(Refusal) as refused:
        await resident.call("aleph_create_vm", {"name": "box", "ttl_hours": 1, **arguments})
    assert refused.value.code == code
    assert refused.value.hint
    assert resident.instances() == []


async def test_the_owner_sees_and_ends_everything_with_agentctl(net, daemon):
    """Each verb with --json against the real daemon; 69 when there is none."""
    vm = await daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1})
    code, status = ctl(daemon, "status")
    assert (code, status["address"], status["vms"]["running"]) == (0, daemon.address, 1)
    code, listed = ctl(daemon, "vms")
    assert (code, [row["item_hash"] for row in listed["vms"]]) == (0, [vm["item_hash"]])
    code, extended = ctl(daemon, "extend", "box", "2")
    assert code == 0
    ends = [datetime.fromisoformat(text) for text in (vm["ttl_expires_at"], extended["new_ttl_expires_at"])]
    assert (ends[1] - ends[0]).total_seconds() == 7200
    assert ctl(daemon, "orphans")[1]["orphans"] == []
    code, refused = ctl(daemon, "destroy", "box")
    assert (code, daemon.live_instances()) == (1, [vm["item_hash"]]), refused
    code, ended = ctl(daemon, "destroy", "--yes", "box")
    assert (code, ended["results"][0]["status"]) == (0, "destroyed")
    assert daemon.leaves_nothing()
    daemon.kill()
    code, error = ctl(daemon, "status")
    assert (code, bool(error)) == (69, True)


async def test_a_vm_under_our_key_that_nobody_knows_is_shown_and_left_alone(net, daemon):
    """An orphan: the owner decides. It counts against the limit of VMs all the same."""
    vm = await daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1})
    daemon.kill()
    daemon.environment["XDG_STATE_HOME"] = str(daemon.folder / "fresh-state")
    daemon.environment["ALEPH_AGENT_ORPHAN_GRACE_S"] = "1"
    daemon.environment["ALEPH_AGENT_MAX_CONCURRENT_VMS"] = "1"
    daemon.start()
    await daemon.control("sweep.run")
    listed = await eventually(lambda: orphans_of(daemon), "the sweep to find it")
    assert vm["item_hash"] in {orphan["item_hash"] for orphan in listed}
    assert daemon.live_instances() == daemon.running() == [vm["item_hash"]]
    with pytest.raises(Refusal) as refused:
        await daemon.call("aleph_create_vm", {"name": "second", "ttl_hours": 1})
    assert refused.value.code == "max_concurrent_vms"


async def orphans_of(daemon: DaemonProcess) -> list[dict]:
    """What the last sweep found under our key and not in the inventory, whoever stamped it."""
    found = await daemon.control("orphans.list")
    return [*found["orphans"], *found["strangers"]]
