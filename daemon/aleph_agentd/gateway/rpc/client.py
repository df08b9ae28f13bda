"""A client of the daemon's sockets: calls, notifications, and an error for everything that can go wrong."""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from aleph_agentd.domain.errors import Refusal, Unavailable, Unknown
from aleph_agentd.gateway.rpc import protocol
from aleph_agentd.gateway.rpc.protocol import Notification, Params, ProtocolError, Request, Response

MAX_PENDING = 64
MAX_NOTIFICATIONS = 1024
TIMEOUT_S = 60.0


class DaemonUnreachable(Unavailable):
    """Nobody listens at the socket's path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"no daemon answers at {path}: {reason}", "start it: aleph-agentd run")
        self.path = path


class HungUp(Unavailable):
    """The daemon closed the connection; what was asked may have taken effect."""


class NoAnswer(Unknown):
    """The daemon did not answer in time; what was asked may have taken effect."""


def refusal_of(error: object) -> Refusal:
    """The exception for an error that came over the wire."""
    if not isinstance(error, dict):
        return Refusal(str(error))
    data = error.get("data")
    return Refusal(
        str(error.get("message", "refused")),
        str(error.get("hint", "")),
        code=str(error.get("code", "refused")),
        data=data if isinstance(data, dict) else None,
    )


class Client(asyncio.Protocol):
    """One open connection. Made by `open_client`."""

    def __init__(self) -> None:
        self._decoder = protocol.Decoder()
        self._ids = itertools.cycle(range(1, protocol.MAX_ID))
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._room = asyncio.Semaphore(MAX_PENDING)
        self._notices: deque[Notification] = deque(maxlen=MAX_NOTIFICATIONS)
        self._news = asyncio.Event()
        self._lost: Refusal | None = None
        self._gone = asyncio.Event()
        self.lost_notifications = 0
        """How many were dropped because nobody read them."""

    async def call(self, method: str, params: Params | None = None, timeout_s: float = TIMEOUT_S) -> Any:
        """Ask and wait: the result, or a Refusal as the daemon worded it, HungUp or NoAnswer."""
        try:
            async with asyncio.timeout(timeout_s), self._room:
                return await self._ask(method, params or {})
        except TimeoutError:
            raise NoAnswer(f"no answer to {method} within {timeout_s:g} s", "ask again") from None

    async def _ask(self, method: str, params: Params) -> Any:
        if self._lost:
            raise self._lost
        id_ = next(self._ids)
        frame = protocol.encode(Request(id_, method, params))
        answer = self._pending[id_] = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(frame)
            return await answer
        finally:
            self._pending.pop(id_, None)

    async def notifications(self) -> AsyncIterator[Notification]:
        """What the daemon tells, oldest first, until it hangs up. A slow reader loses the oldest."""
        while True:
            while self._notices:
                yield self._notices.popleft()
            if self._lost:
                return
            self._news.clear()
            await self._news.wait()

    async def close(self) -> None:
        """Hang up; what still waits fails."""
        self._fail(HungUp("this client was closed"))
        self._transport.abort()
        await self._gone.wait()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand answers to whoever waits for them."""
        try:
            self._decoder.feed(data)
            for message in self._decoder:
                self._take(message)
        except ProtocolError as problem:
            self._fail(HungUp(f"the daemon does not speak our protocol: {problem}"))
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is still waiting."""
        self._fail(HungUp("the daemon closed the connection", "ask again; it may have taken effect"))
        self._gone.set()

    def _take(self, message: protocol.Message) -> None:
        match message:
            case Response(id=id_, error=error, result=result):
                waiting = self._pending.pop(id_, None)
                if waiting is None or waiting.done():
                    return
                if error is None:
                    waiting.set_result(result)
                else:
                    waiting.set_exception(refusal_of(error))
            case Notification(method="error", params=params):
                self._fail(refusal_of(params))
            case Notification():
                self.lost_notifications += len(self._notices) == MAX_NOTIFICATIONS
                self._notices.append(message)
                self._news.set()
            case Request():
                pass  # we offer no methods

    def _fail(self, reason: Refusal) -> None:
        self._lost = self._lost or reason
        for waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(self._lost)
        self._pending.clear()
        self._news.set()


@asynccontextmanager
async def open_client(path: Path, timeout_s: float = 10.0) -> AsyncIterator[Client]:
    """Connect to the daemon; DaemonUnreachable if there is none."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            _, client = await loop.create_unix_connection(Client, str(path))
    except TimeoutError:
        raise DaemonUnreachable(path, f"no answer within {timeout_s:g} s") from None
    except OSError as problem:
        raise DaemonUnreachable(path, problem.strerror or str(problem)) from problem
    try:
        yield client
    finally:
        await client.close()
