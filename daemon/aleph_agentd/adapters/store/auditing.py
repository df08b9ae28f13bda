"""The audit log as the daemon sees it. Contract: `ports.AuditLog`."""

from ...domain.audit import Deed, Entry, Link
from . import audit
from .transactions import Transactions


class AuditStore(Transactions):
    """The part of SqlInventory that remembers what was done."""

    def audit(self, done: Deed, *, countable: bool = False) -> None:
        """Note it for the next transaction."""
        self._backlog.add(done, countable=countable)

    async def write_audit(self) -> None:
        """Transactions of its own for what is noted. They are no change that anybody else waits for."""
        while self._backlog:
            await self._transact(lambda _: None, quiet=True)

    async def audit_page(self, after: int, limit: int) -> list[Entry]:
        """Entries behind this number, oldest first."""
        return await self._read(lambda c: audit.page(c, after, limit))

    async def audit_base(self) -> Link:
        """What the first entry that is kept follows."""
        return await self._read(audit.base)

    async def audit_head(self) -> Link:
        """The newest entry's place."""
        return await self._read(audit.head)

    async def audit_marks(self, after: int, every: int) -> list[Link]:
        """Places at multiples of `every`."""
        return await self._read(lambda c: audit.marks(c, after, every))
