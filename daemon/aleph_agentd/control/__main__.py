"""`aleph-agentctl`: what the owner of the daemon uses. A client of control.sock, without logic of its own."""

import os
import sys
from collections.abc import Sequence

import click

from aleph_agentd.control import (
    approvals,
    audit,
    completion,
    create,
    daemon,
    events,
    freeze,
    install,
    keeping,
    key,
    lifecycle,
    logs,
    market,
    metrics,
    notify,
    orphans,
    output,
    run,
    spend,
    ssh,
    status,
    uninstall,
    upgrade,
    vms,
)
from aleph_agentd.control.doctor.command import doctor
from aleph_agentd.control.report.command import report
from aleph_agentd.control.top.command import top
from aleph_agentd.control.verb import json_option
from aleph_agentd.control.verbs import Verbs
from aleph_agentd.domain.errors import Refusal

NAME = "aleph-agentctl"


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@json_option
@click.version_option(package_name="aleph-agentd", prog_name=NAME)
def cli() -> None:
    """See and steer the VMs that aleph-agentd rents for agents.

    Exit codes: 0 done, 1 refused or failed, 2 usage, 69 daemon not reachable, 78 configuration.
    """


for command in (
    status.status,
    top,
    spend.spend,
    report,
    vms.vms,
    vms.vm,
    create.create,
    ssh.ssh,
    run.run,
    logs.logs,
    market.nodes,
    market.balance,
    lifecycle.destroy,
    lifecycle.extend,
    events.events,
    notify.notify,
    audit.audit,
    orphans.orphans,
    orphans.recover,
    keeping.escrow,
    keeping.backup,
    approvals.approvals,
    approvals.approve,
    approvals.deny,
    approvals.passphrase,
    freeze.freeze,
    freeze.unfreeze,
    freeze.panic,
    key.unlock,
    key.key,
    metrics.metrics,
    doctor,
    install.install,
    uninstall.uninstall,
    upgrade.upgrade_check,
    completion.completion,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit code says how it went."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except BrokenPipeError:
        # `| head` has read enough. Python would complain once more while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return daemon.FAILED


def _run(words: list[str]) -> int:
    as_json = "--json" in words
    try:
        code = cli.main(words, prog_name=NAME, standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else daemon.DONE
    except Refusal as refusal:
        output.complain(refusal, as_json=as_json)
        return daemon.exit_code(refusal)
    except click.UsageError as problem:
        output.complain(_usage(problem), as_json=as_json)
        return daemon.USAGE
    except click.ClickException as problem:
        output.complain(Refusal(problem.format_message()), as_json=as_json)
        return daemon.FAILED
    except (click.Abort, KeyboardInterrupt):
        output.complain(Refusal("stopped by you", code="aborted"), as_json=as_json)
        return daemon.FAILED


def _usage(problem: click.UsageError) -> Refusal:
    path = problem.ctx.command_path if problem.ctx else NAME
    return Refusal(problem.format_message(), f"{path} --help", code="usage")


if __name__ == "__main__":
    sys.exit(main())
