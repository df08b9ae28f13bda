"""The audit log over control.sock, and the entries for what a human does there."""

import inspect
from collections.abc import Mapping
from typing import Any

from ..domain.acting import act_of, on_behalf_of
from ..domain.audit import Entry, Link, instant
from ..domain.caller import Caller, Peer
from ..domain.errors import BadInput, Denied, Refusal, Unavailable
from ..ports import StoreTrouble
from ..services.auditor import Auditor
from .mcp_open import OpenSession
from .methods import CallerOf
from .rpc.connection import Connection, Handler
from .rpc.protocol import Params

_PAGE = 500
_MOST_BYTES = 700_000
"""A frame has room for 1 MiB."""
_MOST_ANCHORS = 5000
READ_ONLY = frozenset(
    {
        "status",
        "vms.list",
        "vms.get",
        "events.watch",
        "ledger.list",
        "orphans.list",
        "orphans.get",
        "key.state",
        "backup.read",
        "panic.status",
        "audit.list",
        "audit.verify",
        "approvals.list",
        "passphrase.state",
        "policy.get",
        "metrics",
        "report",
    }
)
"""What changes nothing and hands out no secret. A verb that is not named here is audited."""
_SHOWN = ("item_hash", "id", "project", "reason", "anyway", "others", "hours")
"""Parameters that an entry may show: a passphrase, say, is none of them."""


class AuditTrail:
    """Reading and checking the log."""

    def __init__(self, auditor: Auditor) -> None:
        self._auditor = auditor

    def methods(self) -> Mapping[str, Handler]:
        """To be joined with the other methods of control.sock."""
        return {"audit.list": self.list, "audit.verify": self.verify}

    async def list(self, _: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """Entries behind `after`, oldest first; without it, the newest ones."""
        after, limit = params.get("after"), params.get("limit", _PAGE)
        if not (after is None or _is_number(after)) or not _is_number(limit):
            raise BadInput("after or limit is no number.", "Use whole numbers from 0 on.")
        views = [_view(entry) for entry in await self._auditor.page(after, min(limit, _PAGE))]
        while len(views) > 1 and sum(map(_size, views)) > _MOST_BYTES:
            views = views[len(views) // 2 :] if after is None else views[: len(views) // 2]
        return {"entries": views}

    async def verify(self, _: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """Follow the chain; `anchors`: more old heads, as `[n, hash]`, from wherever the caller keeps them."""
        given = params.get("anchors") or []
        if not isinstance(given, list) or len(given) > _MOST_ANCHORS:
            raise BadInput(f"anchors is no list of at most {_MOST_ANCHORS}.", "Give the newest ones.")
        try:
            verdict = await self._auditor.verify([_anchor(item) for item in given])
        except (OSError, StoreTrouble) as trouble:
            raise Unavailable(f"The audit log cannot be read: {trouble}.", "Try again.") from trouble
        return {
            "ok": not verdict.problem,
            "problem": verdict.problem,
            "first": verdict.base.n + 1,
            "last": verdict.head.n,
            "hash": verdict.head.hash,
            "anchors": verdict.anchors,
        }


def audited(handlers: Mapping[str, Handler], auditor: Auditor, caller_of: CallerOf) -> dict[str, Handler]:
    """The same handlers; each that is not read-only works on behalf of its human, and leaves an entry."""

    def witness(method: str, handler: Handler) -> Handler:
        async def run(connection: Connection, params: Params) -> object:
            with on_behalf_of(act_of(caller_of(connection))):
                outcome = "not answered"
                try:
                    answer = handler(connection, params)
                    answer = await answer if inspect.isawaitable(answer) else answer
                    outcome = "ok"
                except Denied as denied:
                    outcome = f"denied by {denied.code}"
                    raise
                except Refusal as refusal:
                    outcome = f"refused: {refusal.code}"
                    raise
                finally:
                    auditor.note("control", f"{method}{_shown(params)}: {outcome}", _item_hash(params))
            return answer

        return run

    return {
        method: handler if method in READ_ONLY else witness(method, handler)
        for method, handler in handlers.items()
    }


def announced(open_session: OpenSession, auditor: Auditor) -> OpenSession:
    """The same, and an entry for each session that begins: who it claims to be, and what was made of that."""

    def opened(peer: Peer, nonce: str, preamble: dict[str, Any]) -> Caller:
        caller = open_session(peer, nonce, preamble)
        with on_behalf_of(act_of(caller)):
            where = f"{caller.client} in {caller.project or 'no project'} (claimed)"
            auditor.note("session", "; ".join([where, *caller.notices]), countable=True)
        return caller

    return opened


def _shown(params: Mapping[str, Any]) -> str:
    return "".join(f" {name}={str(params[name])[:100]}" for name in _SHOWN if params.get(name) is not None)


def _item_hash(params: Mapping[str, Any]) -> str:
    found = params.get("item_hash")
    return found[:64] if isinstance(found, str) else ""


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def _anchor(item: object) -> Link:
    match item:
        case [int(n), str(found)] if _is_number(n) and len(found) == 64:
            return Link(n, found)
    raise BadInput("An anchor is no [n, hash].", "Give lines as the daemon's log has them.")


def _view(entry: Entry) -> dict[str, Any]:
    done = entry.deed
    return {
        "n": entry.n,
        "at": instant(done.at),
        "kind": done.kind,
        "actor": done.actor,
        "session": done.session,
        "request_key": done.request_key,
        "item_hash": done.item_hash,
        "text": done.text,
        "hash": entry.hash,
    }


def _size(view: dict[str, Any]) -> int:
    return sum(len(str(value).encode()) + len(name) + 8 for name, value in view.items())
