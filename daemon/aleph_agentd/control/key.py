"""`unlock` and `key`: opening the daemon's key, and making key files. Making them needs no daemon."""

from pathlib import Path

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import ACT_S, ask
from aleph_agentd.control.terminal import PARAMETER, ask_passphrase
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.control.verbs import Verbs
from aleph_agentd.domain.errors import Refusal

_FILE = click.argument("file", required=False, type=click.Path(path_type=Path))


@click.command
@json_option
def unlock() -> None:
    """Open the daemon's encrypted key with its passphrase, typed on a terminal."""
    if address := ask("key.state", {}, ACT_S)["open"]:
        _say({"address": address}, f"The key of {address} is open: there is nothing to unlock.")
        return
    answer = ask("key.unlock", {PARAMETER: ask_passphrase("Passphrase of the key")}, ACT_S)
    _say({"address": answer["address"]}, f"The key of {answer['address']} is open until the daemon stops.")


@click.group(cls=Verbs)
@json_option
def key() -> None:
    """Make, encrypt and identify key files. A key itself is never shown."""


@key.command
@_FILE
@json_option
def new(file: Path | None) -> None:
    """Make a new key in FILE (default: where the daemon looks). An existing file is never overwritten."""
    from aleph_agentd import key_tool

    path = key_tool.default_path() if file is None else file.absolute()
    address = key_tool.make(path)
    next_step = (
        f"Fund {address} with credits, or let a payer delegate to it, then: aleph-agentctl key encrypt {path}"
    )
    _say({"file": str(path), "address": address}, f"{path} holds a new key of {address}.\n{next_step}")


@key.command
@_FILE
@json_option
def show(file: Path | None) -> None:
    """The address of a key file, and nothing else of it."""
    from aleph_agentd import key_tool

    path = key_tool.default_path() if file is None else file.absolute()
    passphrase = ask_passphrase("Passphrase of the key") if key_tool.needs_passphrase(path) else ""
    address = key_tool.address(path, passphrase)
    _say({"file": str(path), "address": address}, address)


@key.command
@_FILE
@json_option
def encrypt(file: Path | None) -> None:
    """Write FILE.json, an encrypted copy of a plain key, and offer to remove the plain one."""
    from aleph_agentd import key_tool

    path = key_tool.default_path() if file is None else file.absolute()
    key_tool.check_plain(path)
    passphrase = ask_passphrase("New passphrase of the key")
    if ask_passphrase("The same again") != passphrase:
        raise Refusal("the two are not the same; nothing was written", "aleph-agentctl key encrypt")
    sealed, address = key_tool.encrypt(path, passphrase)
    told = f"{sealed} holds the key of {address}, and opens.\nSet private_key_path = {str(sealed)!r} in config.toml."
    _say({"file": str(sealed), "address": address}, told)
    if not as_json() and click.confirm(f"Remove the plain key {path}?", default=False):
        path.unlink()
        output.say("Removed. Copies on old disks and in backups remain.")


def _say(document: dict[str, str], text: str) -> None:
    if as_json():
        output.say_json(document)
        return
    output.say(text)
