"""`metrics`: the daemon's figures, as Prometheus reads them."""

import sys

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import ask
from aleph_agentd.control.verb import as_json, json_option


@click.command
@json_option
def metrics() -> None:
    """Print the daemon's figures in Prometheus' text format (for a textfile collector, say)."""
    answer = ask("metrics")
    if as_json():
        output.say_json({"metrics": answer["metrics"]})
        return
    sys.stdout.write(answer["text"])
