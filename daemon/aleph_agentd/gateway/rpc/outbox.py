"""What waits to be written to one client: a bounded amount, for a bounded time."""

import asyncio
from collections import deque
from collections.abc import Callable

from aleph_agentd.gateway.rpc.protocol import Notification, encode

MAX_NOTIFICATIONS = 256
MAX_NOTIFICATION_BYTES = 1024 * 1024

DROPPED = Notification(
    "watch.dropped",
    {
        "code": "too_slow",
        "message": "events came faster than they were read, so this watch ended here",
        "hint": "ask again; what happened meanwhile is in the lists",
        "data": {},
    },
)


class Outbox:
    """Writes frames as long as the client reads; then answers wait, and notifications queue up to a limit."""

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        stall_s: float,
        on_writable: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._stall_s = stall_s
        self._on_writable = on_writable
        self._stall: asyncio.TimerHandle | None = None
        self._resumed: asyncio.Event | None = None
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._dropped = False

    @property
    def writable(self) -> bool:
        """Whether the client keeps up."""
        return self._resumed is None

    @property
    def empty(self) -> bool:
        """Whether everything written was taken by the kernel."""
        return not self._queue and self._transport.get_write_buffer_size() == 0

    def write(self, frame: bytes) -> None:
        """Write an answer; ask `writable` before producing many. Who has hung up gets none."""
        if not self._transport.is_closing():
            self._transport.write(frame)

    async def until_writable(self) -> None:
        """Wait until the client reads; it is hung up on when it does not."""
        while self._resumed is not None:
            await self._resumed.wait()

    def offer(self, notification: Notification) -> bool:
        """Write or queue a notification; False once the watch was dropped."""
        if self._dropped:
            return False
        frame = encode(notification)
        if self.writable:
            self._transport.write(frame)
            return True
        if len(self._queue) >= MAX_NOTIFICATIONS or self._queued_bytes + len(frame) > MAX_NOTIFICATION_BYTES:
            self._dropped = True
            frame = encode(DROPPED)
        self._queue.append(frame)
        self._queued_bytes += len(frame)
        return not self._dropped

    def reopen(self) -> None:
        """Take notifications again."""
        self._dropped = False

    def pause(self) -> None:
        """The transport's buffer is full."""
        self._resumed = asyncio.Event()
        self._stall = self._loop.call_later(self._stall_s, self._transport.abort)

    def resume(self) -> None:
        """The transport's buffer is empty enough; what queued goes first."""
        self.close()
        while self._queue and self.writable:
            frame = self._queue.popleft()
            self._queued_bytes -= len(frame)
            self._transport.write(frame)
        if self.writable:
            self._on_writable()

    def close(self) -> None:
        """Let go of the timer and of whoever waits."""
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None
