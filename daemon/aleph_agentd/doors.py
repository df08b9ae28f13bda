"""Where callers come in: the two sockets, inherited from systemd or our own, and whom each of them serves."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from . import runtime_dir
from .adapters import systemd
from .gateway.rpc import sockets
from .gateway.rpc.connection import Methods
from .gateway.rpc.server import RpcServer


@asynccontextmanager
async def doors(server: RpcServer, for_agents: Methods, for_the_owner: Methods) -> AsyncIterator[None]:
    """Both sockets, served until the end; a file that we made goes with us, one of systemd's stays."""
    inherited = systemd.listen_fds()
    directory = runtime_dir.daemon_dir(os.environ)
    own: list[tuple[Path, int]] = []

    async def serve(name: str, methods: Methods, *, human: bool) -> None:
        if (listener := inherited.get(name)) is not None:
            by_mode = systemd.is_guarded_by_its_mode(listener)
            await server.listen(listener, methods, human=human, everybody=by_mode)
            return
        listener = sockets.bind(directory / name)
        own.append((directory / name, (directory / name).lstat().st_ino))
        await server.listen(listener, methods, human=human)

    await serve(runtime_dir.AGENT_SOCKET, for_agents, human=False)
    await serve(runtime_dir.CONTROL_SOCKET, for_the_owner, human=True)
    try:
        yield
    finally:
        for path, inode in own:
            sockets.unlink_own(path, inode)
