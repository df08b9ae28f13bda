"""`ssh`: into a VM, with the address that the daemon knows and the host key that belongs to this very VM."""

import os
import re
import shutil
from ipaddress import ip_address
from typing import Any

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import ask
from aleph_agentd.control.text import plain
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.domain.errors import Refusal

Answer = dict[str, Any]

_COMMAND = re.compile(r"ssh -p ([1-9][0-9]{0,4}) ([a-z_][a-z0-9_-]{0,31})@([0-9a-fA-F.:]{2,45})")
_HASH = re.compile(r"[0-9a-f]{64}")
_HOST_KEY = re.compile(r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) [A-Za-z0-9+/]+={0,2}")


class _Ssh(click.Command):
    """Our options end at the name; only `--json` may follow it at once, as with each verb: ssh has no such option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """With it before the name."""
        if args[1:2] == ["--json"]:
            args = ["--json", args[0], *args[2:]]
        return super().parse_args(ctx, args)


@click.command(cls=_Ssh, context_settings={"allow_interspersed_args": False})
@click.argument("reference", metavar="NAME|HASH")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[SSH ARGUMENTS]...")
@json_option
def ssh(reference: str, arguments: tuple[str, ...]) -> None:
    """Log in to a VM. All that follows the name goes to ssh: its options, or a command."""
    vm = ask("vms.get", {"item_hash": reference})
    command = [*command_of(vm), *arguments]
    if as_json():
        output.say_json({"command": command})
        return
    program = shutil.which("ssh")
    if program is None:
        raise Refusal("there is no ssh on this machine", "install OpenSSH's client", code="no_ssh")
    os.execv(program, command)  # noqa: S606 - ssh takes our place: its terminal, its exit code


def command_of(vm: Answer) -> list[str]:
    """The arguments of ssh, each of a form that can do no harm. Raises Refusal while there is no address."""
    found = _COMMAND.fullmatch(str(vm.get("ssh_command") or ""))
    if found is None or int(found[1]) > 65_535 or not _is_address(found[3]):
        state = plain(vm.get("status"))
        raise Refusal(
            f"{plain(vm.get('name'))} is {state}, and has no address to log in to",
            f"aleph-agentctl vm {plain(vm.get('name'))}",
            code="no_address",
        )
    return ["ssh", *_host_key(vm), "-p", found[1], f"{found[2]}@{found[3]}"]


def _host_key(vm: Answer) -> list[str]:
    """Known by the VM's hash: address and port will be another VM's tomorrow, with another key.

    The key that the daemon pinned counts; while it has pinned none, the first one that is seen.
    """
    item_hash = str(vm.get("item_hash") or "")
    if not _HASH.fullmatch(item_hash):
        return []
    alias = f"aleph-{item_hash[:16]}"
    options = [f"HostKeyAlias={alias}", "CheckHostIP=no"]
    pinned = str(vm.get("host_key") or "")
    if _HOST_KEY.fullmatch(pinned):
        options += [
            f"KnownHostsCommand=/bin/echo {alias} {pinned}",
            "StrictHostKeyChecking=yes",
            "UserKnownHostsFile=/dev/null",
        ]
    else:
        options.append("StrictHostKeyChecking=accept-new")
    return [part for option in options for part in ("-o", option)]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
