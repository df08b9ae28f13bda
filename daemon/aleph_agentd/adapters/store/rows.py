"""`Vm` to a row and back, by the dataclass's own fields."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Row

from ...domain.leases import due_at
from ...domain.model import Vm

VM_FIELDS = tuple(field.name for field in fields(Vm))

_CHUNK = 500


def to_row(vm: Vm) -> dict[str, Any]:
    """All columns of a VM, with the instant at which the reaper must look at it."""
    return {name: getattr(vm, name) for name in VM_FIELDS} | {"due_at": due_at(vm)}


def to_vm(row: Row[Any]) -> Vm:
    """The VM of a row."""
    found = row._mapping
    return Vm(**{name: found[name] for name in VM_FIELDS})


def chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Pieces that fit into one `IN (…)` of any engine."""
    return (values[at : at + _CHUNK] for at in range(0, len(values), _CHUNK))
