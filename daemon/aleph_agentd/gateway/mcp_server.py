"""MCP inside the daemon: the only importer of `mcp` and `mcp_types`, and only once `load` is called."""

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

from aleph_agentd.domain.caller import Caller, Progress
from aleph_agentd.domain.errors import Refusal, Unavailable
from aleph_agentd.gateway.rpc.rate import Turn, at_once
from aleph_agentd.gateway.toolbox import Toolbox

if TYPE_CHECKING:
    import mcp_types
    from mcp.server.context import ServerRequestContext

    from aleph_agentd.gateway.mcp_elicitation import ClientApprovals
    from aleph_agentd.gateway.mcp_session import Incoming, McpSession

    Context = ServerRequestContext[McpSession, Any]

log = logging.getLogger(__name__)

NAME = "aleph-agent"
CACHE_MS = 300_000
"""How long a client may keep the list of tools; a change is announced anyway."""
_CACHED = ("tools/list", "server/discover", "resources/list", "prompts/list")
MAX_ANSWER = 400_000
"""Characters of one structured result: twice that and its frame must fit into a line of 1 MiB."""
MAX_LISTENERS = 256
INTERNAL = Refusal(
    "internal error, see the daemon's log", "try again; if it stays, tell the user", code="internal"
)


class McpServer:
    """The SDK's server over our tools; one for all sessions."""

    def __init__(self, toolbox: Toolbox, version: str, approvals: "ClientApprovals | None" = None) -> None:
        from mcp.server.caching import CacheHint
        from mcp.server.lowlevel import NotificationOptions, Server
        from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler

        from aleph_agentd.gateway.mcp_elicitation import Elicitation
        from aleph_agentd.gateway.mcp_offers import Offers

        self._toolbox = toolbox
        self._elicitation = Elicitation(approvals) if approvals else None
        self._sessions: set[McpSession] = set()
        self._listing = checked_listing(toolbox.listing())
        self._bus = InMemorySubscriptionBus()
        hints: Any = dict.fromkeys(_CACHED, CacheHint(ttl_ms=CACHE_MS, scope="private"))
        self._server: Any = Server(
            NAME,
            version=version,
            instructions=toolbox.instructions,
            cache_hints=hints,
            **Offers(toolbox).handlers(),
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_subscriptions_listen=ListenHandler(
                self._bus, max_subscriptions=MAX_LISTENERS, max_buffered_events=16
            ),
        )
        self._server.middleware.clear()  # OpenTelemetry spans that nobody collects
        # Our list is the same for as long as we run: a freeze or a new policy refuses calls, which says why, and hides no
        # tool. But a client's session outlives us, and its shim announces the list of whoever comes after us.
        self._options = self._server.create_initialization_options(NotificationOptions(tools_changed=True))

    async def serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        draining: asyncio.Event,
        *,
        caller: Caller,
        nonce: str,
        turn: Turn = at_once,
    ) -> None:
        """Converse with one shim until it hangs up or the daemon has drained."""
        from aleph_agentd.gateway.mcp_session import McpSession

        session = McpSession(self, caller, nonce, turn)
        self._sessions.add(session)
        try:
            await session.serve(reader, writer, draining)
        finally:
            self._sessions.discard(session)

    async def announce(self) -> bool:
        """Tell whoever subscribed that VMs and budget changed; False while somebody does not read."""
        from mcp.server.subscriptions import ResourceUpdated

        from aleph_agentd.gateway.mcp_offers import CHANGING

        for uri in CHANGING:
            await self._bus.publish(ResourceUpdated(uri=uri))
        told = [session.tell_updates(CHANGING) for session in self._sessions]
        return all(told)

    # Handlers

    async def _list_tools(self, _context: "Context", _params: object) -> "mcp_types.ListToolsResult":
        return self._listing

    async def _call_tool(self, context: "Context", params: "mcp_types.CallToolRequestParams") -> Any:
        session = context.lifespan_context
        try:
            return await self._answer(session, context, params)
        except Refusal as refusal:
            return _failure(refusal)
        except Exception:
            # The edge of a tool: the SDK would put the text of what escapes on the wire.
            log.exception("%s failed", params.name)
            return _failure(INTERNAL)

    async def _answer(
        self, session: "McpSession", context: "Context", params: "mcp_types.CallToolRequestParams"
    ) -> dict[str, Any]:
        """The tool's answer, or first a question to the client that stands in its way."""
        from aleph_agentd.gateway.mcp_elicitation import is_modern

        asked, caller = self._elicitation, session.caller
        if asked is None:
            return _success(await self._run(session, context, params))
        retried = await asked.retried(params, caller)
        result = await self._run(session, context, params)
        question = None if retried else await asked.about(result, context, caller)
        if question is not None and is_modern(context.protocol_version):
            return asked.required(question, params, caller)
        if question is not None and await asked.ask(question, context, caller):
            result = await self._run(session, context, params)
        return _success(result)

    async def _run(
        self, session: "McpSession", context: "Context", params: "mcp_types.CallToolRequestParams"
    ) -> dict[str, Any]:
        from aleph_agentd.gateway.mcp_session import MAX_CALLS

        if session.calls >= MAX_CALLS:
            raise Unavailable(
                f"{MAX_CALLS} calls of this session run already", "wait for one, then call again"
            )
        session.calls += 1
        try:
            return await self._toolbox.call(
                params.name,
                {} if params.arguments is None else params.arguments,
                caller=session.caller,
                request_key=None if context.request_id is None else session.request_key(context.request_id),
                progress=_progress(context),
            )
        finally:
            session.calls -= 1

    # What sessions use (mcp_session.Sdk)

    def parse(self, line: bytes) -> "Incoming":
        """Read one line; raises Malformed."""
        import mcp_types

        from aleph_agentd.gateway.mcp_session import Incoming

        try:
            message = mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:
            raise _malformed(line) from None
        if isinstance(message, mcp_types.JSONRPCRequest):
            return Incoming(message, message.id, message.method)
        return Incoming(message)

    def envelope(self, incoming: "Incoming", unanswered: Any) -> Any:
        """Wrap a message for the SDK, which calls `unanswered` if it will not answer it."""
        from mcp.shared.message import ServerMessageMetadata, SessionMessage

        return SessionMessage(incoming.message, ServerMessageMetadata(on_request_unanswered=unanswered))

    def error(self, code: int, message: str, request_id: int | str | None) -> Any:
        """An error answer."""
        import mcp_types
        from mcp.shared.message import SessionMessage

        error = mcp_types.ErrorData(code=code, message=message)
        return SessionMessage(mcp_types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error))

    def notification(self, method: str, params: dict[str, Any]) -> Any:
        """A notification."""
        import mcp_types
        from mcp.shared.message import SessionMessage

        return SessionMessage(mcp_types.JSONRPCNotification(jsonrpc="2.0", method=method, params=params))

    def dump(self, outgoing: Any) -> tuple[bytes, int | str | None]:
        """The line of a message, and the id that it answers."""
        import mcp_types

        message = outgoing.message
        line = message.model_dump_json(by_alias=True, exclude_unset=True).encode()
        answers = isinstance(message, mcp_types.JSONRPCResponse | mcp_types.JSONRPCError)
        return line, message.id if answers else None

    async def run(self, session: "McpSession", read: Any, write: Any) -> None:
        """Serve until `read` ends, in the era that the client opens with."""
        from mcp.server.runner import serve_dual_era_loop

        await serve_dual_era_loop(
            self._server, read, write, lifespan_state=session, init_options=self._options
        )


