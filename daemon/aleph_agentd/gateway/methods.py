"""The methods that every socket offers; control.sock adds its own to this table."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from aleph_agentd.domain.caller import Caller
from aleph_agentd.domain.errors import BadInput, Conflict
from aleph_agentd.gateway.rpc.connection import Connection, Handler
from aleph_agentd.gateway.rpc.protocol import Params
from aleph_agentd.gateway.toolbox import Toolbox

PROTOCOL = 1
SERVER = "aleph-agentd"
MAX_KEY_LENGTH = 256
MAX_NAME_LENGTH = 128

CallerOf = Callable[[Connection], Caller]
"""Who calls over plain RPC."""


def build_methods(
    toolbox: Toolbox, caller_of: CallerOf, version: str, more: Mapping[str, Handler] | None = None
) -> dict[str, Handler]:
    """The table of one socket: hello, ping, tools.list, tools.call, and `more` (mcp.open, control's verbs)."""
    methods: dict[str, Handler] = {}

    def hello(_connection: Connection, params: Params) -> object:
        refuse_newer(params.get("protocol"), PROTOCOL)
        return {"server": SERVER, "version": version, "protocol": PROTOCOL, "methods": sorted(methods)}

    def tools_list(_connection: Connection, _params: Params) -> object:
        return {"tools": toolbox.listing()}

    async def tools_call(connection: Connection, params: Params) -> object:
        name, arguments, request_key = _checked_call(params)
        caller = caller_of(connection)
        return await toolbox.call(name, arguments, caller=caller, request_key=request_key, progress=None)

    methods |= {
        "hello": hello,
        "ping": ping,
        "tools.list": tools_list,
        "tools.call": tools_call,
        **(more or {}),
    }
    return methods


def refuse_newer(spoken: object, known: int) -> None:
    """Older clients, and those that do not say, are served; one that is too new is told so once, clearly."""
    if isinstance(spoken, int) and spoken > known:
        raise Conflict(
            f"this client speaks protocol {spoken}, the running aleph-agentd knows up to {known}",
            "aleph-agentctl upgrade-check",
            code="protocol",
        )


def ping(_connection: Connection, _params: Params) -> object:
    """Say that the daemon's loop turns, and what time it has."""
    return {"pong": True, "now": datetime.now(UTC).isoformat()}


def _checked_call(params: Params) -> tuple[str, object, str | None]:
    name, key = params.get("name"), params.get("request_key")
    problems = []
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH:
        problems.append(f"name: a tool's name, at most {MAX_NAME_LENGTH} characters")
    if key is not None and (not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_LENGTH):
        problems.append(f"request_key: nil or a text of at most {MAX_KEY_LENGTH} characters")
    if unknown := sorted(params.keys() - {"name", "arguments", "request_key"}):
        problems.append(f"unknown: {', '.join(unknown)}")
    if problems:
        raise BadInput("; ".join(problems), "tools.call {name, arguments, request_key}")
    arguments = params.get("arguments")
    return str(name), {} if arguments is None else arguments, key
