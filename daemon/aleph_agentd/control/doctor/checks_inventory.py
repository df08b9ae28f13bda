"""The inventory, and the VMs that need a human."""

from collections.abc import Iterator

from aleph_agentd.control.doctor.facts import Facts
from aleph_agentd.control.doctor.finding import Finding, command, fail, ours, warn, well
from aleph_agentd.control.installed import Installation
from aleph_agentd.control.text import counted, plain
from aleph_agentd.domain.counting import be


def integrity(facts: Facts) -> Iterator[Finding]:
    """The database is whole, and of a schema that we know."""
    found = facts.examined.get("inventory")
    if not found:
        return
    path = found["path"]
    if not found["exists"]:
        yield well("inventory", f"none yet; the first start makes {path}")
        return
    if unread := found.get("unread"):
        yield warn("inventory", f"{path} could not be read: {unread}", advice="it is busy; look again")
        return
    if found.get("quick_check") != "ok":
        yield fail(
            "inventory",
            f"{path} is damaged: {plain(found.get('quick_check'))[:200]}",
            _set_aside(path, facts.installation),
        )
        return
    yield well("inventory", f"{path} is whole")
    yield _schema(found, facts.installation)


def _schema(found: dict[str, object], installation: Installation) -> Finding:
    schema, known, path = found.get("schema"), found["known"], str(found["path"])
    if not isinstance(schema, int) or not isinstance(known, int):
        return fail("schema", f"{path} is no inventory of aleph-agentd", _set_aside(path, installation))
    if schema > known:
        return fail(
            "schema",
            f"{schema}, this version knows up to {known}",
            advice="a newer version wrote it: install that one again",
        )
    if schema < known:
        return warn(
            "schema",
            f"{schema}; the next start brings it to {known}",
            command(*installation.systemctl, "restart", "aleph-agentd"),
        )
    return well("schema", f"{schema}, as this version wants it")


def _set_aside(path: str, installation: Installation) -> str:
    # Kept, never removed: what is in it may be the only trace of a VM. The next start asks the network.
    systemctl, root = command(*installation.systemctl), "sudo " if installation.kind == "system" else ""
    move = f'test ! -e "$f" || {root}mv --backup=numbered "$f" "$f.damaged"'
    each = " ".join(command(path + end) for end in ("", "-wal", "-shm"))
    return f"{systemctl} stop aleph-agentd.socket aleph-agentd; for f in {each}; do {move}; done; {systemctl} start aleph-agentd"


def stuck(facts: Facts) -> Iterator[Finding]:
    """Teardowns that failed often; they are retried by themselves."""
    if facts.status is None:
        return
    lines = facts.status.get("stuck") or []
    if lines:
        yield warn(
            "stuck",
            f"{counted(len(lines), 'VM')}: {plain('; '.join(map(str, lines)))[:300]}",
            advice=f"they are tried again by themselves; look: {ours('aleph-agentctl', 'vms')}",
        )
    else:
        yield well("stuck", "no VM")


def orphans(facts: Facts) -> Iterator[Finding]:
    """VMs under our key without a row."""
    if facts.status is None:
        return
    sweep = facts.status.get("sweep") or {}
    if not sweep.get("at"):
        yield warn(
            "orphans", "the network has not been compared yet", ours("aleph-agentctl", "orphans", "--sweep")
        )
    elif sweep.get("orphans"):
        yield warn(
            "orphans",
            f"{counted(sweep['orphans'], 'VM')} under your key {be(sweep['orphans'], 'has', 'have')} no row",
            advice=f"see them, then adopt or destroy each: {ours('aleph-agentctl', 'orphans')}",
        )
    else:
        yield well("orphans", "none at the last sweep")
