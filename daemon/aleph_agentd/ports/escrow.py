"""Where kill switches and backups are put."""

from typing import BinaryIO, Protocol


class EscrowFiles(Protocol):
    """A directory of kill switches, for whoever watches over the daemon. Every method may raise OSError."""

    async def write(self, name: str, text: str) -> None:
        """Put a file there, completely or not at all, readable by its owner alone."""
        ...

    async def remove(self, name: str) -> None:
        """Take a file away; one that is not there is no error."""
        ...

    async def names(self) -> list[str]:
        """The kill switches that are there."""
        ...


class Backups(Protocol):
    """Copies of the inventory while it is in use."""

    async def open(self) -> BinaryIO:
        """A consistent copy, to be read once; it is gone when it is closed. Raises StoreTrouble or Refusal."""
        ...
