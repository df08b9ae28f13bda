"""What was done, so that nobody can change it unseen."""

from datetime import datetime
from typing import Protocol

from ..domain.audit import Deed, Entry, Link


class AuditLog(Protocol):
    """An append-only, hash-chained log.

    State changes write their own entries, within their transactions. All the rest is noted here, and is
    written, in order, with the next transaction of any kind.
    """

    def audit(self, done: Deed, *, countable: bool = False) -> None:
        """Note it; never waits and never fails.

        `countable`: it changed nothing; equal ones that wait to be written become one with their number,
        and of one user only so many a second are written.
        """
        ...

    async def write_audit(self) -> None:
        """Write what is noted, if no other transaction did. Raises StoreTrouble; it is not lost then."""
        ...

    async def audit_page(self, after: int, limit: int) -> list[Entry]:
        """Entries behind this number, oldest first."""
        ...

    async def audit_base(self) -> Link:
        """What the first entry that is kept follows."""
        ...

    async def audit_head(self) -> Link:
        """The newest entry's place; the base when there is none."""
        ...

    async def audit_marks(self, after: int, every: int) -> list[Link]:
        """The places behind this number whose own number is a multiple of `every`."""
        ...


class Anchors(Protocol):
    """Old heads of the log, kept outside it. Every method may raise OSError."""

    async def add(self, link: Link, at: datetime) -> None:
        """Keep it, on disk."""
        ...

    async def all(self) -> list[Link]:
        """Those that are kept, oldest first."""
        ...
