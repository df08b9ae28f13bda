"""`escrow` and `backup`: what is kept outside the daemon for the day on which it is gone."""

from pathlib import Path
from typing import Any

import click

from aleph_agentd import private_files
from aleph_agentd.control import output
from aleph_agentd.control.daemon import READ_S, with_daemon
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import Client

BACKUP_S = 300.0
"""A large inventory takes a while to copy."""


@click.command
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@json_option
def escrow(directory: Path) -> None:
    """Write the kill switch of every live VM into DIR, for `aleph-agentd reap-escrow DIR`."""
    files = with_daemon(_switches)
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        for name, text in files:
            # From the daemon, but still the name of a file on this side.
            private_files.write(directory / Path(name).name, [text.encode()])
    except OSError as error:
        raise Refusal(
            f"{directory}: {error.strerror or error}", "Name a directory that you may write."
        ) from None
    if as_json():
        output.say_json({"directory": str(directory), "files": [name for name, _ in files]})
        return
    output.say(
        f"{len(files)} kill switches in {directory}. Whoever has one can end its VM, and nothing else."
    )


async def _switches(client: Client) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    after: Any = ""
    while True:
        answer = await client.call("escrow.export", {"after": after}, READ_S)
        found += [(file["name"], file["text"]) for file in answer["files"]]
        after = answer["after"]
        if not after:
            return found


@click.command
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@json_option
def backup(file: Path, force: bool) -> None:
    """Copy the inventory into FILE while the daemon works."""
    if file.exists() and not force:
        raise Refusal(f"{file} is there already; nothing was written", "Name another file, or add --force.")
    pieces = with_daemon(_copy)
    try:
        private_files.write(file, pieces)
    except OSError as error:
        raise Refusal(f"{file}: {error.strerror or error}", "Name a file that you may write.") from None
    size = sum(map(len, pieces))
    if as_json():
        output.say_json({"file": str(file), "bytes": size})
        return
    output.say(f"{file}: {size} bytes, readable by you alone. It holds the kill switches of every VM.")


async def _copy(client: Client) -> list[bytes]:
    size = (await client.call("backup.begin", {}, BACKUP_S))["size"]
    pieces: list[bytes] = []
    while (offset := sum(map(len, pieces))) < size:
        piece = (await client.call("backup.read", {"offset": offset}, READ_S))["data"]
        if not piece:
            raise Refusal(f"the copy ended after {offset} of {size} bytes; nothing was written", "Try again.")
        pieces.append(piece)
    return pieces
