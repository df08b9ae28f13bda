"""What a client can offer its user besides tools: resources to look at, and prompts for the usual courses.

Neither is in the list of tools. A resource is the answer of a tool that only reads, under the same limits. Imported
together with the SDK, after READY.
"""

import json
import logging
import string
from typing import Any

import mcp_types
from mcp.shared.exceptions import MCPError

from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.toolbox import Toolbox

log = logging.getLogger(__name__)

INVALID_PARAMS, INTERNAL_ERROR = -32602, -32603
JSON = "application/json"

RESOURCES: dict[str, tuple[str, str, str]] = {
    "aleph://vms": ("aleph_list_my_vms", "VMs", "Live VMs: status, cost so far, time left, SSH command"),
    "aleph://budget": ("aleph_check_balance", "Budget", "Balance, burn, runway, what can be afforded"),
    "aleph://crns": ("aleph_list_crns", "CRNs", "Compute nodes with room, the best first"),
    "aleph://setups": (
        "setup_templates",
        "Setups",
        "The owner's start-up scripts, for setup of aleph_create_vm",
    ),
}
"""URI → the tool that answers it, a title, what it is."""
CHANGING = ("aleph://vms", "aleph://budget")
"""Whose changes are told. Of the CRNs' list there is a new one every minute: whoever needs it reads it."""

PROMPTS: dict[str, tuple[str, dict[str, str], str]] = {
    "afford": (
        "How many VMs can I afford, and for how long do mine run?",
        {},
        "Check my balance. Say how many VMs of each size I can afford, and how long the VMs that live can run.",
    ),
    "rent": (
        "Rent a VM for a task, price first",
        {"task": "What it is for", "hours": "For how long (2)", "compute_units": "How large, in CU (1)"},
        "Rent one VM for this task: $task. Size: $compute_units CU, lease: $hours hours. First a dry run: show me the price "
        "and wait for my yes. Then create it, wait until SSH answers, and give me the SSH command. Remind me to destroy it.",
    ),
    "compile": (
        "Compile a project on a VM of its own",
        {"project": "What to compile", "compute_units": "How large, in CU (2)"},
        "Compile $project on a new Ubuntu VM of $compute_units CU with a lease of 2 hours: find a node, show me the price, "
        "create it, wait for SSH, compile, copy the result out, and destroy the VM when I confirm that it works.",
    ),
    "cheapest": (
        "Run a script on the cheapest VM",
        {"script": "What to run"},
        "Run $script on the cheapest VM there is, with a lease of 1 hour. Show me the price first. Destroy the VM as soon "
        "as it is confirmed to work, and tell me what it cost.",
    ),
    "clean_up": (
        "End what is not needed",
        {},
        "List my VMs with their cost so far. Destroy the expired ones, after showing me exactly which. Tell me what is stuck.",
    ),
}
"""Name → title, arguments (a default in parentheses), text."""
_LONGEST = 500


class Offers:
    """Handlers for the SDK's server."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox

    def handlers(self) -> dict[str, Any]:
        """By the names of the server's arguments."""
        return {
            "on_list_resources": self._list_resources,
            "on_read_resource": self._read_resource,
            "on_subscribe_resource": self._subscribe,
            "on_unsubscribe_resource": self._unsubscribe,
            "on_list_prompts": self._list_prompts,
            "on_get_prompt": self._get_prompt,
        }

    async def _list_resources(self, _context: Any, _params: object) -> mcp_types.ListResourcesResult:
        return mcp_types.ListResourcesResult(
            resources=[
                mcp_types.Resource(
                    name=title.lower(), title=title, uri=uri, description=about, mime_type=JSON
                )
                for uri, (_, title, about) in RESOURCES.items()
            ]
        )

    async def _read_resource(self, context: Any, params: Any) -> mcp_types.ReadResourceResult:
        if str(params.uri) not in RESOURCES:
            raise MCPError(INVALID_PARAMS, f"there is no such resource; there are {', '.join(RESOURCES)}")
        tool, _, _ = RESOURCES[str(params.uri)]
        try:
            answer = await self._toolbox.call(
                tool, {}, caller=context.lifespan_context.caller, request_key=None, progress=None
            )
        except Refusal as refusal:
            raise MCPError(INTERNAL_ERROR, f"{refusal.message} {refusal.hint}".strip()) from None
        except Exception:
            # The edge of a tool: the SDK would put the text of what escapes on the wire.
            log.exception("%s failed", tool)
            raise MCPError(INTERNAL_ERROR, "internal error, see the daemon's log") from None
        text = json.dumps(answer, separators=(",", ":"), ensure_ascii=False)
        contents = mcp_types.TextResourceContents(uri=params.uri, mime_type=JSON, text=text)
        return mcp_types.ReadResourceResult(contents=[contents])

    async def _subscribe(self, context: Any, params: Any) -> mcp_types.EmptyResult:
        """The handshake era's way; a modern client names them in `subscriptions/listen`."""
        if str(params.uri) not in CHANGING:
            raise MCPError(INVALID_PARAMS, f"changes are told of {', '.join(CHANGING)}")
        context.lifespan_context.subscribed.add(str(params.uri))
        return mcp_types.EmptyResult()

    async def _unsubscribe(self, context: Any, params: Any) -> mcp_types.EmptyResult:
        context.lifespan_context.subscribed.discard(str(params.uri))
        return mcp_types.EmptyResult()

    async def _list_prompts(self, _context: Any, _params: object) -> mcp_types.ListPromptsResult:
        return mcp_types.ListPromptsResult(
            prompts=[
                mcp_types.Prompt(
                    name=name,
                    title=title,
                    description=title,
                    arguments=[
                        mcp_types.PromptArgument(
                            name=argument, description=about, required=_default(about) is None
                        )
                        for argument, about in arguments.items()
                    ],
                )
                for name, (title, arguments, _) in PROMPTS.items()
            ]
        )

    async def _get_prompt(self, _context: Any, params: Any) -> mcp_types.GetPromptResult:
        if params.name not in PROMPTS:
            raise MCPError(INVALID_PARAMS, f"there is no such prompt; there are {', '.join(PROMPTS)}")
        title, arguments, text = PROMPTS[params.name]
        given = {name: str(value)[:_LONGEST] for name, value in (params.arguments or {}).items()}
        values = {name: given.get(name) or _default(about) for name, about in arguments.items()}
        if missing := [name for name, value in values.items() if not value]:
            raise MCPError(INVALID_PARAMS, f"missing: {', '.join(missing)}")
        filled = string.Template(text).substitute(values)
        content = mcp_types.TextContent(type="text", text=filled)
        return mcp_types.GetPromptResult(
            description=title, messages=[mcp_types.PromptMessage(role="user", content=content)]
        )


def _default(about: str) -> str | None:
    return about.rpartition("(")[2].removesuffix(")") if about.endswith(")") else None