class LazyMcp:
    """The server, loaded in a thread by whoever needs it first (the app, right after READY)."""

    def __init__(self, toolbox: Toolbox, version: str, approvals: "ClientApprovals | None" = None) -> None:
        self._toolbox = toolbox
        self._version = version
        self._approvals = approvals
        self._loading: asyncio.Task[McpServer] | None = None

    async def get(self) -> McpServer:
        """The server, as soon as it is loaded; raises ValueError if a tool's schema is wrong."""
        if self._loading is None:
            self._loading = asyncio.create_task(
                asyncio.to_thread(load, self._toolbox, self._version, self._approvals)
            )
        return await asyncio.shield(self._loading)

    async def announce(self) -> bool:
        """As the server does; before it is loaded, nobody has subscribed."""
        loading = self._loading
        if loading is None or not loading.done() or loading.cancelled() or loading.exception():
            return True
        return await loading.result().announce()


def load(toolbox: Toolbox, version: str, approvals: "ClientApprovals | None" = None) -> McpServer:
    """Import the SDK (0.6 s or more) and build the server; call it in a thread."""
    return McpServer(toolbox, version, approvals)


def checked_listing(tools: list[dict[str, Any]]) -> "mcp_types.ListToolsResult":
    """The answer to tools/list; ValueError names a tool that would make every client lose all of them."""
    import mcp_types

    checked: dict[str, mcp_types.Tool] = {}
    for tool in tools:
        name = str(tool.get("name", "?"))
        for key in ("inputSchema", "outputSchema"):
            schema = tool.get(key)
            absent = schema is None and key == "outputSchema"
            if not absent and (not isinstance(schema, dict) or schema.get("type") != "object"):
                raise ValueError(f"tool {name}: {key} is not a schema of type object")
        if name in checked:
            raise ValueError(f"tool {name}: two tools have this name")
        checked[name] = mcp_types.Tool.model_validate(tool, by_name=False)
    return mcp_types.ListToolsResult(tools=list(checked.values()))


def _malformed(line: bytes) -> Exception:
    """Tell bad JSON from JSON that is no message, and find the id of the latter."""
    from aleph_agentd.gateway.mcp_session import INVALID_REQUEST, MAX_ID_LENGTH, PARSE_ERROR, Malformed

    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return Malformed(PARSE_ERROR, "Parse error: this line is not JSON")
    id_ = document.get("id") if isinstance(document, dict) else None
    named = type(id_) is int or (isinstance(id_, str) and len(id_) <= MAX_ID_LENGTH)
    return Malformed(INVALID_REQUEST, "Invalid request: not a JSON-RPC 2.0 message", id_ if named else None)


def _progress(context: "Context") -> Progress | None:
    if (context.meta or {}).get("progress_token") is None:
        return None

    async def report(done: float, total: float | None, message: str) -> None:
        await context.session.report_progress(done, total, message)

    return report


def _success(result: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(result, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    if len(text) > MAX_ANSWER:
        raise Refusal(
            "the answer is too long to be sent", "ask for less: a smaller page or a filter", code="too_long"
        )
    return _result(text, structuredContent=result, isError=False)


def _failure(refusal: Refusal) -> dict[str, Any]:
    """What, why and next in the text: of an error, that is all a model sees."""
    hint = f"\nNext: {refusal.hint}" if refusal.hint else ""
    return _result(f"{refusal.message}{hint}\ncode: {refusal.code}", isError=True)


def _result(text: str, **fields: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "resultType": "complete", **fields}
