"""The network without a key, without the SDK and without settings: CCNs by their URLs."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from ...ports import Messages
from .ccn import Ccn
from .http import Http
from .messages import AlephMessages
from .settings import NetworkSettings

OpenMessages = Callable[[Sequence[str], bool], Messages]
"""The CCNs at these URLs; True: they may be on this machine."""


@asynccontextmanager
async def open_keyless() -> AsyncIterator[OpenMessages]:
    """Makes `Messages` of any CCNs; all of them share two sessions."""
    doors = {local: Http(allow_local=local) for local in (False, True)}

    def messages(hosts: Sequence[str], local: bool) -> Messages:
        settings = NetworkSettings(key_path=Path("/nonexistent"), api_hosts=tuple(hosts), allow_local=local)
        return AlephMessages(Ccn(doors[local], settings))

    try:
        yield messages
    finally:
        for door in doors.values():
            await door.close()
