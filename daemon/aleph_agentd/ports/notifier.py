"""The way to whoever the owner wants told."""

from typing import Protocol

from ..domain.notices import Notice


class NotTold(Exception):
    """It may or may not have arrived: tell it again. One line without a secret."""


class Notifier(Protocol):
    """Delivers one notice."""

    async def tell(self, notice: Notice) -> None:
        """Deliver it, within seconds. Raises NotTold; the same notice may come again, with the same id."""
        ...
