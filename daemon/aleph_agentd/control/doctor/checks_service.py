"""What systemd runs for us: the units, the daemon that answers, the sockets and who may connect to them."""

import sys
from collections.abc import Iterator
from pathlib import Path

from aleph_agentd import __version__
from aleph_agentd.control.daemon import start_command
from aleph_agentd.control.doctor.facts import Facts
from aleph_agentd.control.doctor.finding import Finding, command, fail, manage, ours, warn, well

_OWN_SOCKET, _SYSTEM_SOCKET = 0o600, 0o660


def units(facts: Facts) -> Iterator[Finding]:
    """They are there, as an install of this version wrote them."""
    installation = facts.installation
    if installation.own:
        return
    install = manage(installation.kind, "install")
    edit = command(*installation.systemctl, "edit", "aleph-agentd")
    missing = [path for path, condition in installation.files.items() if condition == "missing"]
    changed = [path for path, condition in installation.files.items() if condition == "changed"]
    if missing:
        yield fail("units", f"gone since the install: {', '.join(missing)}", _install(facts))
    elif not installation.unit:
        yield fail("units", "not installed: nobody starts the daemon, or starts it again", install)
    elif changed:
        yield warn(
            "units",
            f"changed by hand: {', '.join(changed)}",
            _install(facts),
            advice=f"copies are kept as .bak; changes of your own belong into: {edit}",
        )
    elif installation.version not in ("", __version__):
        yield warn("units", f"written by {installation.version}, this is {__version__}", install)
    elif installation.python and Path(installation.python).parent != Path(sys.executable).parent:
        yield warn("units", f"they start {installation.python}, this is {sys.executable}", install)
    else:
        yield well("units", f"{installation.unit} as installed")


def daemon(facts: Facts) -> Iterator[Finding]:
    """Somebody reaps."""
    if facts.status is not None:
        yield well("daemon", f"{facts.status.get('version')} answers, pid {facts.status.get('pid')}")
    elif facts.hello is not None:
        look = ours("aleph-agentctl", "status")
        yield warn("daemon", f"it lives, but tells no status: {facts.away}", advice=f"look again: {look}")
    elif facts.installation.own:
        yield fail("daemon", f"{facts.away}; no lease is ended", advice=start_command())
    elif not facts.installation.unit and not facts.installation.files:
        yield fail("daemon", f"{facts.away}; no lease is ended", advice="the install above starts it")
    else:
        state = f" (systemd says: {facts.installation.active})" if facts.installation.active else ""
        manager = "--user " if facts.installation.kind == "user" else ""
        journal = f"journalctl {manager}-u aleph-agentd -n 20"
        yield fail(
            "daemon",
            f"{facts.away}{state}; no lease is ended",
            _install(facts),
            advice=f"if that does not help, it tells why: {journal}" if facts.installation.unit else "",
        )


def alarms(facts: Facts) -> Iterator[Finding]:
    """What the running daemon wants its owner to know."""
    for alarm in (facts.status or {}).get("alerts") or ():
        yield warn("alarm", str(alarm)[:300], advice=f"more of it: {ours('aleph-agentctl', 'status')}")


def _install(facts: Facts) -> str:
    """Puts units right, and starts what they say; what somebody changed is replaced only where it was."""
    changed = "changed" in facts.installation.files.values()
    return manage(facts.installation.kind, "install", *(["--replace"] if changed else []))


def sockets(facts: Facts) -> Iterator[Finding]:
    """Who may connect: the owner alone, or the groups that the system units name."""
    system = facts.installation.kind == "system"
    wanted, root = (_SYSTEM_SOCKET, ("sudo",)) if system else (_OWN_SOCKET, ())
    for path, modes in facts.machine.sockets.items():
        if modes is None:
            continue
        mode, folder = modes
        name, fix = f"socket {path.rpartition('/')[2]}", command(*root, "chmod", f"{wanted:o}", path)
        reached = folder & 0o001
        if mode & 0o006 and reached:
            yield fail(name, f"every user may connect to {path} (mode {mode:04o})", fix)
        elif mode & wanted != wanted:
            yield fail(name, f"not even its owner may connect to {path} (mode {mode:04o})", fix)
        elif mode != wanted:
            yield warn(name, f"{path} is open wider than installed (mode {mode:04o})", fix)
        else:
            yield well(name, f"{'owner and group' if system else 'only you'} may connect (mode {mode:04o})")
