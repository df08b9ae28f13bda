"""Asking a CRN to keep a GPU: what the SDK is given, and how much of the answer it may read."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...domain.model import SignedMessage
from ...ports import NetworkTrouble
from .http import Answer, take

if TYPE_CHECKING:
    import aiohttp


def instance_of(create: SignedMessage) -> dict[str, Any]:
    """The content of an INSTANCE of our own."""
    content: dict[str, Any] = json.loads(json.loads(create.body)["item_content"])
    return content


def needs_gpu(content: dict[str, Any]) -> bool:
    """Whether it asks for one."""
    return bool((content.get("requirements") or {}).get("gpu"))


@dataclass(frozen=True)
class _Taken:
    """As much of a response as the SDK looks at."""

    status: int

    async def text(self) -> str:
        """Nothing: it is read already."""
        return ""


class BoundedPost:
    """Stands for the session in one call of the SDK, which would read an answer of any size."""

    def __init__(self, session: "aiohttp.ClientSession", endpoint: str) -> None:
        self._session, self.endpoint = session, endpoint
        self._answer: Answer | None = None

    @asynccontextmanager
    async def post(self, url: str, **request: Any) -> AsyncIterator[_Taken]:
        """POST, and read the answer as any other."""
        async with self._session.post(url, **request) as response:
            self._answer = await take(self.endpoint, response)
        yield _Taken(self._answer.status)

    def answer(self) -> Answer:
        """What came. Raises NetworkTrouble: the SDK passes over a connection that broke."""
        if self._answer is None:
            raise NetworkTrouble(self.endpoint, "the connection broke")
        return self._answer
