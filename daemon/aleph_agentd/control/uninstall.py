"""`uninstall`: takes away what `install` wrote, and refuses while VMs live that nobody would end."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from aleph_agentd.control import freeze, installed, installing, output
from aleph_agentd.control.daemon import ask, with_daemon
from aleph_agentd.control.doctor import gather_machine
from aleph_agentd.control.doctor.finding import command, ours
from aleph_agentd.control.installing import Place, Record, works
from aleph_agentd.control.text import counted
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.domain.counting import be
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import DaemonUnreachable, HungUp, NoAnswer

ASK_S = 10.0
"""One that hangs is not waited for."""


@click.command
@click.option("--system", is_flag=True, help="What `install --system` installed. As root.")
@click.option("--panic", is_flag=True, help="Destroy every VM first.")
@json_option
def uninstall(system: bool, panic: bool) -> None:
    """Remove what `install` wrote, and nothing else: inventory, key and settings stay."""
    place = installing.place_of("system" if system else "user", os.environ)
    record = installing.read_record(place)
    if not record.files:
        raise Refusal(f"nothing is installed: there is no {place.record}", code="not_installed")
    if panic and with_daemon(freeze.panic_until_done):
        raise Refusal("the panic is not done, and nothing was removed", ours("aleph-agentctl", "vms"))
    _refuse_while_vms_live(place, record)
    _stop(place, record)
    removed, kept = installing.remove(record)
    installing.run(*place.systemctl, "daemon-reload")
    place.record.unlink()
    _tell_removed(removed, kept, place)


def _refuse_while_vms_live(place: Place, record: Record) -> None:
    live, away = _live(place, record)
    if not live:
        return
    panic = ours("aleph-agentctl", "uninstall", *place.flags, "--panic")
    start = command(*place.systemctl, "restart", installing.SERVICE)
    raise Refusal(
        f"{counted(live, 'VM')} {be(live, 'lives', 'live')}{' by the inventory' if away else ''}, and nobody would end them; nothing was removed",
        f"{start} && {panic}" if away else panic,
        code="vms_live",
    )


def _live(place: Place, record: Record) -> tuple[int, str]:
    """How many VMs live, and why the daemon did not say it. Unknown is not none. Raises Refusal."""
    # A daemon that cannot start would leave its caller waiting.
    if not works(*place.systemctl, "is-active", "--quiet", installing.SERVICE):
        return _live_offline(place, record, away := "it does not run"), away
    try:
        return int(ask("vms.list", {"which": "live", "limit": 1}, ASK_S)["total"]), ""
    except (DaemonUnreachable, HungUp, NoAnswer) as problem:
        return _live_offline(place, record, problem.message), problem.message


def _live_offline(place: Place, record: Record, away: str) -> int:
    given = installed.environment(installed.look(os.environ), {**os.environ, **record.settings})
    examined = gather_machine.examine({**given, **installed.service_home(place)})
    inventory: Mapping[str, Any] = examined.get("inventory") or {}
    if inventory.get("exists") is False:
        return 0
    if isinstance(live := inventory.get("live"), int):
        return live
    raise Refusal(
        f"neither the daemon ({away}) nor its inventory says whether VMs live; nothing was removed",
        ours("aleph-agentctl", "doctor"),
        code="vms_unknown",
    )


def _stop(place: Place, record: Record) -> None:
    there = [Path(name).name for name, condition in record.conditions().items() if condition != "missing"]
    if there:
        installing.run(*place.systemctl, "disable", "--now", *there)
    # A unit whose file is gone may run on.
    works(*place.systemctl, "stop", *(Path(name).name for name in record.files))


def _tell_removed(removed: list[str], kept: list[str], place: Place) -> None:
    if as_json():
        output.say_json({"removed": removed, "kept": kept})
        return
    for name in removed:
        output.say(f"removed {name}")
    for name in kept:
        output.say(f"changed by hand, and left: {name}", "yellow")
    output.say(f"kept: {place.state}, your key and your settings")
