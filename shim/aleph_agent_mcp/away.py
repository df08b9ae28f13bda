"""What the shim itself answers, for want of a daemon; imported only when that is needed."""

import json

from aleph_agent_mcp.book import Request
from aleph_agent_mcp.cache import load

LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN = "2026-07-28"
INVALID, UNKNOWN_METHOD, NOT_DONE = -32600, -32601, -32603
SERVER = {"name": "aleph-agent", "version": "shim"}
FRESHNESS = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}


def error(id_: object, message: str, code: int = NOT_DONE) -> bytes:
    """A JSON-RPC error as a line."""
    return _line({"jsonrpc": "2.0", "id": id_, "error": {"code": code, "message": message}})


def answer(request: Request, why: str, command: str) -> bytes:
    """The answer to a request that the daemon cannot get: from what is known, or how to start it."""
    text = f"aleph-agentd is not reachable: {why}. {_effect(request)} Start it with: {command}"
    modern = bool(request.params.get("modern"))
    if request.method == "tools/call":
        result: dict[str, object] = {"content": [{"type": "text", "text": text}], "isError": True}
        result |= {"resultType": "complete"} if modern else {}
    else:
        known = _known(request, modern)
        if known is None:
            return error(request.id, text)
        result = known
    return _line({"jsonrpc": "2.0", "id": request.id, "result": result})


def _effect(request: Request) -> str:
    if request.method != "tools/call" or not request.sends:
        return "Nothing was sent to it."
    return (
        "The call was on its way when the connection broke and may have taken effect; "
        "the daemon keeps track of what it began. Look at aleph_list_my_vms before you repeat the call."
    )


def _known(request: Request, modern: bool) -> dict[str, object] | None:
    known = load()
    about = {"instructions": known["instructions"]} if "instructions" in known else {}
    if request.method == "ping" and not modern:
        return {}
    if request.method == "tools/list":
        return {"tools": known.get("tools", []), **(FRESHNESS if modern else {})}
    if request.method == "initialize":
        version = request.params["version"] if request.params["version"] in LEGACY else LEGACY[-1]
        capabilities = {"tools": {"listChanged": True}}
        return {"protocolVersion": version, "capabilities": capabilities, "serverInfo": SERVER, **about}
    if request.method == "server/discover":
        capabilities = {"tools": {"listChanged": False}}
        return {"supportedVersions": [MODERN], "capabilities": capabilities, **about, **FRESHNESS}
    return None


def _line(message: dict[str, object]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
