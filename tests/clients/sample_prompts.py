"""The mission's sample prompts: the calls that a good model makes for each, what it tells its user, and the truth of it.

Placeholders such as `{1.ssh_command}` are filled in by the scripted model from what it was answered: tests/clients/script.py.
What must be in its words comes from devnet alone: tests/clients/truth.py.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from support.daemon import POLL_S

from .course import ToolCall
from .truth import Truth

Word = str | float | Callable[[str], bool]
"""A part of what is said; or a number in it, give or take a thousandth; or a question about it."""
Between = Callable[[Truth], None]

RUST = r"""
mkdir -p hello/src && cd hello
if command -v cargo >/dev/null; then
  printf '[package]\nname = "hello"\nversion = "0.1.0"\nedition = "2021"\n' > Cargo.toml
  cat > src/main.rs <<'END'
fn main() {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    println!("{} says {}", host.trim(), (1..=1000u32).filter(|n| n % 7 == 0).sum::<u32>());
}
END
  cargo build --quiet --offline && cp target/debug/hello built
else
  echo "no cargo in this VM: the same in C" >&2
  cat > src/main.c <<'END'
#include <stdio.h>
#include <unistd.h>
int main(void) {
  char host[65] = "";
  int sum = 0;
  gethostname(host, 64);
  for (int n = 7; n <= 1000; n += 7) sum += n;
  printf("%s says %d\n", host, sum);
}
END
  cc src/main.c -o built
