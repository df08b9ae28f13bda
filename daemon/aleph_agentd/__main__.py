"""`aleph-agentd run` and `aleph-agentd demo`."""

import faulthandler
import sys
from pathlib import Path

import click

from . import __version__

FAILED, MISCONFIGURED = 1, 78


@click.group()
@click.version_option(__version__)
def main() -> None:
    """Rents Aleph Cloud VMs for agents, and never loses one."""


@main.command()
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def run(verbose: bool) -> None:
    """Run the daemon in the foreground; systemd and the shim start it like this."""
    from . import app
    from .adapters import logs
    from .adapters.config import ConfigError, Settings
    from .adapters.installation import Taken
    from .adapters.store import StoreBroken
    from .domain.errors import Refusal
    from .ports import StoreTrouble
    from .turning_away import turn_away

    logs.set_up(verbose=verbose)
    faulthandler.enable()  # the watchdog's SIGABRT then tells where it hung: names of functions, never values
    try:
        app.serve(Settings.load())
    except (ConfigError, ValueError) as problem:
        click.echo(f"aleph-agentd: {problem}", err=True)
        turn_away(str(problem).rstrip("."))
        sys.exit(MISCONFIGURED)
    except Refusal as refusal:
        click.echo(f"aleph-agentd: {refusal.message.rstrip('.')}. {refusal.hint}", err=True)
        sys.exit(FAILED)
    except StoreBroken as broken:
        click.echo("; ".join(filter(None, [f"aleph-agentd: {broken}", broken.way_back])), err=True)
        sys.exit(FAILED)
    except (Taken, StoreTrouble, OSError) as problem:
        click.echo(f"aleph-agentd: {problem}", err=True)
        sys.exit(FAILED)


@main.command("reap-escrow")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def reap_escrow(directory: Path) -> None:
    """End the VMs whose kill switches in DIR are due. Needs no daemon, no key, no inventory, no settings.

    Prints a line per file. Exit 0: all that is due is confirmed to be over; 1: not all; run it again.
    """
    from .reap_escrow import reap

    sys.exit(reap(directory))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object at the end.")
def demo(as_json: bool) -> None:
    """Rent a VM on a local network, log in, and watch its lease end."""
    from .demo import main as run_demo

    sys.exit(run_demo(as_json))


if __name__ == "__main__":
    main()
