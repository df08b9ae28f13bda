"""Asking through the MCP client, in both eras, where the owner's policy lets its answers count.

An elicitation is no proof of a human: hooks and some clients answer by themselves. So it is off by default,
and what it decides is marked as decided by the client.
"""

import json
import logging
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from aleph_agentd.domain.acting import note_decided
from aleph_agentd.domain.caller import Caller
from aleph_agentd.domain.errors import Refusal

if TYPE_CHECKING:
    import mcp_types

log = logging.getLogger(__name__)

ANSWER_S = 300.0
"""How long a client of the handshake era may take to answer; then the owner still can, over control.sock."""
MAX_STATES = 256
FIRST_MODERN = "2026-07-28"
_KEY = "approval"
_FIELD = "approve"


class ClientApprovals(Protocol):
    """What an MCP client may be asked to decide."""

    async def question(self, approval_id: str, caller: Caller) -> str | None:
        """What to ask, if this caller's client may decide on this request; else None."""

    async def client_says(self, approval_id: str, caller: Caller, yes: bool) -> None:
        """Decide as the client answered. Raises Refusal when it may not, or when it is decided already."""


@dataclass(frozen=True)
class Question:
    """One request that a client may decide on."""

    approval_id: str
    text: str


@dataclass(frozen=True)
class _State:
    """What a modern client's retry must fit; it sees but an opaque name of it, good for one use."""

    approval_id: str
    session: str
    call: tuple[str, str]


class Elicitation:
    """Asks clients, and passes on what they answer."""

    def __init__(self, approvals: ClientApprovals) -> None:
        self._approvals = approvals
        self._states: OrderedDict[str, _State] = OrderedDict()

    async def about(self, result: Mapping[str, Any], context: Any, caller: Caller) -> Question | None:
        """The question that a tool's answer raises, if this client can be asked and its answer would count."""
        # Who only waits for it has been asked already.
        approval_id = result.get("approval_id") if result.get("approval_message") else None
        capabilities = context.session.client_capabilities
        if not approval_id or capabilities is None or capabilities.elicitation is None:
            return None
        text = await self._approvals.question(str(approval_id), caller)
        return None if text is None else Question(str(approval_id), text)

    # ------------------------------------------------------------------ the handshake era

    async def ask(self, question: Question, context: Any, caller: Caller) -> bool:
        """Ask now and wait for the answer; True when the request was decided."""
        from mcp.shared.exceptions import MCPError

        with anyio.move_on_after(ANSWER_S):
            try:
                answer = await context.session.elicit_form(question.text, _schema(), context.request_id)
            except MCPError as error:
                log.info("%s: the client does not answer (%s)", question.approval_id, error)
                return False
            return await self._decide(question.approval_id, caller, answer)
        return False

    # ------------------------------------------------------------------ the modern era

    def required(
        self, question: Question, params: "mcp_types.CallToolRequestParams", caller: Caller
    ) -> dict[str, Any]:
        """The result that makes a client ask its user and send the call again."""
        token = secrets.token_urlsafe(24)
        self._states[token] = _State(question.approval_id, caller.session, _call(params))
        while len(self._states) > MAX_STATES:
            self._states.popitem(last=False)
        form = {"mode": "form", "message": question.text, "requestedSchema": _schema()}
        return {
            "resultType": "input_required",
            "inputRequests": {_KEY: {"method": "elicitation/create", "params": form}},
            "requestState": token,
        }

    async def retried(self, params: "mcp_types.CallToolRequestParams", caller: Caller) -> bool:
        """Take the answer that a call brings with it; whether it was such a call, so that nobody is asked twice."""
        if params.request_state is None and not params.input_responses:
            return False
        state = self._states.get(params.request_state or "")
        # Another session's, or another call's: its owner may still use it.
        if state is not None and (state.session, state.call) == (caller.session, _call(params)):
            del self._states[params.request_state or ""]
            await self._decide(state.approval_id, caller, (params.input_responses or {}).get(_KEY))
        return True

    # ------------------------------------------------------------------ both

    async def _decide(self, approval_id: str, caller: Caller, answer: Any) -> bool:
        """A yes is a ticked box that was sent. A form that was only dismissed decides nothing."""
        action = getattr(answer, "action", "cancel")
        content = getattr(answer, "content", None) or {}
        if action not in ("accept", "decline"):
            return False
        try:
            yes = action == "accept" and content.get(_FIELD) is True
            await self._approvals.client_says(approval_id, caller, yes)
            note_decided(approval_id)
        except Refusal as refusal:
            log.info("%s: the client's answer does not count: %s", approval_id, refusal.message)
            return False
        return True


def is_modern(protocol_version: str) -> bool:
    """Whether requests of the server have to travel in results; versions are dates."""
    return protocol_version >= FIRST_MODERN


def _schema() -> dict[str, Any]:
    box = {
        "type": "boolean",
        "title": "Approve",
        "description": "Tick only if you want this and its cost.",
        "default": False,
    }
    return {"type": "object", "properties": {_FIELD: box}, "required": [_FIELD]}


def _call(params: "mcp_types.CallToolRequestParams") -> tuple[str, str]:
    return params.name, json.dumps(params.arguments or {}, sort_keys=True)
