"""For the tests of the network adapter: a node that says what a test wants."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from aleph_agentd.adapters.aleph.settings import NetworkSettings, Timeouts
from aleph_agentd.domain.model import Crn

SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMtT6fOWe4wqZpVvMJ0sKxkC9bBKfyoGJkTtC4e6wqXX"
HASH = "ab" * 32
SHORT = Timeouts(read_s=0.3, post_s=0.3, notify_s=0.3, executions_s=0.3, erase_s=0.3, ssh_s=0.3)


class FakeNode:
    """A node that answers each path as told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[bytes] = []
        self._answers: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        self.url = ""

    def says(
        self, path: str, body: Any = None, status: int = 200, text: str | None = None, **headers: str
    ) -> None:
        """Answer a path with JSON, or with a text."""

        async def answer(_request: web.Request) -> web.StreamResponse:
            if text is not None:
                return web.Response(text=text, status=status, headers=headers)
            return web.json_response(body, status=status, headers=headers)

        self._answers[path] = answer

    def does(self, path: str, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
        """Answer a path with a function."""
        self._answers[path] = answer

    def asks(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(asked == path for _, asked in self.asked)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.asked.append((request.method, request.path))
        self.bodies.append(await request.read())
        if request.path in self._answers:
            return await self._answers[request.path](request)
        return web.Response(status=404, text="404: Not Found")


async def open_node() -> AsyncIterator[FakeNode]:
    """A listening fake node."""
    node = FakeNode()
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{tail:.*}", node.handle)
    async with TestServer(app) as server:
        node.url = str(server.make_url("")).rstrip("/")
        yield node


def settings_for(key: Path, *api_hosts: str, **changes: Any) -> NetworkSettings:
    """Settings of a local network whose list is served by the first API host."""
    base: dict[str, Any] = {
        "key_path": key,
        "api_hosts": api_hosts,
        "crn_list_url": f"{api_hosts[0]}/crns.json",
        "allow_local": True,
    }
    return NetworkSettings(**(base | changes))


def a_crn(**changes: Any) -> Crn:
    """A CRN that can host."""
    facts: dict[str, Any] = {
        "hash": "cd" * 32,
        "name": "crn",
        "url": "http://127.0.0.1:1",
        "score": 1.0,
        "version": "1.7.2",
        "has_gpu": False,
        "terms_and_conditions": "",
        "qemu": True,
        "ipv6": True,
        "active": True,
        "cpu_count": 8,
        "free_memory_mib": 8192,
        "free_disk_mib": 81920,
    }
    return Crn(**(facts | changes))
