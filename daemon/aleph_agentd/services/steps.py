"""What the steps of a teardown have in common: how one says that it is not done yet."""

from datetime import datetime, timedelta

from ..domain.model import Vm

_SOON = timedelta(seconds=2)
_SLOW_END = timedelta(minutes=3)


class NotYet(Exception):
    """This pass cannot go on. `retry_in`: the network is merely busy with it, which is no failure."""

    def __init__(self, why: str, *, retry_in: timedelta | None = None) -> None:
        super().__init__(why)
        self.retry_in = retry_in


def soon(vm: Vm, now: datetime) -> timedelta | None:
    """A guest that is deaf to ACPI takes up to 50 s, a busy network less; who takes longer counts as failing."""
    return _SOON if vm.destroy_at is not None and now - vm.destroy_at < _SLOW_END else None
