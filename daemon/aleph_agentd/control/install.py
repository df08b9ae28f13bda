"""`install`: aleph-agentd as a service of systemd."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from aleph_agentd import __version__
from aleph_agentd.control import boundary, installed, installing, living, output, units
from aleph_agentd.control.doctor import gather_machine
from aleph_agentd.control.doctor.finding import manage, ours
from aleph_agentd.control.installing import Place, Record, works
from aleph_agentd.control.text import counted
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.domain.counting import be
from aleph_agentd.domain.errors import Refusal

NOT_CARRIED = {"RUNTIME_DIR", "AUTOSTART", "RUN_INTEGRATION"}
"""The sockets' place is systemd's; the others belong to the shim and to tests."""
SECRET = {"DATABASE_URL", "WEBHOOK_URL"}
"""A password or a token belongs into no unit, which `systemctl show` shows to everybody."""
NOT_FOR_SYSTEM = {"PRIVATE_KEY_PATH"}
"""There the key is a credential, which systemd hands over."""
POINTS_AT = {
    *("NETWORK", "API_HOST", "API_HOSTS", "CRN_LIST_URL", "AGGREGATE_ADDRESS"),
    *("PRIVATE_KEY_PATH", "INVENTORY_PATH", "HUMAN_ADDRESS"),
}
"""Under other values of these the daemon would not know, reach or be able to end the VMs that live."""


@dataclass(frozen=True, kw_only=True)
class Carried:
    """The settings that the unit will carry, by where they come from."""

    settings: Mapping[str, str]
    taken: tuple[str, ...]
    kept: tuple[str, ...]
    refused: tuple[str, ...]


@click.command
@click.option("--system", is_flag=True, help="For the whole machine, under a user of its own. As root.")
@click.option("--dry-run", is_flag=True, help="Show what would be written; change nothing.")
@click.option("--replace", is_flag=True, help="Replace units that were changed by hand; copies are kept.")
@json_option
def install(system: bool, dry_run: bool, replace: bool) -> None:
    """Install aleph-agentd as a service: it starts with the first connection, and is kept alive."""
    place = installing.place_of("system" if system else "user", os.environ)
    options = {"--dry-run": dry_run, "--replace": replace, "--json": as_json()}
    if not dry_run:
        _require(place)
    record = installing.read_record(place, "install", *(name for name, given in options.items() if given))
    carried = carry(os.environ, record.settings, place.kind)
    _refuse_to_leave_vms(place, record, carried)
    sandbox = system or works("systemd-run", "--user", "--wait", "--quiet", "-p", "PrivateUsers=yes", "true")
    examined = _examined(place, carried)
    facts = installing.facts_of(examined, Path(sys.executable), carried.settings, place.kind)
    rendered = units.render(place.kind, facts, sandbox=sandbox)
    texts = {place.folder / name: text for name, text in rendered.items()}
    changed = installing.changed_by_hand(texts, record)
    if changed and not replace:
        raise Refusal(
            f"changed by hand, and not overwritten: {', '.join(map(str, changed))}",
            manage(place.kind, "install", "--replace"),
            code="changed_by_hand",
        )
    new = Record(settings=carried.settings, version=__version__, sandbox=sandbox)
    done = {} if dry_run else _apply(place, texts, new, _directories(facts, examined))
    _tell(place, texts, {"sandbox": sandbox, "dry_run": dry_run, **done}, carried)


def carry(environ: Mapping[str, str], before: Mapping[str, str], kind: units.Kind) -> Carried:
    """What this shell sets goes before what the last install took over; an empty value takes a setting out."""
    named = {name: value for name, value in environ.items() if name.startswith(installed.PREFIX)}
    left = NOT_CARRIED | SECRET | (NOT_FOR_SYSTEM if kind == "system" else set())
    own = {name: value for name, value in named.items() if name.removeprefix(installed.PREFIX) not in left}
    settings = {name: value for name, value in {**before, **own}.items() if value}
    secrets = (name for name in named if name.removeprefix(installed.PREFIX) in SECRET)
    return Carried(
        settings=settings,
        taken=tuple(sorted(settings.keys() & own.keys())),
        kept=tuple(sorted(settings.keys() - own.keys())),
        refused=tuple(sorted(secrets)),
    )


def _require(place: Place) -> None:
    """What must be so before anything is written. Raises Refusal."""
    if place.kind == "system":
        # First: what it refuses is no code to run with sudo either.
        boundary.require_closed()
        if os.getuid():
            raise Refusal("a system install needs root", manage("system", "install"))
    installing.require_manager(place)


def _refuse_to_leave_vms(place: Place, record: Record, carried: Carried) -> None:
    """Another network, key or inventory only while no VM lives by the present ones. Raises Refusal."""
    before, after = record.settings, carried.settings
    names = [f"{installed.PREFIX}{name}" for name in sorted(POINTS_AT)]
    changes = [name for name in names if before.get(name) != after.get(name)]
    if not record.files or not changes:
        return
    keep = f"unset {' '.join(changes)} && {manage(place.kind, 'install')}"
    try:
        live, _ = living.live(place, record)
    except Refusal as problem:
        raise Refusal(
            f"{', '.join(changes)} would change: {problem.message}", keep, code=problem.code
        ) from None
    if live:
        why = f"{counted(live, 'VM')} {be(live, 'lives', 'live')}, and under another {', '.join(changes)} nobody would end them; nothing was changed"
        raise Refusal(why, keep, code="vms_live")


def _examined(place: Place, carried: Carried) -> Mapping[str, Any]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(installed.PREFIX)}
    examined = gather_machine.examine({**own, **installed.service_home(place), **carried.settings})
    if not examined.get("settings"):
        raise Refusal(
            str(examined.get("config_trouble") or "the settings could not be examined"),
            ours("aleph-agentctl", "doctor"),
            code="configuration",
        )
    return examined


def _directories(facts: units.Facts, examined: Mapping[str, Any]) -> list[Path]:
    """What the sandbox is to show must be there when the daemon starts."""
    if not facts.state:
        return []
    key, config = Path(examined["settings"]["private_key_path"]), Path(examined["config"])
    return [*facts.state, key.parent, config.parent]


def _apply(
    place: Place, texts: Mapping[Path, str], record: Record, directories: Sequence[Path]
) -> dict[str, Any]:
    if place.kind == "system":
        _accounts()
    anew = installing.stale(place, texts)
    copies = installing.write(place, texts, record, directories)
    installing.run(*place.systemctl, "daemon-reload")
    installing.run(*place.systemctl, "enable", *_names(texts))
    if anew:
        # Takes the daemon along. The old sockets may be units that are not there any more.
        works(*place.systemctl, "stop", *_names(texts, ".socket"))
    installing.run(*place.systemctl, "start", *_names(texts, ".socket", ".timer"))
    # What runs already must not go on under the old units.
    running = works(*place.systemctl, "restart", installing.SERVICE)
    return {"copies": [str(path) for path in copies], "running": running}


def _accounts() -> None:
    for group in (units.AGENTS, units.OWNERS):
        installing.run("groupadd", "--system", "--force", group)
    if not works("id", units.USER):
        installing.run(
            "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/", units.USER
        )


def _names(texts: Mapping[Path, str], *suffixes: str) -> list[str]:
    return sorted(path.name for path in texts if not suffixes or path.suffix in suffixes)


def _tell(place: Place, texts: Mapping[Path, str], done: Mapping[str, Any], carried: Carried) -> None:
    lingering = place.kind == "system" or gather_machine.lingering()
    undo = manage(place.kind, "uninstall")
    if as_json():
        files = {str(path): text for path, text in texts.items()}
        names = {"taken": carried.taken, "kept": carried.kept, "refused": carried.refused}
        output.say_json({"files": files, "lingering": lingering, "undo": undo, "settings": names, **done})
        return
    for path, text in texts.items():
        output.say(f"{'would write' if done['dry_run'] else 'wrote'} {path}")
        if done["dry_run"]:
            output.say(text)
    for copy in done.get("copies", ()):
        output.say(f"what was changed by hand is kept in {copy}", "yellow")
    _tell_settings(carried, place)
    if not done["dry_run"]:
        output.say(f"enabled and started: {', '.join(_names(texts, '.socket', '.timer'))}")
        if done["running"]:
            output.say("aleph-agentd runs")
        else:
            output.say(f"aleph-agentd does not start; next: {ours('aleph-agentctl', 'doctor')}", "yellow")
    if not done["sandbox"]:
        output.say("no user namespaces here: system calls are restricted, files are not", "yellow")
    if not lingering:
        linger = f"loginctl enable-linger {gather_machine.user()}"
        output.say(f"after your last logout nobody ends VMs; next: {linger}", "yellow")
    if place.kind == "system":
        if done["dry_run"]:
            _tell_boundary()
        sealed = units.ENCRYPTED_STORE / units.CREDENTIAL
        output.say(f"the key, as root: systemd-creds encrypt --name={units.CREDENTIAL} KEYFILE {sealed}")
    output.say(f"to undo it: {undo}")


def _tell_boundary() -> None:
    try:
        boundary.require_closed()
    except Refusal as refusal:
        output.say(f"it would be refused: {refusal.message}; next: {refusal.hint}", "yellow")


def _tell_settings(carried: Carried, place: Place) -> None:
    if carried.taken:
        output.say(f"taken over from this shell into the unit: {', '.join(carried.taken)}", "yellow")
    if carried.kept:
        output.say(f"kept from the last install: {', '.join(carried.kept)}")
        output.say(f"  to take one out: {manage(place.kind, 'install', without='NAME')}")
    for name in carried.refused:
        output.say(f"not taken over: {name} holds a password; it belongs into config.toml", "yellow")
