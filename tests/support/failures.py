"""What goes wrong between a running daemon and its callers, provoked: each function tells all that was said."""

import asyncio
import contextlib
import json
import os
import secrets
import socket
import sqlite3
from pathlib import Path
from typing import Any

import msgpack

from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import Client
from support import broken_keys
from support.attacks import ATTACKS, FRAMES, REQUESTS
from support.broken_keys import PASSPHRASE
from support.daemon import DaemonProcess
from support.told import Told

EACH_S = 20.0
"""No call of these may take longer; one that does is told as a failure of its own."""
WHOLE = "SECRETS_WHOLE" in os.environ
"""`make secrets`: everything; `make test` provokes a part of it."""
HOSTILE: tuple[Any, ...] = (None, -1, 2**63, "", "x" * 9000, "\x1b]0;\x07", "../../etc", [], {}, True, 0.5, float("inf"))  # fmt: skip
VERBS = ("key.unlock", "vms.get", "vms.list", "ledger.list", "audit.list", "audit.verify", "passphrase.set",
         "panic", "panic.status", "unfreeze", "backup.read", "escrow.export", "approvals.deny",
         "approvals.approve", "orphans.get", "orphans.adopt", "orphans.destroy", "recover", "sweep.run", "spend", "no.such",
         "hello", "mcp.open", "tools.call")  # fmt: skip
_LINES = (b"{", b"[]", b'{"id":1}', b'{"jsonrpc":"2.0","id":1,"method":"no/such"}', b"\xff", b"null",
          b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}', b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
          b'{"jsonrpc":"2.0","id":{},"method":"ping"}', b'{"jsonrpc":"2.0","id":1,"method":"initialize"}')  # fmt: skip


async def ask(told: Told, where: str, asking: Any) -> None:
    """One call, whose answer or refusal is told."""
    try:
        async with asyncio.timeout(EACH_S):
            told.answered(json.dumps(await asking, default=repr))
    except Refusal as refusal:
        told.refused(where, refusal)
    except OSError as error:  # a time-out is one, too
        told.failed(where, type(error).__name__, str(error))


async def break_the_key(told: Told, daemon: DaemonProcess, secret: bytes) -> None:
    """A running daemon finds each of them in its key's place, and is asked to sign; the last one it can open."""
    path = daemon.key_file

    async def find(where: str) -> None:
        await ask(told, where, daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1}))
        await ask(told, where, daemon.control("status"))
        for passphrase in ("wrong", PASSPHRASE):
            await ask(told, where, daemon.control("key.unlock", {"passphrase": passphrase}))

    for content in broken_keys.contents(secret).values():
        broken_keys.plant(path, content)
        await find("key file")
    for put in broken_keys.places(secret).values():
        broken_keys.clear(path)
        put(path)
        await find("key place")
    broken_keys.plant(path, broken_keys.sealed(secret))
    await ask(told, "unlock", daemon.control("key.unlock", {"passphrase": PASSPHRASE[:-1]}))
    assert (await daemon.control("key.unlock", {"passphrase": PASSPHRASE}))["address"] == daemon.address


async def call_wrongly(told: Told, daemon: DaemonProcess) -> None:
    """Each argument of each tool with each hostile value, attacks, and requests that are no tool calls."""
    tools = (await daemon.control("tools.list"))["tools"]
    async with daemon.open() as client:
        for tool in tools:
            await ask(told, "tool", _tool(client, tool["name"], {"no_such": 1}))
            for field in tool["inputSchema"]["properties"]:
                for value in HOSTILE if WHOLE else HOSTILE[:4]:
                    # With an argument that does not exist none of them is carried out.
                    arguments = {field: value, "no_such": 1}
                    await ask(told, "tool", _tool(client, tool["name"], arguments))
        for attack in ATTACKS:
            await ask(told, "attack", _tool(client, attack.tool, attack.arguments))
    for method, params, _ in REQUESTS.values():
        await ask(told, "request", daemon.control(method, params))
    for number, verb in enumerate(VERBS):
        for field in ("passphrase", "item_hash", "after", "id", "limit", "reason", "confirm", "offset"):
            value = HOSTILE[(number + len(field)) % len(HOSTILE)]
            await ask(told, "control", daemon.control(verb, {field: value}))


async def _tool(client: Client, name: str, arguments: dict[str, Any]) -> Any:
    return await client.call("tools.call", {"name": name, "arguments": arguments, "request_key": None})


async def send_rubbish(told: Told, daemon: DaemonProcess) -> None:
    """Frames that are no MessagePack-RPC, and lines of an MCP session that are no JSON-RPC."""
    for frame in FRAMES.values():
        await _frame(told, daemon, frame)
    for line in _LINES:
        opening = [{"nonce": secrets.token_hex(16), "preamble": {}}]
        await _frame(told, daemon, bytes(msgpack.packb([0, 1, "mcp.open", opening])) + line + b"\n")


async def _frame(told: Told, daemon: DaemonProcess, frame: bytes) -> None:
    said = await asyncio.to_thread(_exchange, daemon.agent_socket, frame)
    for piece in said.split(b"\n"):  # MCP answers in lines
        with contextlib.suppress(ValueError):
            error = json.loads(b"{" + piece.partition(b"{")[2]).get("error", {})
            told.failed("line", error.get("code"), str(error.get("message")))
    with contextlib.suppress(ValueError):
        answer = msgpack.unpackb(said)
        for part in (answer[2], *answer[-1:][0][:1]) if isinstance(answer[-1], list) else answer[2:]:
            if isinstance(part, dict) and "code" in part:
                told.failed("frame", part["code"], part["message"])
    told.answered(repr(said))


def _exchange(door: Path, frame: bytes) -> bytes:
    said = b""
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.settimeout(5)
        client.connect(str(door))
        client.sendall(frame)
        client.shutdown(socket.SHUT_WR)
        while piece := client.recv(65536):
            said += piece
    return said


async def break_the_inventory(told: Told, daemon: DaemonProcess) -> None:
    """Rubbish where the database was, under a daemon that has it open."""
    # Only after somebody else's write does it read again what it knows already.
    with contextlib.closing(sqlite3.connect(daemon.database)) as db:
        db.execute("CREATE TABLE others (a)")
    for name in ("inventory.db", "inventory.db-wal"):
        path = daemon.database.with_name(name)
        if path.exists():
            path.write_bytes(b"rubbish " * 4096)
    for tool in ("aleph_list_my_vms", "aleph_check_balance", "aleph_create_vm", "aleph_spend_report"):
        await ask(told, "inventory", daemon.call(tool, {"name": "late"} if "create" in tool else {}))
    for verb in ("status", "vms.list", "audit.verify", "backup.begin", "recover", "escrow.export"):
        await ask(told, "inventory", daemon.control(verb))
