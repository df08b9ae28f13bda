"""The aiohttp session. Import this module lazily: aiohttp takes a quarter of a second."""

import ipaddress
import socket
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

_MAX_CONNECTIONS = 100


class PublicResolver(AbstractResolver):
    """Names of the public internet only: a CRN must not lead us to our own network (rules.md 18)."""

    def __init__(self) -> None:
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The public addresses of a host."""
        found = await self._inner.resolve(host, port, family)
        public = [entry for entry in found if ipaddress.ip_address(entry["host"]).is_global]
        if not public:
            raise OSError(None, f"{host} has no public address")
        return public

    async def close(self) -> None:
        """Release what the resolver holds."""
        await self._inner.close()


async def _refuse_redirect(_session: aiohttp.ClientSession, _context: SimpleNamespace, params: Any) -> None:
    raise aiohttp.ClientPayloadError(f"redirects ({params.response.status}), which we do not follow")


def open_session(allow_local: bool) -> aiohttp.ClientSession:
    """One session for the daemon's life: no proxies, no cookies, no redirects, the SDK's calls included.

    It has no time-outs of its own: each call brings one.
    """
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_refuse_redirect)
    resolver = None if allow_local else PublicResolver()
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_MAX_CONNECTIONS, resolver=resolver),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        trace_configs=[trace],
        trust_env=False,
    )
