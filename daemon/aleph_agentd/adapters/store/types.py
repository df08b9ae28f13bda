"""Column types: how our values lie in a database, the same in every engine."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import BigInteger, Dialect, Integer, Text, TypeDecorator

from ...domain.model import VmState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Serial = BigInteger().with_variant(Integer, "sqlite")
"""A 64-bit key that counts by itself (SQLite does that for INTEGER alone)."""


def microseconds(at: datetime) -> int:
    """An instant as whole microseconds since 1970 UTC. Refuses naive times."""
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone")
    return (at - _EPOCH) // _MICROSECOND


class UtcInstant(TypeDecorator[datetime]):
    """An aware instant, stored as integer microseconds UTC: exact, and ordered by any engine."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To the database."""
        return None if value is None else microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        return None if value is None else _EPOCH + value * _MICROSECOND


class Rate(TypeDecorator[Decimal]):
    """A decimal as text: SQLite has no exact decimals."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:
        """From the database."""
        return None if value is None else Decimal(value)


class State(TypeDecorator[VmState]):
    """The state of a VM by its name."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: VmState | None, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else VmState(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> VmState | None:
        """From the database."""
        return None if value is None else VmState(value)


class Words(TypeDecorator[str]):
    """Text of any origin. What no engine can hold (lone surrogates, NUL) becomes U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """To the database."""
        if value is None or (value.isascii() and "\0" not in value):
            return value
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
