"""One RPC connection: frames in, handlers run, answers out, and every queue between them bounded."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, cast

from aleph_agentd.domain.caller import Peer
from aleph_agentd.domain.errors import Conflict, Refusal
from aleph_agentd.gateway.rpc import protocol
from aleph_agentd.gateway.rpc.answers import INTERNAL, STOPPED, error_of, unknown_method
from aleph_agentd.gateway.rpc.outbox import Outbox
from aleph_agentd.gateway.rpc.peer import Limits, hang_up, peer_of
from aleph_agentd.gateway.rpc.protocol import Notification, Params, ProtocolError, Request, Response
from aleph_agentd.gateway.rpc.rate import Allowance, Buckets, Pacer, cost_of, cost_of_reading

log = logging.getLogger(__name__)
Handler = Callable[["Connection", Params], Awaitable[object] | object]
"""Answers one method. A plain function answers within the same turn of the loop, without a task."""
Methods = Mapping[str, Handler]
Session = Callable[[asyncio.StreamReader, asyncio.StreamWriter, asyncio.Event], Awaitable[None]]
"""Owns an upgraded connection until it returns; the event is set when the daemon drains."""


class Owner(Protocol):
    """What a connection needs of its server."""

    limits: Limits
    draining: asyncio.Event
    processes: Buckets
    users: Buckets

    @property
    def share(self) -> int:
        """How many frames one connection may have decoded in a turn."""

    def admit(self, connection: "Connection") -> Refusal | None:
        """Count the connection in, or say why not."""

    def forget(self, connection: "Connection") -> None:
        """The connection is gone."""


class Connection(asyncio.Protocol):
    """The server's end of one client: who it is, what it runs, and a way to tell it things."""

    peer: Peer

    def __init__(self, owner: Owner, methods: Methods, *, human: bool) -> None:
        self._owner = owner
        self._methods = methods
        self._human = human
        self._loop = asyncio.get_running_loop()
        self._decoder = protocol.Decoder()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._session: Session | None = None
        self._session_task: asyncio.Task[None] | None = None
        self._closing = False
        self._pump_due = False
        self.pace = Pacer(self._loop)
        """How fast it may ask; an upgraded connection takes its turns by itself."""
        self._on_close: list[Callable[[], None]] = []

    # What handlers use

    def notify(self, method: str, params: Params) -> bool:
        """Tell the client; False if it stopped reading, so that its watch was dropped."""
        return (
            not self._closing and self._session is None and self._outbox.offer(Notification(method, params))
        )

    def watch(self) -> None:
        """Begin notifications anew after a watch was dropped."""
        self._outbox.reopen()

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call back once when the client is gone."""
        self._on_close.append(callback)

    def upgrade(self, session: Session) -> None:
        """Hand the connection to `session` once this answer is written, bytes already read included.

        Only a plain (not async) handler can: what follows its frame is no longer ours to decode.
        """
        if self._running or not self._outbox.empty:
            raise Conflict("other requests of this connection are open", "upgrade on a fresh connection")
        self._session = session

    # What the server uses

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Everything that runs for this client."""
        return [*self._running.values(), *([self._session_task] if self._session_task else [])]

    def stop_reading(self) -> None:
        """Take no more requests; those that run go on."""
        if self._session_task is None:
            self._pause()

    def close(self) -> None:
        """Write what is buffered, then hang up."""
        self._closing = True
        hang_up(self._transport, self._loop)

    def abort(self) -> None:
        """Hang up now."""
        self._closing = True
        self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find out who it is, and whether there is room."""
        self._transport = cast(asyncio.Transport, transport)
        self._outbox = Outbox(self._transport, self._loop, self._owner.limits.stall_s, self._schedule_pump)
        self.peer = peer_of(transport.get_extra_info("socket"), human=self._human)
        if not self._human:
            rates = self._owner.processes, self._owner.users
            self.pace.allowance = Allowance(*rates, self.peer.pid, self.peer.uid)
        if refusal := self._owner.admit(self):
            self._hang_up(refusal)

    def data_received(self, data: bytes) -> None:
        """Take what came, as far as the limits allow."""
        if self._closing:
            return
        self.pace.count(cost_of_reading(len(data)))
        try:
            self._decoder.feed(data)
        except ProtocolError as problem:
            self._malformed(problem)
            return
        self._pump()

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self._outbox.pause()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._outbox.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting for this client; jobs of the daemon are not its to stop."""
        self._closing = True
        self.pace.cancel()
        self._outbox.close()
        for task in self._running.values():
            task.cancel()
        self._gone()

    # The pump

    def _pump(self) -> None:
        """Decode and start a fair share of the requests that wait."""
        self._pump_due = False
        for _ in range(self._owner.share):
            if self._closing or self._session is not None:
                return
            if self._full():
                self._pause()
                return
            if self.pace.wait_s():
                self._pause()
                self.pace.later(self._pump)
                return
            try:
                message = self._decoder.next()
            except ProtocolError as problem:
                self.pace.count(cost_of(self._decoder.size))
                self._malformed(problem)
                continue
            if message is None:
                self._resume()
                return
            self.pace.count(cost_of(self._decoder.size, getattr(message, "method", "")))
            self._take(message)
        self._pause()
        self._schedule_pump()

    def _full(self) -> bool:
        return (
            len(self._running) >= self._owner.limits.in_flight
            or not self._outbox.writable
            or self._owner.draining.is_set()
        )

    def _schedule_pump(self) -> None:
        if not self._pump_due:
            self._pump_due = True
            self._loop.call_soon(self._pump)

    def _pause(self) -> None:
        if self._transport.is_reading():
            self._transport.pause_reading()

    def _resume(self) -> None:
        if not self._transport.is_reading() and not self._transport.is_closing():
            self._transport.resume_reading()

    def _take(self, message: protocol.Message) -> None:
        match message:
            case Request():
                self._start(message)
            case Response():
                self._malformed(ProtocolError("nothing was asked of you"))
            case Notification():
                pass  # a call without an answer has no use here

    def _start(self, request: Request) -> None:
        if request.id in self._running:
            self._malformed(ProtocolError(f"request id {request.id} is still in flight"))
            return
        handler = self._methods.get(request.method)
        if handler is None:
            self._answer(Response(request.id, unknown_method(request.method, self._methods).as_dict()))
            return
        try:
            outcome = handler(self, request.params)
        except Exception as problem:  # noqa: BLE001 - the edge where handlers' failures become answers
            self._answer(Response(request.id, error_of(problem, request.method)))
            return
        if isinstance(outcome, Awaitable):
            self._running[request.id] = self._loop.create_task(self._finish(request, outcome))
            return
        self._answer(Response(request.id, None, outcome))
        if self._session is not None:
            self._hand_over(self._session)

    async def _finish(self, request: Request, outcome: Awaitable[object]) -> None:
        try:
            response = Response(request.id, None, await outcome)
        except asyncio.CancelledError:
            self._settle(Response(request.id, STOPPED.as_dict()))
            raise
        except Exception as problem:  # noqa: BLE001 - the edge where handlers' failures become answers
            response = Response(request.id, error_of(problem, request.method))
        # Results wait here, counted as in flight, and not in an ever longer buffer.
        await self._outbox.until_writable()
        self._settle(response)

    def _settle(self, response: Response) -> None:
        del self._running[response.id]
        if not self._closing:
            self._answer(response)
            self._schedule_pump()

    # Answers and ends

    def _answer(self, response: Response) -> None:
        try:
            self._outbox.write(protocol.encode(response))
        except ProtocolError as problem:
            log.error("the answer to request %d cannot be sent: %s", response.id, problem)
            self._outbox.write(protocol.encode(Response(response.id, INTERNAL.as_dict())))

    def _malformed(self, problem: ProtocolError) -> None:
        refusal = Refusal(str(problem), "see the MessagePack-RPC specification", code="malformed")
        if problem.request_id is not None and problem.request_id not in self._running:
            self._answer(Response(problem.request_id, refusal.as_dict()))
        else:
            self._hang_up(refusal)

    def _hang_up(self, refusal: Refusal) -> None:
        """Say why in a notification, since no request can be named, and close."""
        self._outbox.write(protocol.encode(Notification("error", refusal.as_dict())))
        self.close()

    def _hand_over(self, session: Session) -> None:
        reader = asyncio.StreamReader(limit=self._owner.limits.line, loop=self._loop)
        streams = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        rest = self._decoder.leftover()
        self._outbox.close()
        self._transport.set_protocol(streams)
        streams.connection_made(self._transport)
        self._resume()
        if rest:
            reader.feed_data(rest)
        writer = asyncio.StreamWriter(self._transport, streams, reader, self._loop)
        self._session_task = self._loop.create_task(self._serve(session, reader, writer))

    async def _serve(
        self, session: Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await session(reader, writer, self._owner.draining)
        except Exception:
            # The edge of a session: its end must not be the daemon's.
            log.exception("a session of pid %d ended with an error", self.peer.pid)
        finally:
            hang_up(self._transport, self._loop)
            self._gone()

    def _gone(self) -> None:
        self._owner.forget(self)
        callbacks, self._on_close = self._on_close, []
        for callback in callbacks:
            callback()
