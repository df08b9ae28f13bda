"""Rows for what only the network knows, and the extensions that were published. Contract: `ports.Rebuilding`."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, delete, exists, func, insert, select, update

from ...domain.model import LEASED, SignedMessage, Vm, VmState
from ...ports import Admission, StaleRow
from . import approvals, events, leases, ledger, messages, vms
from .exposure import exposure
from .rows import to_vm
from .schema import extensions
from .schema import vms as table
from .transactions import Transactions


class RebuildingStore(Transactions):
    """The part of SqlInventory that keeps it whole."""

    async def adopt(
        self,
        vm: Vm,
        forgets: Sequence[SignedMessage],
        reserve_units: int,
        now: datetime,
        admission: Admission | None = None,
    ) -> Vm:
        """A row, its kill switches and its reservation, or the row that is there."""
        return await self._transact(lambda c: adopt(c, vm, forgets, reserve_units, now, admission))

    async def unproven(self, since: datetime, limit: int) -> list[Vm]:
        """Failed rows whose bytes may have left, the longest unchecked first."""
        return await self._read(lambda c: unproven(c, since, limit))

    async def unpublished(self, limit: int) -> list[Vm]:
        """Leased rows whose newest extension is not confirmed."""
        return await self._read(lambda c: unpublished(c, limit))

    async def extension(self, item_hash: str, n: int) -> SignedMessage | None:
        """The signed message of an extension."""
        return await self._read(lambda c: extension(c, item_hash, n))

    async def keep_extension(
        self, item_hash: str, n: int, message: SignedMessage, dated_at: datetime
    ) -> None:
        """Keep the signed message of an extension."""
        await self._transact(lambda c: keep_extension(c, item_hash, n, message, dated_at))

    async def last_extension_at(self) -> datetime | None:
        """The latest date of any kept extension."""
        return await self._read(lambda c: c.scalar(select(func.max(extensions.c.dated_at))))

    async def confirm_extension(self, item_hash: str, n: int, now: datetime) -> None:
        """It was read back."""
        statement = update(extensions).where(extensions.c.item_hash == item_hash, extensions.c.n == n)
        await self._transact(lambda c: c.execute(statement.values(confirmed_at=now)) and None)


def adopt(
    connection: Connection,
    vm: Vm,
    forgets: Sequence[SignedMessage],
    reserve_units: int,
    now: datetime,
    admission: Admission | None,
) -> Vm:
    """A row for an orphan; one that is there already stays as it is, and whoever asked for it is refused."""
    known = vms.get(connection, vm.item_hash)
    if known is not None and admission is not None:
        raise StaleRow(known)
    if known is not None:
        return known
    approval = admission.approval if admission else ""
    if admission is not None:
        admission.decide(exposure(connection, vm.session, now, admission.budgets, uid=vm.uid))
        approvals.use(connection, approval, vm.item_hash, now)
        leases.allowed(connection, f"adopt {vm.name}", vm, reserve_units, now)
    vms.add(connection, vm)
    messages.add_forgets(connection, vm.item_hash, forgets)
    ledger.reserve(connection, vm, vm.session, reserve_units, "adopted", now, uid=vm.uid, approval=approval)
    events.record(connection, "adopted", vm.item_hash, vm.cause, now)
    return vm


def unproven(connection: Connection, since: datetime, limit: int) -> list[Vm]:
    """Failed, posted, never seen forgotten."""
    query = (
        select(table)
        .where(
            table.c.state == VmState.FAILED,
            table.c.broadcast_at.is_not(None),
            table.c.forgotten_at.is_(None),
            table.c.ended_at > since,
        )
        .order_by(table.c.verified_at.is_not(None), table.c.verified_at, table.c.item_hash)
        .limit(limit)
    )
    return [to_vm(row) for row in connection.execute(query)]


def unpublished(connection: Connection, limit: int) -> list[Vm]:
    """The n-th extension made the lease's version n + 1."""
    confirmed = exists().where(
        and_(
            extensions.c.item_hash == table.c.item_hash,
            extensions.c.n == table.c.lease_version - 1,
            extensions.c.confirmed_at.is_not(None),
        )
    )
    query = select(table).where(table.c.state.in_(LEASED), table.c.lease_version > 1, ~confirmed)
    return [to_vm(row) for row in connection.execute(query.order_by(table.c.expires_at).limit(limit))]


def extension(connection: Connection, item_hash: str, n: int) -> SignedMessage | None:
    """The signed message of an extension."""
    row = connection.execute(
        select(extensions.c.message_hash, extensions.c.body).where(
            extensions.c.item_hash == item_hash, extensions.c.n == n
        )
    ).one_or_none()
    return SignedMessage(row.message_hash, row.body) if row else None


def keep_extension(
    connection: Connection, item_hash: str, n: int, message: SignedMessage, dated_at: datetime
) -> None:
    """Instead of an older one."""
    connection.execute(delete(extensions).where(extensions.c.item_hash == item_hash, extensions.c.n == n))
    connection.execute(
        insert(extensions).values(
            item_hash=item_hash,
            n=n,
            message_hash=message.item_hash,
            body=message.body,
            dated_at=dated_at,
        )
    )
