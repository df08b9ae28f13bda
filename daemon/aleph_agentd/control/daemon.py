"""The way to the daemon: its control socket, and the exit code of each way to fail on it."""

import asyncio
import os
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from aleph_agentd import runtime_dir
from aleph_agentd.control import units
from aleph_agentd.control.installing import SERVICE, place_of
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import Client, DaemonUnreachable, HungUp, NoAnswer, open_client

DONE, FAILED, USAGE, UNREACHABLE, MISCONFIGURED = 0, 1, 2, 69, 78

CONNECT_S = 5.0
READ_S = 30.0
ACT_S = 60.0
"""A destroy waits up to 30 s for the network."""

_MANAGERS: dict[units.Kind, str] = {"user": "systemctl --user", "system": "sudo systemctl"}

Answer = TypeVar("Answer")


class BadConfiguration(Refusal):
    """A setting of this command itself is wrong."""

    code = "configuration"


@asynccontextmanager
async def daemon(at: Path | None = None) -> AsyncIterator[Client]:
    """A connection to the daemon at this socket; without one, to the daemon that this environment points at."""
    try:
        async with open_client(at or _found(), CONNECT_S) as client:
            yield client
    except DaemonUnreachable as problem:
        problem.hint = "" if at else start_command()
        raise


def _found() -> Path:
    try:
        return runtime_dir.find_socket(runtime_dir.CONTROL_SOCKET, os.environ)
    except ValueError as problem:
        raise BadConfiguration(f"{problem}.", f"unset {runtime_dir.VARIABLE}, or correct it") from None


def start_command() -> str:
    """What starts the daemon that was looked for."""
    chosen = os.environ.get(runtime_dir.VARIABLE)
    if chosen:
        return f"{runtime_dir.VARIABLE}={shlex.quote(chosen)} aleph-agentd run"
    # Beside the units a daemon of one's own would be a second one, which is gone with its terminal.
    for kind, manager in _MANAGERS.items():
        if (place_of(kind, os.environ).folder / SERVICE).exists():
            return f"{manager} start {SERVICE.removesuffix('.service')}"
    return "aleph-agentd run"


def with_daemon(work: Callable[[Client], Awaitable[Answer]], at: Path | None = None) -> Answer:
    """Run one verb's conversation with the daemon."""

    async def conversation() -> Answer:
        async with daemon(at) as client:
            return await work(client)

    return asyncio.run(conversation())


def ask(
    method: str, params: dict[str, Any] | None = None, timeout_s: float = READ_S, at: Path | None = None
) -> dict[str, Any]:
    """One question, one answer."""

    async def question(client: Client) -> dict[str, Any]:
        answer: dict[str, Any] = await client.call(method, params, timeout_s)
        return answer

    return with_daemon(question, at)


async def use_tool(client: Client, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Call one of the agents' tools as the human. The key makes a repeated frame harmless."""
    request = {"name": name, "arguments": arguments, "request_key": os.urandom(16).hex()}
    answer: dict[str, Any] = await client.call("tools.call", request, ACT_S)
    return answer


def exit_code(refusal: Refusal) -> int:
    """The exit code that tells scripts what kind of failure it was."""
    match refusal:
        case DaemonUnreachable() | HungUp() | NoAnswer():
            return UNREACHABLE
        case BadConfiguration():
            return MISCONFIGURED
        case _:
            return FAILED
