"""`install`, `uninstall`: aleph-agentd as a service of systemd, and back."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from aleph_agentd.control import freeze, installing, output, units
from aleph_agentd.control.daemon import ask, with_daemon
from aleph_agentd.control.doctor import gather_machine
from aleph_agentd.control.doctor.finding import ours
from aleph_agentd.control.installing import Place, works
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import DaemonUnreachable, HungUp, NoAnswer

PREFIX = "ALEPH_AGENT_"
NOT_CARRIED = {"RUNTIME_DIR", "AUTOSTART", "RUN_INTEGRATION", "DATABASE_URL"}
"""The sockets' place is systemd's, and a database's password belongs into no unit."""
SYSTEM_STATE = Path("/var/lib/aleph-agentd")


@click.command
@click.option("--system", is_flag=True, help="For the whole machine, under a user of its own. As root.")
@click.option("--dry-run", is_flag=True, help="Show what would be written; change nothing.")
@click.option("--replace", is_flag=True, help="Replace units that were changed by hand.")
@json_option
def install(system: bool, dry_run: bool, replace: bool) -> None:
    """Install aleph-agentd as a service: it starts with the first connection, and is kept alive."""
    examined = _examined()
    place = _place(system, examined)
    sandbox = system or works("systemd-run", "--user", "--wait", "--quiet", "-p", "PrivateUsers=yes", "true")
    facts = installing.facts_of(examined, Path(sys.executable), _settings(), place.kind)
    rendered = units.render(place.kind, facts, sandbox=sandbox)
    texts = {place.folder / name: text for name, text in rendered.items()}
    changed = installing.changed_by_hand(texts, installing.read_record(place))
    if changed and not replace:
        raise Refusal(
            f"changed by hand, and not overwritten: {', '.join(map(str, changed))}",
            ours("aleph-agentctl", "install", *(["--system"] if system else []), "--replace"),
            code="changed_by_hand",
        )
    if not dry_run:
        _apply(place, texts, facts)
    _tell(place, texts, sandbox=sandbox, dry_run=dry_run)


def _examined() -> Mapping[str, Any]:
    examined = gather_machine.examine()
    if not examined.get("settings"):
        raise Refusal(
            str(examined.get("config_trouble") or "the settings could not be examined"),
            ours("aleph-agentctl", "doctor"),
            code="configuration",
        )
    return examined


def _place(system: bool, examined: Mapping[str, Any]) -> Place:
    if system:
        return Place(kind="system", folder=Path("/etc/systemd/system"), state=SYSTEM_STATE)
    # The manager's own place for units of this user, which does not move with our settings.
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Place(kind="user", folder=config_home / "systemd/user", state=Path(examined["state"]))


def _settings() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in NOT_CARRIED
    }


def _apply(place: Place, texts: Mapping[Path, str], facts: units.Facts) -> None:
    if place.kind == "system":
        _accounts()
    installing.write(place, texts, [Path(path) for path in facts.state])
    installing.run(*place.systemctl, "daemon-reload")
    installing.run(*place.systemctl, "enable", *_names(texts))
    installing.run(*place.systemctl, "start", *_names(texts, ".socket", ".timer"))
    # What runs already must not go on under the old units.
    installing.run(*place.systemctl, "try-restart", "aleph-agentd.service")


def _accounts() -> None:
    if os.getuid():
        raise Refusal("a system install needs root", "sudo aleph-agentctl install --system")
    for group in (units.AGENTS, units.OWNERS):
        installing.run("groupadd", "--system", "--force", group)
    if not works("id", units.USER):
        installing.run(
            "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/", units.USER
        )


def _names(texts: Mapping[Path, str], *suffixes: str) -> list[str]:
    return sorted(path.name for path in texts if not suffixes or path.suffix in suffixes)


def _tell(place: Place, texts: Mapping[Path, str], *, sandbox: bool, dry_run: bool) -> None:
    lingering = place.kind == "system" or gather_machine.lingering()
    undo = ours("aleph-agentctl", "uninstall", *(["--system"] if place.kind == "system" else []))
    if as_json():
        files = {str(path): text for path, text in texts.items()}
        output.say_json(
            {"files": files, "sandbox": sandbox, "lingering": lingering, "dry_run": dry_run, "undo": undo}
        )
        return
    for path, text in texts.items():
        output.say(f"{'would write' if dry_run else 'wrote'} {path}")
        if dry_run:
            output.say(text)
    if not dry_run:
        output.say(
            f"recorded in {place.record}\nenabled and started: {', '.join(_names(texts, '.socket', '.timer'))}"
        )
    if not sandbox:
        output.say("no user namespaces here: system calls are restricted, files are not", "yellow")
    if not lingering:
        output.say(
            f"after your last logout nobody ends VMs; run: loginctl enable-linger {gather_machine.user()}",
            "yellow",
        )
    if place.kind == "system":
        output.say(
            f"the key, as root: systemd-creds encrypt --name={units.CREDENTIAL} KEYFILE {units.ENCRYPTED_STORE / units.CREDENTIAL}"
        )
    output.say(f"to undo it: {undo}")


@click.command
@click.option("--system", is_flag=True, help="What `install --system` installed. As root.")
@click.option("--panic", is_flag=True, help="Destroy every VM first.")
@json_option
def uninstall(system: bool, panic: bool) -> None:
    """Remove what `install` wrote, and nothing else: inventory, key and settings stay."""
    examined = _examined()
    place = _place(system, examined)
    record = installing.read_record(place)
    if not record:
        raise Refusal(f"nothing is installed: there is no {place.record}", code="not_installed")
    if panic and with_daemon(freeze.panic_until_done):
        raise Refusal("the panic is not done, and nothing was removed", ours("aleph-agentctl", "vms"))
    _refuse_while_vms_live(examined)
    names = [Path(name).name for name in record]
    installing.run(*place.systemctl, "disable", "--now", *names)
    removed, kept = installing.remove(record)
    installing.run(*place.systemctl, "daemon-reload")
    place.record.unlink()
    _tell_removed(removed, kept, place)


def _refuse_while_vms_live(examined: Mapping[str, Any]) -> None:
    inventory = examined.get("inventory") or {}
    if inventory.get("exists") is False:
        return
    try:
        live = int(ask("vms.list", {"which": "live", "limit": 1})["total"])
    except (DaemonUnreachable, HungUp, NoAnswer) as away:
        # Unknown is not none.
        raise Refusal(
            f"the daemon does not say whether VMs live ({away.message}); nothing was removed",
            ours("aleph-agentctl", "doctor"),
            code="vms_unknown",
        ) from None
    if live:
        raise Refusal(
            f"{live} VMs live, and nobody would end them; nothing was removed",
            ours("aleph-agentctl", "uninstall", "--panic"),
            code="vms_live",
        )


def _tell_removed(removed: list[str], kept: list[str], place: Place) -> None:
    if as_json():
        output.say_json({"removed": removed, "kept": kept})
        return
    for name in removed:
        output.say(f"removed {name}")
    for name in kept:
        output.say(f"changed by hand, and left: {name}", "yellow")
    output.say(f"kept: {place.state}, your key and your settings")
