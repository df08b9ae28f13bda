"""The WebSocket on which a CCN tells of every message that it has processed."""

import asyncio
from itertools import islice

from aiohttp import WSMsgType, web

from aleph_devnet.chain import Chain
from aleph_devnet.listing import BadQueryError, Query, answer
from aleph_devnet.message import Message

HISTORY = 10
MAX_BEHIND = 1_000


class WatchRoutes:
    """`/api/ws0/messages`: the latest messages first, then each new one that passes the filters."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._queues: set[asyncio.Queue[Message]] = set()
        chain.on_processed.append(self._tell)

    def add_to(self, app: web.Application) -> None:
        """Register the route."""
        app.router.add_get("/api/ws0/messages", self.watch)

    def _tell(self, message: Message) -> None:
        for queue in list(self._queues):
            if queue.full():
                self._queues.discard(queue)
            else:
                queue.put_nowait(message)

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """Serve one watcher until it hangs up, or has fallen too far behind."""
        try:
            query = Query(
                {**request.query, "page": "1", "pagination": request.query.get("history", str(HISTORY))}
            )
        except BadQueryError as error:
            return web.Response(status=422, text=str(error))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        queue: asyncio.Queue[Message] = asyncio.Queue(MAX_BEHIND)
        self._queues.add(queue)
        sender = asyncio.create_task(self._send(socket, query, queue))
        try:
            while (await socket.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
                pass
        finally:
            self._queues.discard(queue)
            sender.cancel()
        return socket

    async def _send(self, socket: web.WebSocketResponse, query: Query, queue: asyncio.Queue[Message]) -> None:
        latest = answer(query, self._chain.index, self._chain.messages.__getitem__)["messages"]
        for shown in reversed(list(islice(latest, query.per_page))):
            await socket.send_json(shown)
        while queue in self._queues or not queue.empty():
            message = await queue.get()
            if query.matches(message):
                await socket.send_json(query.show(message))
        await socket.close()
