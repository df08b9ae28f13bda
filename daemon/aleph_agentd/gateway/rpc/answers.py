"""How failures are told to RPC clients: everything of a refusal, nothing of a fault of ours."""

import logging
from collections.abc import Collection
from typing import Any

from aleph_agentd.domain.errors import Refusal

log = logging.getLogger(__name__)

INTERNAL = Refusal(
    "the daemon failed at this request", "its log says why (aleph-agentctl status)", code="internal"
)
STOPPED = Refusal(
    "the daemon stopped waiting for this request, which may have taken effect",
    "ask again with the same request_key",
    code="unknown",
)


def error_of(problem: Exception, method: str) -> dict[str, Any]:
    """The `{code, message, hint, data}` of whatever a handler raised."""
    if isinstance(problem, Refusal):
        return problem.as_dict()
    log.error("%s failed", method, exc_info=problem)
    return INTERNAL.as_dict()


def unknown_method(name: str, known: Collection[str]) -> Refusal:
    """The refusal of a method that this socket does not have."""
    hint = f"methods here: {', '.join(sorted(known))}"
    return Refusal(f"there is no method {name!r} on this socket", hint, code="unknown_method")
