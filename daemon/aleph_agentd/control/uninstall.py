"""`uninstall`: takes away what `install` wrote, and refuses while VMs live that nobody would end."""

import os
from pathlib import Path

import click

from aleph_agentd.control import freeze, installing, living, output
from aleph_agentd.control.daemon import ask, with_daemon
from aleph_agentd.control.doctor.finding import command, manage, ours
from aleph_agentd.control.installing import Place, Record, works
from aleph_agentd.control.text import counted
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.domain.counting import be
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import DaemonUnreachable


@click.command
@click.option("--system", is_flag=True, help="What `install --system` installed. As root.")
@click.option("--panic", is_flag=True, help="Destroy every VM first.")
@json_option
def uninstall(system: bool, panic: bool) -> None:
    """Remove what `install` wrote, and nothing else: inventory, key and settings stay."""
    place = installing.place_of("system" if system else "user", os.environ)
    options = {"--panic": panic, "--json": as_json()}
    record = installing.read_record(place, "uninstall", *(name for name, given in options.items() if given))
    if not record.files:
        raise Refusal(f"nothing is installed: there is no {place.record}", code="not_installed")
    managed = _is_managed(place)
    if panic:
        _panic(place, managed)
    _refuse_while_vms_live(place, *living.live(place, record), managed)
    if managed:
        _stop(place, record)
        _disable(place, record)
    removed, kept = installing.remove(record)
    if managed:
        installing.run(*place.systemctl, "daemon-reload")
    place.record.unlink()
    _tell_removed(removed, kept, place)


def _is_managed(place: Place) -> bool:
    """Whether systemd answers. What runs where it does not cannot be stopped, and keeps its units. Raises Refusal."""
    try:
        installing.require_manager(place)
    except Refusal as problem:
        try:
            ask("hello", None, living.ASK_S, place.control_socket)
        except DaemonUnreachable:
            return False
        except Refusal:
            pass
        why = f"aleph-agentd runs, and can be stopped only by you: {problem.message}; nothing was removed"
        raise Refusal(why, _reach(place), code=problem.code) from None
    return True


def _reach(place: Place) -> str:
    """Who came by `su` has no manager in the environment."""
    again = manage(place.kind, "uninstall")
    return f"XDG_RUNTIME_DIR=/run/user/{os.getuid()} {again}" if place.kind == "user" else again


def _panic(place: Place, managed: bool) -> None:
    try:
        if with_daemon(freeze.panic_until_done, place.control_socket):
            raise Refusal("the panic is not done, and nothing was removed", ours("aleph-agentctl", "vms"))
    except DaemonUnreachable as problem:
        problem.hint = _way_out(place, problem.message, managed)
        raise


def _refuse_while_vms_live(place: Place, live: int, away: str, managed: bool = True) -> None:
    if live:
        by = " by the inventory" if away else ""
        raise Refusal(
            f"{counted(live, 'VM')} {be(live, 'lives', 'live')}{by}, and nobody would end them; nothing was removed",
            _way_out(place, away, managed),
            code="vms_live",
        )


def _way_out(place: Place, away: str, managed: bool) -> str:
    if not managed:
        run, end = ours("aleph-agentd", "run"), ours("aleph-agentctl", "panic")
        return f"without systemd: {run}; then, from another shell: {end}"
    panic = manage(place.kind, "uninstall", "--panic")
    start = command(
        *(("sudo",) if place.kind == "system" else ()), *place.systemctl, "restart", installing.SERVICE
    )
    return f"{start} && {panic}" if away else panic


def _stop(place: Place, record: Record) -> None:
    """A create that was under way when the VMs were counted has ended now, and counts. Raises Refusal."""
    there, gone = map(_waking, _split(record))
    try:
        if there:
            installing.run(*place.systemctl, "stop", *there)
        if gone:
            # One whose file is gone may run on.
            works(*place.systemctl, "stop", *gone)
        # Where another database holds them, the answer that the daemon gave last is all there is.
        live = living.by_inventory(place, record, "it was stopped")
        _refuse_while_vms_live(place, live or 0, "")
    except Refusal:
        works(*place.systemctl, "start", *there, *gone)
        raise


def _waking(names: list[str]) -> list[str]:
    return [name for name in names if name.endswith((".socket", ".timer")) or name == installing.SERVICE]


def _disable(place: Place, record: Record) -> None:
    there, _ = _split(record)
    if there:
        installing.run(*place.systemctl, "disable", "--now", *there)


def _split(record: Record) -> tuple[list[str], list[str]]:
    """The names of the units whose files are there, and of those whose files are gone."""
    conditions = record.conditions().items()
    there = [Path(name).name for name, condition in conditions if condition != "missing"]
    return there, [Path(name).name for name, condition in conditions if condition == "missing"]


def _tell_removed(removed: list[str], kept: list[str], place: Place) -> None:
    if as_json():
        output.say_json({"removed": removed, "kept": kept})
        return
    for name in removed:
        output.say(f"removed {name}")
    for name in kept:
        output.say(f"changed by hand, and left: {name}", "yellow")
    output.say(f"kept: {place.state}, your key and your settings")
