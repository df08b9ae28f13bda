"""Calls over HTTP with a limit on everything, and one way to fail: NetworkTrouble."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from ...ports import NetworkTrouble
from .checked import clean, making_sense, parse_json

if TYPE_CHECKING:
    from types import ModuleType

    import aiohttp

MAX_BODY_BYTES = 8 * 2**20


class Unreachable(NetworkTrouble):
    """No connection came about: the call cannot have taken effect."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    endpoint: str
    status: int
    body: bytes
    date: str = ""

    @property
    def text(self) -> str:
        """The body in words, cut and stripped."""
        return clean(self.body[:2000].decode(errors="replace"), 200)

    def json(self) -> Any:
        """The body as JSON. Raises NetworkTrouble."""
        with making_sense(self.endpoint):
            return parse_json(self.body)

    def at(self) -> datetime:
        """The `Date` of the answer. Raises NetworkTrouble."""
        with making_sense(self.endpoint):
            return parsedate_to_datetime(self.date)

    def unexpected(self) -> NetworkTrouble:
        """This answer, as trouble."""
        return NetworkTrouble(self.endpoint, f"answered {self.status}: {self.text}")


class Http:
    """The one session, opened at the first call."""

    def __init__(self, *, allow_local: bool) -> None:
        self._allow_local = allow_local
        self._session: aiohttp.ClientSession | None = None

    async def session(self) -> "aiohttp.ClientSession":
        """The session; its import happens in a thread, because it would hold up everybody else."""
        if self._session is None:
            module = await asyncio.to_thread(_session_module)
            # Asked again: another caller may have opened it meanwhile.
            if self._session is None:
                self._session = module.open_session(self._allow_local)
        return self._session

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str, *, timeout_s: float, params: Mapping[str, str] | None = None) -> Answer:
        """GET."""
        endpoint = f"GET {clean(url, 200)}"
        async with self.guard(endpoint, timeout_s) as session, session.get(url, params=params) as response:
            return await take(endpoint, response)

    async def post(self, url: str, *, timeout_s: float, body: bytes) -> Answer:
        """POST of JSON."""
        endpoint = f"POST {clean(url, 200)}"
        headers = {"Content-Type": "application/json"}
        async with (
            self.guard(endpoint, timeout_s) as session,
            session.post(url, data=body, headers=headers) as response,
        ):
            return await take(endpoint, response)

    @asynccontextmanager
    async def guard(self, endpoint: str, timeout_s: float) -> AsyncIterator["aiohttp.ClientSession"]:
        """The session for one call, which ends within `timeout_s` and fails as NetworkTrouble."""
        session = await self.session()
        import aiohttp

        try:
            async with asyncio.timeout(timeout_s):
                yield session
        except TimeoutError:
            raise NetworkTrouble(endpoint, f"no answer within {timeout_s:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(endpoint, _reason(error)) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NetworkTrouble(endpoint, _reason(error)) from error


async def take(endpoint: str, response: "aiohttp.ClientResponse") -> Answer:
    """Read a response, at most `MAX_BODY_BYTES` of it."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise NetworkTrouble(endpoint, f"answered more than {MAX_BODY_BYTES} bytes")
    return Answer(endpoint, response.status, bytes(body), response.headers.get("Date", ""))


def _session_module() -> "ModuleType":
    from . import session

    return session


def _reason(error: Exception) -> str:
    return clean(error, 200) or type(error).__name__
