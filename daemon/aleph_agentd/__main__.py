"""`aleph-agentd run` and `aleph-agentd demo`."""

import sys

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
    from .domain.errors import Refusal
    from .ports import StoreTrouble

    logs.set_up(verbose=verbose)
    try:
        app.serve(Settings.load())
    except (ConfigError, ValueError) as problem:
        click.echo(f"aleph-agentd: {problem}", err=True)
        sys.exit(MISCONFIGURED)
    except Refusal as refusal:
        click.echo(f"aleph-agentd: {refusal.message} {refusal.hint}", err=True)
        sys.exit(FAILED)
    except (Taken, StoreTrouble, OSError) as problem:
        click.echo(f"aleph-agentd: {problem}", err=True)
        sys.exit(FAILED)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object at the end.")
def demo(as_json: bool) -> None:
    """Rent a VM on a local network, log in, and watch its lease end."""
    from .demo import main as run_demo

    sys.exit(run_demo(as_json))


if __name__ == "__main__":
    main()
