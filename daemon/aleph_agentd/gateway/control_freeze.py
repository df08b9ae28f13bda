"""The owner's buttons on control.sock: freeze, unfreeze, panic."""

from collections.abc import Mapping
from typing import Any

from ..domain.clock import iso
from ..domain.errors import BadInput
from ..services.freezes import OWNER, Freezes
from ..services.panic import Panic
from .owner_guard import Guard
from .rpc.connection import Connection, Handler

CONFIRMATION = "destroy every VM"
_LONGEST = 200


class Buttons:
    """The handlers."""

    def __init__(self, freezes: Freezes, panic: Panic, guard: Guard) -> None:
        self._freezes, self._panic, self._guard = freezes, panic, guard

    def methods(self) -> Mapping[str, Handler]:
        """To be joined with the other methods of control.sock."""
        return {
            "freeze": self.freeze,
            "unfreeze": self.unfreeze,
            "panic": self.panic,
            "panic.status": self.status,
        }

    async def freeze(self, _: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing is created or extended any more; with `project`, nothing is created for it."""
        reason = _text(params, "reason") or "asked for by the owner"
        await self._freezes.freeze(reason, OWNER, _text(params, "project"))
        return self._view()

    async def unfreeze(self, connection: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """Lift everything, or what is frozen for one project. It loosens: only the owner may (rules.md 13)."""
        await self._guard.check(connection, params)
        project = _text(params, "project") if params.get("project") is not None else None
        return {"lifted": await self._freezes.lift(OWNER, project), **self._view()}

    async def panic(self, _: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """Freeze everything and end every VM under our key. Goes on by itself, also over a restart."""
        if params.get("confirm") != CONFIRMATION:
            raise BadInput("This destroys every VM.", f"Say so: confirm = {CONFIRMATION!r}.")
        await self._panic.begin(OWNER)
        return await self.status(_, {})

    async def status(self, _: Connection, __: Mapping[str, Any]) -> dict[str, Any]:
        """How far the panic is; `done` only when the network has confirmed it."""
        progress = self._panic.progress
        return {
            "panics": self._freezes.panics(),
            "done": progress is not None and progress.done,
            "billing": progress and progress.billing,
            "erasing": progress and progress.erasing,
            "listed": progress and progress.listed,
            "trouble": progress.trouble if progress else "",
        }

    def _view(self) -> dict[str, Any]:
        return {
            "freezes": [
                {
                    "n": freeze.n,
                    "kind": str(freeze.kind),
                    "project": freeze.scope,
                    "by": freeze.by,
                    "reason": freeze.reason,
                    "at": iso(freeze.at),
                }
                for freeze in self._freezes.standing
            ]
        }


def _text(params: Mapping[str, Any], name: str) -> str:
    value = params.get(name) or ""
    if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable():
        raise BadInput(f"{name} is no text of at most {_LONGEST} printable characters.", "Say it shorter.")
    return value
