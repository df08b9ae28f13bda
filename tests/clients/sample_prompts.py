"""The mission's sample prompts, each with the calls that a good model makes for it, and what its user must be told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .course import ToolCall

Answers = list[dict[str, Any]]


@dataclass(frozen=True)
class Sample:
    """One prompt. `CRN` in an argument stands for the name of a CRN of the network at hand."""

    prompt: str
    calls: tuple[ToolCall, ...]
    told: Callable[[Answers], bool]


def create(name: str, **arguments: Any) -> ToolCall:
    """A create."""
    return "aleph_create_vm", {"name": name, **arguments}


def on(tool: str, name: str, **arguments: Any) -> ToolCall:
    """A call about a VM."""
    return f"aleph_{tool}", {"item_hash": name, **arguments}


SAMPLES = {
    "afford": Sample(
        "Check my balance and how many VMs I can afford",
        (("aleph_check_balance", {}),),
        lambda a: a[0]["balance_credits"] > 0 and bool(a[0]["affordable"]),
    ),
    "how-long": Sample(
        "How long can my VMs run?",
        (create("runner", ttl_hours=1), ("aleph_check_balance", {}), on("destroy_vm", "runner")),
        lambda a: a[1]["runway_hours"] > 1 and a[1]["active_vm_count"] == 1,
    ),
    "crns": Sample(
        "List the CRNs",
        (("aleph_list_crns", {}),),
        lambda a: all(crn["name"] and crn["score"] for crn in a[0]["crns"]) and len(a[0]["crns"]) > 1,
    ),
    "gpu": Sample(
        "Find a CRN with a GPU",
        (("aleph_list_crns", {"gpu": True}),),
        lambda a: bool(a[0]["crns"]) and all(crn["has_gpu"] for crn in a[0]["crns"]),
    ),
    "deployment": Sample(
        "A small Ubuntu VM for 2 hours for a deployment script",
        (
            create("deploy", ttl_hours=2, os_image="ubuntu22", purpose="deployment script"),
            on("wait_vm", "deploy"),
            on("destroy_vm", "deploy"),
        ),
        lambda a: a[1]["ready"] and a[1]["ssh_command"].startswith("ssh -p"),
    ),
    "cost-first": Sample(
        "2 CUs on CRN NtS9, but tell me the cost first",
        (
            create("nts9", compute_units=2, ttl_hours=1, crn_hash="CRN", dry_run=True),
            create("nts9", compute_units=2, ttl_hours=1, crn_hash="CRN"),
            on("destroy_vm", "nts9"),
        ),
        lambda a: a[0]["total_cost_estimate"] > 0 and a[0]["item_hash"] is None and bool(a[1]["item_hash"]),
    ),
    "dry-run": Sample(
        "A dry run for a 4-CU Debian VM",
        (create("debian", compute_units=4, os_image="debian12", dry_run=True),),
        lambda a: a[0]["dry_run"] and a[0]["hourly_cost"] > 0,
    ),
    "list": Sample(
        "List my VMs with their cost so far",
        (create("listed", ttl_hours=1), ("aleph_list_my_vms", {}), on("destroy_vm", "listed")),
        lambda a: [vm["name"] for vm in a[1]["vms"]] == ["listed"] and "cost_so_far" in a[1]["vms"][0],
    ),
    "extend": Sample(
        "Extend it by 3 hours",
        (
            create("longer", ttl_hours=1),
            on("extend_vm", "longer", additional_hours=3),
            on("destroy_vm", "longer"),
        ),
        lambda a: a[1]["new_ttl_expires_at"] > a[0]["ttl_expires_at"],
    ),
    "expired": Sample(
        "Destroy all expired VMs",
        (("aleph_destroy_vm", {"filter": "expired"}), ("aleph_list_my_vms", {})),
        lambda a: a[0]["status"] == "nothing" and not [vm for vm in a[1]["vms"] if vm["expired"]],
    ),
    "rust": Sample(
        "Compile a Rust project: find a CRN, a 2-CU Ubuntu VM, the SSH command; remind me to destroy it",
        (
            ("aleph_list_crns", {"min_compute_units": 2}),
            create("rust", compute_units=2, ttl_hours=1, os_image="ubuntu24", purpose="cargo build"),
            on("wait_vm", "rust"),
            on("destroy_vm", "rust"),
        ),
        lambda a: (
            bool(a[0]["crns"]) and a[2]["ssh_command"].startswith("ssh -p") and bool(a[2]["expires_in"])
        ),
    ),
    "cheapest": Sample(
        "The cheapest VM for a Python script, destroyed after it is confirmed to work",
        (
            ("aleph_list_crns", {"sort": "cheapest"}),
            create("cheap", ttl_hours=1, purpose="a Python script"),
            on("wait_vm", "cheap"),
            on("destroy_vm", "cheap"),
        ),
        lambda a: a[2]["ready"] and a[3]["status"] == "destroyed" and a[3]["estimated_cost_incurred"] >= 0,
    ),
}


def calls_of(sample: Sample, crn: str) -> list[ToolCall]:
    """Its calls on a network whose CRN has this name."""
    return [
        (tool, {name: crn if value == "CRN" else value for name, value in arguments.items()})
        for tool, arguments in sample.calls
    ]
