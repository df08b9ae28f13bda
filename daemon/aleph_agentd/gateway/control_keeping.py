"""What control.sock hands out to be kept elsewhere: kill switches, and copies of the inventory."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

from ..domain.errors import BadInput, Conflict, Unavailable
from ..ports import Backups, StoreTrouble
from ..services.escrow import Escrow
from .rpc.connection import Connection, Handler

_CHUNK = 512 * 1024
_MOST_COPIES = 2


class Keeping:
    """Everything travels inside the connection: the daemon opens no path that somebody names (rules.md 25)."""

    def __init__(self, escrow: Escrow, backups: Backups) -> None:
        self._escrow, self._backups = escrow, backups
        self._copies: dict[Connection, BinaryIO] = {}
        self._turn = asyncio.Lock()

    def methods(self) -> Mapping[str, Handler]:
        """To be joined with the other methods of control.sock."""
        return {"escrow.export": self.export, "backup.begin": self.begin, "backup.read": self.read}

    async def export(self, _: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """Some kill switches, and `after` for the next ones; empty: there are no more."""
        files, after = await self._escrow.page(str(params.get("after") or "")[:64])
        return {"files": [{"name": name, "text": text} for name, text in files], "after": after}

    async def begin(self, connection: Connection, _: Mapping[str, Any]) -> dict[str, Any]:
        """Make a copy, which lives as long as the connection."""
        async with self._turn:
            if len(self._copies) >= _MOST_COPIES and connection not in self._copies:
                raise Conflict(f"{_MOST_COPIES} copies are being fetched already.", "Try again in a minute.")
            copy = await self._fresh()
            if (former := self._copies.get(connection)) is not None:
                former.close()
            else:
                connection.on_close(lambda: self._close(connection))
            self._copies[connection] = copy
        return {"size": os.fstat(copy.fileno()).st_size}

    async def _fresh(self) -> BinaryIO:
        try:
            return await self._backups.open()
        except StoreTrouble as trouble:
            raise Unavailable(
                f"No copy could be made: {trouble}.",
                "A copy needs as much room as the inventory.",
                code="store",
            ) from trouble

    async def read(self, connection: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """A piece of this connection's copy."""
        copy, offset = self._copies.get(connection), params.get("offset")
        if copy is None:
            raise BadInput("There is no copy on this connection.", "Call backup.begin first.")
        if not isinstance(offset, int) or isinstance(offset, bool) or not 0 <= offset < 2**62:
            raise BadInput("offset is no position.", "Use a whole number from 0 on.")
        return {"data": await asyncio.to_thread(os.pread, copy.fileno(), _CHUNK, offset)}

    def _close(self, connection: Connection) -> None:
        if (copy := self._copies.pop(connection, None)) is not None:
            copy.close()
