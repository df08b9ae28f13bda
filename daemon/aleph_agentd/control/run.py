"""`run`: a command in a VM, over the daemon's own SSH key, as an agent would run it."""

import re
import shlex
import sys
from typing import Any

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import FAILED, READ_S, use_tool, with_daemon
from aleph_agentd.control.text import plain
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.domain.untrusted import stripped
from aleph_agentd.gateway.rpc.client import Client

Answer = dict[str, Any]

TOOL = "aleph_vm_run"
_A_LOOK_S = 30
_PAGES = 256
"""Of up to 4 KiB each: who has more than a mebibyte to read copies the file."""
_FENCED = re.compile(r"<untrusted ([0-9a-f]+)>\n(.*)\n</untrusted \1>", re.DOTALL)
_MORE = re.compile(r"offset=([0-9]{1,18})")


@click.command
@click.argument("reference", metavar="NAME|HASH")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@json_option
def run(reference: str, command: tuple[str, ...]) -> int:
    """Run a command as root in a VM, wait for its end, and exit with its code.

    One word is a shell script; several are passed on as they are. When you interrupt it, it goes on in the VM.
    Of a long stderr only its ends are shown; add 2>&1 to a script to get all of it.
    """
    script = command[0] if len(command) == 1 else shlex.join(command)
    answer = with_daemon(lambda client: _run(client, reference, script))
    if as_json():
        output.say_json(answer)
    else:
        _tell(answer)
    return FAILED if answer["exit_code"] is None else int(answer["exit_code"])


async def _run(client: Client, reference: str, script: str) -> Answer:
    vm = await client.call("vms.get", {"item_hash": reference}, READ_S)
    where = {"item_hash": vm["item_hash"]}
    answer = await use_tool(client, TOOL, {**where, "command": script, "timeout_s": _A_LOOK_S})
    job = {**where, "job": answer["job"]}
    while answer["status"] == "running":
        answer = await use_tool(client, TOOL, {**job, "timeout_s": _A_LOOK_S})
    whole = await _stdout(client, job) if "offset=0" in answer["next"] else text_of(answer["stdout"])
    return {**answer, "stdout": whole, "stderr": text_of(answer["stderr"]), "name": vm["name"]}


async def _stdout(client: Client, job: Answer) -> str:
    """All of it, page by page."""
    text, offset = "", 0
    for _ in range(_PAGES):
        page = await use_tool(client, TOOL, {**job, "offset": offset})
        text += text_of(page["stdout"])
        more = _MORE.search(page["next"])
        if more is None:
            return text
        offset = int(more[1])
    return f"{text}\n[… cut at {offset} bytes …]\n"


def text_of(fenced: str) -> str:
    """What stands between the marks; the daemon has stripped it, and a terminal is worth a second look."""
    found = _FENCED.fullmatch(fenced)
    return stripped(found[2] if found else fenced)


def _tell(answer: Answer) -> None:
    for stream, text in ((sys.stdout, answer["stdout"]), (sys.stderr, answer["stderr"])):
        if text:
            stream.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()
    if answer["exit_code"] is None:
        raise Refusal(
            f"it ended in {plain(answer['name'])} without an exit code (a reboot, or a full disk)",
            f"aleph-agentctl ssh {plain(answer['name'])}",
            code="lost",
        )
