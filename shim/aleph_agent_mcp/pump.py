"""Bytes between the client's stdin and stdout and the session, without ever blocking on either side."""

import os
from select import POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, poll
from time import monotonic

from aleph_agent_mcp.lines import Lines, TooLong
from aleph_agent_mcp.link import CHUNK, DOWN, OPEN
from aleph_agent_mcp.session import START_SECONDS, Session

MAX_DOWN = 4 * 1024 * 1024
MAX_UP = 2 * 1024 * 1024
ATOMIC = 4096  # a ready pipe or socket takes this much without blocking
END_SECONDS = 2.0
IDLE_SECONDS = 0.3
BROKEN = POLLERR | POLLHUP | POLLNVAL


class Pump:
    """One client, on two file descriptors, and its session."""

    def __init__(self, session: Session, stdin: int = 0, stdout: int = 1) -> None:
        self._session, self._link = session, session.link
        self._stdin, self._stdout = stdin, stdout
        self._lines = Lines()
        self._ended_at: float | None = None  # the client's end of input: by when all has to be over
        self._said_end = False
        self._client_gone = False

    def run(self) -> None:
        """Serve until the client or, after the client's end of input, the daemon is done."""
        session = self._session
        while not self._is_done(now := monotonic()):
            if not self._is_over():
                session.tick(now)
            ready = self._wait(now)
            self._transfer(ready, monotonic())
            if not ready and not session.down:
                session.keep_learnt()
        session.keep_learnt()

    def _wait(self, now: float) -> dict[int, int]:
        session, link = self._session, self._link
        watch = poll()
        # A client that does not read stops the daemon's output, not this loop.
        roomy = len(session.down) < MAX_DOWN
        watch.register(self._stdout, POLLOUT if session.down else 0)
        if self._ended_at is None and roomy and len(link.out) < MAX_UP:
            watch.register(self._stdin, POLLIN)
        if link.state != DOWN:
            watch.register(link.fileno(), (POLLIN if roomy else 0) | (POLLOUT if link.out else 0))
        due = [] if self._is_over() else session.due()
        if self._ended_at is not None:
            due.append(self._ended_at)
        if session.learnt and not session.down:
            due.append(now + IDLE_SECONDS)
        return dict(watch.poll(max(0, int((min(due) - now) * 1000) + 1) if due else None))

    def _is_over(self) -> bool:
        return self._said_end and self._link.state == DOWN

    def _is_done(self, now: float) -> bool:
        if self._client_gone or self._ended_at is None:
            return self._client_gone
        if now >= self._ended_at:
            return True
        if self._session.down or self._link.state == OPEN:
            return False
        return self._said_end or not self._session.book.pending

    def _transfer(self, ready: dict[int, int], now: float) -> None:
        socket = self._link.fileno()  # as it was when it was waited for
        if ready.get(self._stdin):
            self._read_client(now)
        if socket in ready and self._link.fileno() == socket:
            self._exchange(ready[socket], now)
        if ready.get(self._stdout, 0) & BROKEN:
            self._client_gone = True
        elif ready.get(self._stdout):
            del self._session.down[: os.write(self._stdout, self._session.down[:ATOMIC])]
        if (
            self._ended_at is not None
            and not self._said_end
            and self._session.is_live()
            and not self._link.out
        ):
            self._said_end = True
            self._ended_at = now + END_SECONDS
            self._link.finish()

    def _read_client(self, now: float) -> None:
        try:
            data = os.read(self._stdin, CHUNK)
        except OSError:
            data = b""
        for line in self._lines.feed(data):
            if isinstance(line, TooLong):
                self._session.refuse_too_long(line)
            else:
                self._session.take(line, now)
        if not data:
            self._ended_at = now + START_SECONDS + END_SECONDS

    def _exchange(self, events: int, now: float) -> None:
        if events & POLLOUT:
            self._link.send(now)
        if events & (POLLIN | BROKEN) and self._link.state != DOWN:
            self._session.receive(now)
        if self._link.state == DOWN and not self._said_end:
            self._session.lost()
