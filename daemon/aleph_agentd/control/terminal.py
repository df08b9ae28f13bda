"""Asking the owner for the passphrase: on the terminal, and nowhere else."""

import getpass
from pathlib import Path
from typing import Any

from aleph_agentd.control.daemon import ask
from aleph_agentd.domain.errors import Refusal

PARAMETER = "passphrase"


def ask_passphrase(prompt: str = "Passphrase") -> str:
    """What is typed, unseen. Raises Refusal where there is no terminal: a pipe is no human."""
    try:
        with Path("/dev/tty").open("rb"):
            pass
    except OSError:
        raise Refusal(
            "there is no terminal to type the passphrase on",
            "run this in a terminal of your own: the passphrase is never an argument or a variable",
            code="no_terminal",
        ) from None
    return getpass.getpass(f"{prompt}: ")


def with_passphrase(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a guarded verb: `params`, and the passphrase. Raises Refusal when there is none yet."""
    if not ask("passphrase.state")["set"]:
        raise Refusal(
            "there is no passphrase yet, and nothing can be approved without one",
            "aleph-agentctl passphrase set",
            code="passphrase_unset",
        )
    return {**params, PARAMETER: ask_passphrase()}
