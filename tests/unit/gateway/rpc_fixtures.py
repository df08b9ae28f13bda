"""A served socket for the gateway's tests, and raw and real clients of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack

from aleph_agentd.gateway.rpc.client import Client, open_client
from aleph_agentd.gateway.rpc.connection import Methods
from aleph_agentd.gateway.rpc.peer import Limits
from aleph_agentd.gateway.rpc.server import RpcServer
from aleph_agentd.gateway.rpc.sockets import bind

DEADLINE_S = 20.0


@dataclass
class Served:
    """A server and how to reach it."""

    server: RpcServer
    path: Path
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def client(self) -> Any:
        """Our own client, connected."""
        return open_client(self.path)

    async def raw(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Bytes only."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        self.writers.append(writer)
        return reader, writer


@asynccontextmanager
async def serving(
    directory: Path,
    methods: Methods,
    *,
    human: bool = False,
    limits: Limits | None = None,
    allowed_uids: set[int] | None = None,
) -> AsyncIterator[Served]:
    """Serve `methods` at a fresh socket below `directory`."""
    path = directory / "run" / ("control.sock" if human else "agent.sock")
    server = RpcServer(allowed_uids=allowed_uids, limits=limits)
    await server.listen(bind(path), methods, human=human)
    served = Served(server, path)
    try:
        yield served
    finally:
        for writer in served.writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await server.close(0)


async def read_messages(reader: asyncio.StreamReader, count: int) -> list[list[Any]]:
    """The next `count` raw documents, or fewer if the other end hangs up."""
    unpacker, found = msgpack.Unpacker(), []
    async with asyncio.timeout(DEADLINE_S):
        while len(found) < count and (data := await reader.read(65536)):
            unpacker.feed(data)
            found.extend(unpacker)
    return found


async def until(condition: Any) -> None:
    """Poll until it holds; the test's own time limit is the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.001)


__all__ = ["Client", "DEADLINE_S", "Served", "read_messages", "serving", "until"]
