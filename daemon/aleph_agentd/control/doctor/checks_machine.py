"""The machine that the daemon lives on: lingering, sandbox, sleep, disk."""

from collections.abc import Iterator

from aleph_agentd.control.doctor.facts import Facts
from aleph_agentd.control.doctor.finding import Finding, command, fail, manage, warn, well

LOW_BYTES, SCARCE_BYTES = 50 * 2**20, 500 * 2**20


def lingering(facts: Facts) -> Iterator[Finding]:
    """A user's daemon outlives the last logout."""
    if facts.installation.kind == "system":
        return
    fix = command("loginctl", "enable-linger", facts.machine.user)
    if facts.machine.lingering is None:
        yield warn("lingering", "loginctl does not say: after your last logout nobody may end VMs", fix)
    elif not facts.machine.lingering:
        yield fail("lingering", "off: 10 s after your last logout nobody ends VMs", fix)
    else:
        yield well("lingering", "on: the daemon outlives your logout")


def sandbox(facts: Facts) -> Iterator[Finding]:
    """What the kernel enforces on the running daemon, as it finds it itself."""
    if facts.status is None or not facts.installation.unit:
        # What one in the foreground may do, no unit decides.
        return
    found = facts.status.get("sandbox")
    fix = manage(facts.installation.kind, "install", "--replace")
    if not isinstance(found, dict):
        yield warn("sandbox", "this daemon does not tell: it is older than this doctor", fix)
        return
    missing = [
        words
        for name, words in (("no_new_privs", "no new privileges"), ("seccomp", "system calls"))
        if not found.get(name)
    ]
    open_ = [
        words
        for name, words in (
            ("usr_writable", "/usr can be written"),
            ("session_bus", "the session bus leads out"),
        )
        if found.get(name)
    ]
    if found.get("mounts") and found["mounts"] == facts.machine.mounts:
        open_.append("it sees your files")
    if missing:
        yield warn("sandbox", f"not restricted: {', '.join(missing + open_)}", fix)
    elif open_ and not facts.installation.sandbox:
        why = f"user namespaces were refused at the install: {', '.join(open_)}"
        yield warn("sandbox", why, advice=f"where the machine allows them now: {fix}")
    elif open_:
        yield warn("sandbox", f"system calls are restricted, files are not: {', '.join(open_)}", fix)
    else:
        yield well("sandbox", "in force: system calls, files, no session bus")


def suspend(facts: Facts) -> Iterator[Finding]:
    """A machine that sleeps ends no lease."""
    if facts.machine.suspends:
        yield warn(
            "suspend",
            "this machine can go to sleep, and then ends no lease until it wakes",
            "sudo systemctl mask sleep.target suspend.target hibernate.target hybrid-sleep.target",
        )
    else:
        yield well("suspend", "this machine does not go to sleep by itself")


def disk(facts: Facts) -> Iterator[Finding]:
    """Rows are written before messages are sent."""
    free = facts.machine.free_bytes
    if free is None:
        return
    says = f"{free // 2**20} MiB free for {facts.machine.state_folder}"
    fix = "journalctl --user --vacuum-size=50M"
    more = "and look for what else can go: du -xh ~ | sort -h | tail"
    if free < LOW_BYTES:
        yield fail("disk", f"{says}: creates are refused when it is full", fix, advice=more)
    elif free < SCARCE_BYTES:
        yield warn("disk", says, fix, advice=more)
    else:
        yield well("disk", says)