fi && ./built
"""
SUM = sum(range(7, 1001, 7))
PYTHON = "import socket\n\nprint(socket.gethostname(), 'says', sum(range(7, 1001, 7)))\n"
ELF = b"\x7fELF"


@dataclass(frozen=True)
class Sample:
    """One prompt. `between` is what happens right before a call, by its number."""

    prompt: str
    calls: tuple[ToolCall, ...]
    says: str
    words: Callable[[Truth], list[Word]]
    between: dict[int, Between]
    runs: tuple[str, ...] = ()
    """Programs of which its VM needs one."""


def sample(
    prompt: str, *calls: ToolCall, says: str, words: Callable[[Truth], list[Word]], **more: Any
) -> Sample:
    """A prompt; somebody looks at the network before each destroy."""
    looks = {n: Truth.look for n, (tool, _) in enumerate(calls) if tool == "aleph_destroy_vm"}
    return Sample(prompt, calls, says, words, looks | more.pop("between", {}), **more)


def create(name: str, **arguments: Any) -> ToolCall:
    """A create."""
    return "aleph_create_vm", {"name": name, **arguments}


def on(tool: str, name: str, **arguments: Any) -> ToolCall:
    """A call about a VM."""
    return f"aleph_{tool}", {"item_hash": name, **arguments}


def hours(text: str) -> timedelta:
    """So many."""
    return timedelta(hours=float(text))


def ends_at(truth: Truth, later: timedelta = timedelta(0)) -> str:
    """When the lease that the network was told of ends, and later."""
    told = datetime.fromisoformat(truth.vm["content"]["metadata"]["expires_at"])
    return (told + later).strftime("%Y-%m-%dT%H:%M:%SZ")


def overdue(truth: Truth) -> None:
    """Let the lease pass while the network refuses to forget: an expired VM that is still billed."""
    net = truth.daemon.net
    net.fault({"status": 503, "body": "busy"}, node="ccn", method="POST", path="/api/v0/messages*")
    told = datetime.fromisoformat(truth.vm["content"]["metadata"]["expires_at"]).timestamp()
    while net.state()["now"] <= told + 1:  # it is told in whole seconds
        time.sleep(POLL_S)
    truth.look()


def lift(truth: Truth) -> None:
    """The network forgets again."""
    assert truth.daemon.live_instances() == [truth.hash]
    truth.daemon.net.clear_faults()


def affordable(truth: Truth) -> Word:
    """Whether as many VMs as it says can be paid for an hour."""

    def holds(said: str) -> bool:
        counts = [(int(size), int(count)) for size, count in re.findall(r"'(\d+) CU': (\d+)", said)]
        return len(counts) > 3 and all(
            count > 0 and count * size * truth.price <= truth.balance for size, count in counts
        )

    return holds


def made_as(truth: Truth, units: int, image: str = "") -> Word:
    """Whether the only VM is of this size, and of an image of this name."""
    content = truth.vm["content"]
    reference = truth.images[image] if image else content["rootfs"]["parent"]["ref"]
    right = content["resources"]["vcpus"] == units and content["rootfs"]["parent"]["ref"] == reference
    return lambda _: right


def cost_so_far(truth: Truth) -> Word:
    """Whether it names a cost that is not more than what the network took in the end."""

    def holds(said: str) -> bool:
        named = re.search(r"cost so far ([\d.e-]+)", said)
        return named is not None and 0 <= float(named[1]) <= truth.charged + 0.001

    return holds


SAMPLES = {
    "afford": sample(
        "Check my balance and how many VMs I can afford",
        ("aleph_check_balance", {}),
        says="You have {0.balance_credits} credits. VMs that you can afford: {0.affordable}",
        words=lambda t: [t.balance, affordable(t)],
    ),
    "how-long": sample(
        "How long can my VMs run?",
        create("runner", ttl_hours=1),
        ("aleph_check_balance", {}),
        on("destroy_vm", "runner"),
        says="{1.active_vm_count} VM at {1.burn_rate_per_hour} an hour can run for {1.runway_hours} hours",
        words=lambda t: [f"{len(t.made)} VM at", t.price, t.balance / t.price],
    ),
    "crns": sample(
        "List the CRNs",
        ("aleph_list_crns", {}),
        says="{0.crns.*.name} with scores {0.crns.*.score} at {0.crns.*.url}",
        words=lambda t: [
            part for crn in t.crns for part in (repr(crn["name"]), str(crn["score"]), crn["address"])
        ],
    ),
    "gpu": sample(
        "Find a CRN with a GPU",
        ("aleph_list_crns", {"gpu": True}),
        says="{0.crns.*.name} with {0.crns.*.gpus}",
        words=lambda t: [
            *(crn["name"] for crn in t.crns if crn["gpu_support"]),
            *(gpu["model"] for crn in t.crns for gpu in crn["compatible_available_gpus"]),
            lambda said: not [crn for crn in t.crns if not crn["gpu_support"] and crn["name"] in said],
        ],
    ),
    "deployment": sample(
        "A small Ubuntu VM for 2 hours for a deployment script",
        create("deploy", ttl_hours=2, os_image="ubuntu22", purpose="deployment script"),
        on("wait_vm", "deploy"),
        on("destroy_vm", "deploy"),
        says="`{1.ssh_command}` until {1.ttl_expires_at}",
        words=lambda t: [t.places[t.hash], ends_at(t), made_as(t, 1, "ubuntu22")],
    ),
    "cost-first": sample(
        "2 CUs on CRN NtS9, but tell me the cost first",
        create("nts9", compute_units=2, ttl_hours=1, crn_hash="NtS9", dry_run=True),
        create("nts9", compute_units=2, ttl_hours=1, crn_hash="NtS9", quote_id="{0.quote_id}"),
        on("destroy_vm", "nts9"),
        says="It costs {0.total_cost_estimate} credits on {0.crn_name}. You said yes: {1.item_hash}",
        words=lambda t: [2 * t.price, "NtS9", t.hash, made_as(t, 2), lambda _: t.crn["name"] == "NtS9"],
        between={1: lambda truth: truth.expect_nothing_made()},
    ),
    "dry-run": sample(
        "A dry run for a 4-CU Debian VM",
        create("debian", compute_units=4, os_image="debian12", dry_run=True),
        says="It would cost {0.hourly_cost} credits an hour on {0.crn_name}",
        words=lambda t: [4 * t.price, lambda said: any(crn["name"] in said for crn in t.crns)],
    ),
    "list": sample(
        "List my VMs with their cost so far",
        create("listed", ttl_hours=1),
        ("aleph_list_my_vms", {}),
        on("destroy_vm", "listed"),
        says="{1.vms.0.item_hash} on {1.vms.0.crn_name}: cost so far {1.vms.0.cost_so_far}; {1.total} in all",
        words=lambda t: [t.hash, t.crn["name"], cost_so_far(t), "1 in all"],
    ),
    "extend": sample(
        "Extend it by 3 hours",
        create("longer", ttl_hours=1),
        on("extend_vm", "longer", additional_hours=3),
        on("destroy_vm", "longer"),
        says="It ends at {1.new_ttl_expires_at}; that costs {1.additional_cost_estimate} more",
        words=lambda t: [ends_at(t, hours("3")), 3 * t.price],
    ),
    "expired": sample(
        "Destroy all expired VMs",
        create("late", ttl_hours=2 / 3600),
        ("aleph_destroy_vm", {"filter": "expired"}),
        ("aleph_destroy_vm", {"item_hashes": "{1.vms.*.item_hash}", "token": "{1.token}"}),
        ("aleph_list_my_vms", {}),
        says="{2.status}: {2.vms.*.item_hash}. Left: {3.total}",
        words=lambda t: [f"destroyed: ['{t.hash}']. Left: 0", lambda _: t.hash in t.running_at(0)],
        between={1: overdue, 2: lift},
    ),
    "rust": sample(
        "Compile a Rust project: find a CRN, a 2-CU Ubuntu VM, the SSH command; remind me to destroy it",
        ("aleph_list_crns", {"min_compute_units": 2}),
        create(
            "rust",
            compute_units=2,
            ttl_hours=1,
            os_image="ubuntu24",
            crn_hash="{0.crns.0.hash}",
            purpose="cargo build",
        ),
        on("wait_vm", "rust"),
        on("vm_run", "rust", command=RUST, timeout_s=60),
        on("destroy_vm", "rust"),
        says="`{2.ssh_command}` on {1.crn_name}; it printed {3.stdout}. Remember to destroy it before "
        "{2.ttl_expires_at}. You did: {4.status}.",
        words=lambda t: [
            *(t.places[t.hash], t.crn["name"], f"{t.host_name} says {SUM}"),
            *(f"destroy it before {ends_at(t)}", made_as(t, 2, "ubuntu24")),
            lambda _: t.files["built"] == ELF,
        ],
        runs=("cargo", "cc"),
    ),
    "cheapest": sample(
        "The cheapest VM for a Python script, destroyed after it is confirmed to work",
        ("aleph_list_crns", {"sort": "cheapest"}),
        create("cheap", ttl_hours=1, crn_hash="{0.crns.0.hash}", purpose="a Python script"),
        on("wait_vm", "cheap"),
        on("vm_copy", "cheap", path="script.py", content=PYTHON),
        on("vm_run", "cheap", command="python3 script.py"),
        on("destroy_vm", "cheap"),
        says="At {1.hourly_cost} an hour it printed {4.stdout}. It works, and is {5.status}: {5.item_hash}",
        words=lambda t: [t.price, f"{t.host_name} says {SUM}", f"destroyed: {t.hash}", made_as(t, 1)],
        runs=("python3",),
    ),
}


def missing(words: list[Word], said: str) -> list[Any]:
    """Those that are not in it."""
    numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", said)]
    return [word for word in words if not _holds(word, said, numbers)]


def _holds(word: Word, said: str, numbers: list[float]) -> bool:
    if isinstance(word, str):
        return word in said
    if isinstance(word, float):
        return any(abs(number - word) <= word / 1000 for number in numbers)
    return word(said)
