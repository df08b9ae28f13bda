"""The core channel nodes: any of them answers a read, the first that listens gets a post."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TypeVar

from ...ports import NetworkTrouble
from .http import Answer, Http, Unreachable
from .settings import NetworkSettings

T = TypeVar("T")


class Ccn:
    """The API of the network."""

    def __init__(self, http: Http, settings: NetworkSettings) -> None:
        if not settings.api_hosts:
            raise ValueError("a network needs at least one API host")
        self._http = http
        self._hosts = tuple(host.rstrip("/") for host in settings.api_hosts)
        self._timeouts = settings.timeouts

    async def ask(self, question: Callable[[str], Awaitable[T]]) -> T:
        """The first sound answer to a question that changes nothing, host by host."""
        *others, last = self._hosts
        for host in others:
            try:
                return await question(host)
            except NetworkTrouble:
                continue
        return await question(last)

    async def ask_all(self, question: Callable[[str], Awaitable[T]]) -> tuple[T, ...]:
        """Every sound answer to a question that changes nothing. Raises NetworkTrouble when there is none."""
        asked = (question(host) for host in self._hosts)
        said = await asyncio.gather(*asked, return_exceptions=True)
        for problem in said:
            if isinstance(problem, BaseException) and not isinstance(problem, NetworkTrouble):
                raise problem
        answers = tuple(answer for answer in said if not isinstance(answer, BaseException))
        if not answers and isinstance(said[0], NetworkTrouble):
            raise said[0]
        return answers

    async def get(
        self, host: str, path: str, params: Mapping[str, str] | None = None, expect: Collection[int] = (200,)
    ) -> Answer:
        """GET from one host; a status that is not expected is trouble."""
        answer = await self._http.get(host + path, params=params, timeout_s=self._timeouts.read_s)
        if answer.status not in expect:
            raise answer.unexpected()
        return answer

    async def estimate(self, host: str, path: str, body: bytes) -> Answer:
        """POST of a question that changes nothing."""
        answer = await self._http.post(host + path, body=body, timeout_s=self._timeouts.read_s)
        if answer.status != 200:
            raise answer.unexpected()
        return answer

    async def post(self, path: str, body: bytes) -> Answer:
        """POST to the first host that takes the connection; the next one only if nothing can have arrived."""
        *others, last = self._hosts
        for host in others:
            try:
                return await self._http.post(host + path, body=body, timeout_s=self._timeouts.post_s)
            except Unreachable:
                continue
        return await self._http.post(last + path, body=body, timeout_s=self._timeouts.post_s)
