"""`upgrade-check`: the version that runs against the one that is installed."""

import os

import click

from aleph_agentd import __version__
from aleph_agentd.control import installed, output
from aleph_agentd.control.daemon import DONE, FAILED, ask, start_command
from aleph_agentd.control.doctor.finding import manage
from aleph_agentd.control.installed import Installation
from aleph_agentd.control.text import plain
from aleph_agentd.control.verb import as_json, json_option

PROTOCOL = 1
"""What this client speaks; a daemon serves every older one."""


def _next(installation: Installation) -> str:
    """An install renders the units of the new version, and restarts; a daemon of one's own is restarted by hand."""
    if installation.own or not installation.unit:
        return f"stop it, then: {start_command()}"
    return manage(installation.kind, "install")


@click.command("upgrade-check")
@json_option
def upgrade_check() -> int:
    """Say whether the running daemon is the installed version, and what to do if not. Exit 1 if it is not."""
    # Without our protocol: an old daemon must be able to say how old it is.
    installation = installed.look(os.environ)
    running = ask("hello", at=installation.control_socket)
    version, spoken = str(running.get("version")), running.get("protocol")
    same = version == __version__ and spoken == PROTOCOL
    step = "" if same else _next(installation)
    if as_json():
        output.say_json({"same": same, "running": version, "installed": __version__, "next": step})
    elif same:
        output.say(f"{__version__} is installed and runs", "green")
    else:
        output.say(f"{plain(version)} runs, {__version__} is installed; next: {step}", "yellow")
    return DONE if same else FAILED
