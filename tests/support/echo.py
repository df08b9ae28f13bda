"""A CCN between the daemon and the devnet: it passes on, or fails and quotes all that it was sent."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

_ANSWER_S = 20


class Echo:
    """`failing` is the status with which it fails, 0: it passes on; `posts` alone fail when that is set."""

    def __init__(self, upstream: str) -> None:
        self.upstream, self.url = upstream, ""
        self.failing, self.posts, self.answered = 0, False, 0
        self._session: aiohttp.ClientSession

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.failing and (request.method == "POST" or not self.posts):
            self.answered += 1
            head = "\r\n".join(f"{name}: {value}" for name, value in request.headers.items())
            said = f"{request.method} {request.path_qs}\r\n{head}\r\n\r\n".encode() + body
            return web.Response(status=self.failing, body=said)
        url = f"{self.upstream}{request.path_qs}"
        kind = {"Content-Type": request.content_type}
        async with self._session.request(request.method, url, data=body or None, headers=kind) as answer:
            content = await answer.read()
            return web.Response(status=answer.status, body=content, content_type=answer.content_type)


@asynccontextmanager
async def echo(upstream: str) -> AsyncIterator[Echo]:
    """One that runs."""
    server = Echo(upstream)
    app = web.Application(client_max_size=2**23)
    app.router.add_route("*", "/{path:.*}", server._answer)
    runner = web.AppRunner(app)
    limit = aiohttp.ClientTimeout(total=_ANSWER_S)
    async with aiohttp.ClientSession(timeout=limit) as server._session:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield server
        finally:
            await runner.cleanup()
