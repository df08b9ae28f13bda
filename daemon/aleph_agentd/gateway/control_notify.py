"""What control.sock offers of notifications: to try them."""

from collections.abc import Mapping
from typing import Any

from ..services.notifications import Notifications
from .rpc.connection import Connection, Handler


class NotifyVerbs:
    """Whoever is set up to be told gets a test."""

    def __init__(self, notifications: Notifications) -> None:
        self._notifications = notifications

    def methods(self) -> Mapping[str, Handler]:
        """To be joined with the other methods of control.sock."""
        return {"notify.test": self.test}

    async def test(self, _: Connection, __: Mapping[str, Any]) -> dict[str, Any]:
        """One event for all listeners, and what the webhook said."""
        return await self._notifications.test()
