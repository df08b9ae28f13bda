"""One MCP session: lines of JSON on a stream, and the SDK's server behind memory streams.

Imported together with the SDK, after READY (anyio alone costs tens of milliseconds).
"""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from anyio.streams.memory import MemoryObjectSendStream

from aleph_agentd.domain.caller import Caller
from aleph_agentd.gateway.lines import MAX_LINE, LineSplitter
from aleph_agentd.gateway.rpc.rate import Turn, cost_of_line, cost_of_reading

log = logging.getLogger(__name__)

MAX_IN_FLIGHT = 64
MAX_CALLS = 16
MAX_ID_LENGTH = 128
READ_SIZE = 64 * 1024
OUTPUT_MESSAGES = 16
STALL_S = 30.0

UPDATED = "notifications/resources/updated"
PARSE_ERROR, INVALID_REQUEST, BUSY = -32700, -32600, -32010

RequestId = int | str


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message as it came; `id` is set exactly if it is a request."""

    message: Any
    id: RequestId | None = None
    method: str = ""


class Malformed(Exception):
    """A line that is no message."""

    def __init__(self, code: int, message: str, request_id: RequestId | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.request_id = request_id


class Sdk(Protocol):
    """What a session needs of the MCP SDK; mcp_server.py has it."""

    def parse(self, line: bytes) -> Incoming:
        """Read one line; raises Malformed."""

    def envelope(self, incoming: Incoming, unanswered: Any) -> Any:
        """Wrap a message for the SDK, which calls `unanswered` if it will not answer it."""

    def error(self, code: int, message: str, request_id: RequestId | None) -> Any:
        """An error answer."""

    def notification(self, method: str, params: dict[str, Any]) -> Any:
        """A notification."""

    def dump(self, outgoing: Any) -> tuple[bytes, RequestId | None]:
        """The line of a message, and the id that it answers."""

    async def run(
        self, session: "McpSession", read: ObjectReceiveStream[Any], write: ObjectSendStream[Any]
    ) -> None:
        """Serve until `read` ends."""


class McpSession:
    """One shim's conversation: who it is, what it has in flight, and the two pumps."""

    def __init__(self, sdk: Sdk, caller: Caller, nonce: str, turn: Turn) -> None:
        self.caller = caller
        self.calls = 0
        """Tools that run now; the SDK's handler counts them."""
        self._sdk = sdk
        self._nonce = nonce
        self._turn = turn
        self._in_flight: dict[str, str] = {}
        self._no_calls = anyio.Event()
        self._no_calls.set()
        self.subscribed: set[str] = set()
        """Resources whose changes a client of the handshake era wants to hear of."""
        self._untold: set[str] = set()
        self._outgoing: MemoryObjectSendStream[Any] | None = None

    def request_key(self, id_: RequestId) -> str:
        """The idempotency key of a request: a shim that sends it again means the same one."""
        return f"{self._nonce}:{type(id_).__name__}:{id_}"

    def tell_updates(self, changed: Collection[str]) -> bool:
        """Tell a client of the handshake era which resources that it subscribed to changed; False while it does not read.

        What it could not be told is kept, once for each resource.
        """
        self._untold |= self.subscribed & set(changed)
        while self._untold and self._outgoing is not None:
            uri = min(self._untold)
            try:
                self._outgoing.send_nowait(self._sdk.notification(UPDATED, {"uri": uri}))
            except anyio.WouldBlock:
                return False
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return True  # it has left
            self._untold.discard(uri)
        return True

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, draining: asyncio.Event
    ) -> None:
        """Converse until the client hangs up, or until its calls are done once the daemon drains."""
        incoming_send, incoming = anyio.create_memory_object_stream[Any](0)
        outgoing, outgoing_receive = anyio.create_memory_object_stream[Any](OUTPUT_MESSAGES)
        self._outgoing = outgoing.clone()
        with incoming_send, incoming, outgoing, outgoing_receive, self._outgoing:
            async with anyio.create_task_group() as writing:
                writing.start_soon(self._write_lines, outgoing_receive, writer)
                async with anyio.create_task_group() as reading:
                    reading.start_soon(self._read_lines, reader, incoming_send, draining)
                    await self._sdk.run(self, incoming, outgoing)
                    reading.cancel_scope.cancel()
                # The writer ends when both ends that write to it have.
                self._outgoing.close()

    async def _read_lines(
        self, reader: asyncio.StreamReader, to_sdk: MemoryObjectSendStream[Any], draining: asyncio.Event
    ) -> None:
        async with to_sdk:
            gone = False
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._cancel_when, draining, group.cancel_scope)
                    await self._read_until_eof(reader, to_sdk)
                    group.cancel_scope.cancel()
            except* (OSError, anyio.BrokenResourceError):
                gone = True  # the client has left, or the SDK is done with it
            if not gone and draining.is_set() and not reader.at_eof():
                await self._no_calls.wait()

    @staticmethod
    async def _cancel_when(event: asyncio.Event, scope: anyio.CancelScope) -> None:
        await event.wait()
        scope.cancel()

    async def _read_until_eof(
        self, reader: asyncio.StreamReader, to_sdk: MemoryObjectSendStream[Any]
    ) -> None:
        splitter = LineSplitter()
        while data := await reader.read(READ_SIZE):
            # A daemon that drains waits for nobody who has to wait; what others sent is taken whole.
            await self._turn(cost_of_reading(len(data)))
            for line in splitter.feed(data):
                await self._turn(cost_of_line(len(line or b"")))
                with anyio.CancelScope(shield=True):
                    await self._accept(line, to_sdk)

    async def _accept(self, line: bytes | None, to_sdk: MemoryObjectSendStream[Any]) -> None:
        if line == b"":
            return
        try:
            if line is None:
                raise Malformed(PARSE_ERROR, f"Parse error: a line is over the limit of {MAX_LINE} bytes")
            incoming = self._sdk.parse(line)
            if incoming.id is not None:
                self._register(incoming.id, incoming.method)
        except Malformed as problem:
            assert self._outgoing is not None
            await self._outgoing.send(self._sdk.error(problem.code, str(problem), problem.request_id))
            return
        await to_sdk.send(self._sdk.envelope(incoming, lambda: self._unanswered(incoming.id)))

    def _register(self, id_: RequestId, method: str) -> None:
        if isinstance(id_, str) and len(id_) > MAX_ID_LENGTH:
            raise Malformed(INVALID_REQUEST, f"an id has at most {MAX_ID_LENGTH} characters")
        # The SDK takes "7" for 7 when it looks for what to cancel.
        if str(id_) in self._in_flight:
            # Not under that id: its answer would be taken for the first one's.
            raise Malformed(INVALID_REQUEST, f"request id {id_!r} is still in flight")
        if len(self._in_flight) >= MAX_IN_FLIGHT:
            raise Malformed(BUSY, f"more than {MAX_IN_FLIGHT} requests in flight: wait for one", id_)
        self._in_flight[str(id_)] = method
        if method == "tools/call" and self._no_calls.is_set():
            self._no_calls = anyio.Event()

    def _settle(self, id_: RequestId) -> None:
        self._in_flight.pop(str(id_), None)
        if "tools/call" not in self._in_flight.values():
            self._no_calls.set()

    async def _unanswered(self, id_: RequestId | None) -> None:
        if id_ is not None:
            self._settle(id_)

    async def _write_lines(self, outgoing: ObjectReceiveStream[Any], writer: asyncio.StreamWriter) -> None:
        async with outgoing:
            async for message in outgoing:
                line, answered = self._sdk.dump(message)
                writer.write(line + b"\n")
                if not await _drained(writer):
                    writer.transport.abort()
                    return
                if answered is not None:
                    self._settle(answered)


async def _drained(writer: asyncio.StreamWriter) -> bool:
    """Whether the client took what was written, within STALL_S."""
    if writer.transport.get_write_buffer_size() == 0 and not writer.is_closing():
        return True
    try:
        async with asyncio.timeout(STALL_S):
            await writer.drain()
    except OSError:  # TimeoutError is one
        return False
    return True
