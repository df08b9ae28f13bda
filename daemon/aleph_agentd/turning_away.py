"""A daemon that cannot use its configuration, and whoever waits for it on systemd's sockets: told why, then let go.

Ending without that would leave the client in the kernel's queue, where it starts the service again, and again.
"""

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping

from . import runtime_dir
from .adapters import systemd
from .domain.errors import Unavailable
from .gateway.rpc.connection import Connection, Handler
from .gateway.rpc.protocol import Params
from .gateway.rpc.server import RpcServer

QUIET_S, LONGEST_S = 0.3, 10.0
"""It ends when nobody was there for a moment, and also when somebody stays who asks nothing."""
POLL_S = 0.05


def turn_away(problem: str) -> None:
    """Answer what clients ask on inherited sockets with `problem`; without such sockets nobody waits."""
    listeners = systemd.listen_fds()
    if not listeners:
        return
    systemd.status(f"the configuration cannot be used: {problem}")
    asyncio.run(_answer(listeners, _Closed(problem)))


class _Closed(Mapping[str, Handler]):
    """Every method there is or could be; each refuses."""

    def __init__(self, problem: str) -> None:
        self._problem = problem

    def __getitem__(self, name: str) -> Handler:
        return self._refuse

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def _refuse(self, _connection: Connection, _params: Params) -> None:
        raise Unavailable(
            f"aleph-agentd cannot use its configuration: {self._problem}.",
            "Its owner mends it; aleph-agentctl doctor says how.",
            code="configuration",
        )


async def _answer(listeners: Mapping[str, socket.socket], methods: _Closed) -> None:
    server, loop = RpcServer(allowed_uids={os.getuid()}), asyncio.get_running_loop()
    for name, listener in listeners.items():
        by_mode = systemd.is_guarded_by_its_mode(listener)
        await server.listen(listener, methods, human=name == runtime_dir.CONTROL_SOCKET, everybody=by_mode)
    now = quiet_since = loop.time()
    latest = now + LONGEST_S
    while now < latest and now - quiet_since < QUIET_S:
        await asyncio.sleep(POLL_S)
        now = loop.time()
        if server.connections:
            quiet_since = now
    await server.close(0)
