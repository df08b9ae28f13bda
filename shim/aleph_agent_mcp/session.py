"""One client's conversation, across as many connections to the daemon as it takes, or none at all."""

from aleph_agent_mcp.book import LEARNT, Book, Request
from aleph_agent_mcp.lines import MAX_LINE, Lines, TooLong, parse
from aleph_agent_mcp.link import DOWN, OPEN, OPEN_SECONDS, Link
from aleph_agent_mcp.say import say

TYPE_CHECKING = False  # `typing` costs milliseconds of every agent's start
if TYPE_CHECKING:
    from aleph_agent_mcp.start import Starter

MAX_ANSWER_LINE = 16 * 1024 * 1024
START_SECONDS, LOSS_SECONDS = 10.0, 30.0
UNAIDED_SECONDS = 1.0  # patience when nothing was started that could still come up
LIST_CHANGED = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n'


class Session:
    """Lines from the client go in by `take`; lines for it collect in `down`."""

    def __init__(self) -> None:
        self.link, self.book = Link(), Book()
        self.down = bytearray()
        self.learnt: dict[str, bytes] = {}
        self._lines = Lines(MAX_ANSWER_LINE)
        self._starter: Starter | None = None
        self._was_open = False
        self._away = False  # patience is over: everything is answered here until a daemon is back
        self._spoke_for_daemon = False
        self._holding = False  # a repeated `initialize` must be answered before anything follows it
        self._give_up_at: float | None = None
        self._start_at = 0.0

    # -- time --------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due: connect, give a silent daemon up, lose patience."""
        link = self.link
        if link.state == DOWN and now >= link.next_try:
            link.try_connect(now)
        if link.deadline is not None and now >= link.deadline:
            link.refusal = "it accepts connections but does not answer"
            link.lose(now)
            self.lost()
        if self._starter is not None:
            self._starter.check()
        # An idle shim starts nothing: its daemon may have been stopped on purpose.
        wanted = self.book.pending or not self._was_open
        if link.state == OPEN or self._away or not wanted:
            self._give_up_at = None
        else:
            self._lose_patience(now)

    def due(self) -> list[float]:
        """When `tick` has something to do."""
        times = [self.link.next_try] if self.link.state == DOWN else [self.link.deadline]
        return [at for at in (*times, self._give_up_at) if at is not None]

    def _lose_patience(self, now: float) -> None:
        if self._give_up_at is None:
            self._give_up_at = now + (LOSS_SECONDS if self._was_open else START_SECONDS)
            # One that was there may be on its way back by itself: after an upgrade, say.
            self._start_at = now + (UNAIDED_SECONDS if self._was_open else 0)
        if self._starter is None and self.link.state == DOWN and now >= self._start_at:
            self._starter = new_starter()
            self._starter.begin()
        if self._starter is not None and self._starter.hopeless and not self._was_open:
            self._give_up_at = min(self._give_up_at, now + UNAIDED_SECONDS)
        if now >= self._give_up_at:
            self._away, self._give_up_at = True, None
            say(f"{self._why()}; start it with: {self._command()}")
            self._answer_all()

    # -- from the client ---------------------------------------------------------------------------------------

    def is_live(self) -> bool:
        """Whether the daemon takes lines now."""
        return self.link.state == OPEN and not self._holding

    def take(self, line: bytes, now: float) -> None:
        """A line of the client's."""
        message = parse(line)
        fields = message if isinstance(message, dict) else {}
        method = fields.get("method")
        if isinstance(method, str) and "id" in fields:
            self._take_request(fields, line, now)
            return
        if method == "notifications/initialized":
            self.book.initialized = line
        elif method == "notifications/cancelled":
            params = fields.get("params")
            self.book.pop(params.get("requestId") if isinstance(params, dict) else None)
        # What needs no answer means nothing to another connection than the one it was said for.
        if self.is_live():
            self.link.out += line + b"\n"
        elif message is None and self._away:
            self._refuse(None, "this line is not JSON", -32700)

    def refuse_too_long(self, line: TooLong) -> None:
        """A line of the client's that had to be dropped."""
        self._refuse(
            line.id, f"this message is longer than {MAX_LINE} bytes, the most that aleph-agentd takes"
        )

    def _take_request(self, message: dict[str, object], line: bytes, now: float) -> None:
        request = self.book.add(message, line)
        if request is None or (request.line is None and not self.is_live()):
            self.book.pop(message["id"])
            self._refuse(message["id"], "too many requests are open, or the id is too long")
        elif self.is_live():
            self._send(request, line)
        elif self._away:
            if self.link.state == DOWN:
                self.link.try_connect(now)  # it may have been started since
            if self.link.state == DOWN:
                self._answer(request)

    def _send(self, request: Request, line: bytes) -> None:
        request.live = True
        request.sends += 1
        self.link.out += line + b"\n"

    # -- from the daemon ---------------------------------------------------------------------------------------

    def receive(self, now: float) -> None:
        """Read what the daemon sent."""
        was = self.link.state
        data = self.link.receive(now)
        if was != OPEN and self.link.state == OPEN:
            self._opened(now)
        for line in self._lines.feed(data) if data else ():
            if isinstance(line, TooLong):
                self.link.lose(now)
                return
            self._deliver(line)

    def _deliver(self, line: bytes) -> None:
        message = parse(line)
        if isinstance(message, dict) and "id" in message and "method" not in message:
            shaken = self.book.is_shaken()
            request = self.book.pop(message["id"])
            handshake = self.book.handshake
            if self._holding and handshake is not None and handshake.key == repr(message["id"]):
                self._release()
                if shaken:
                    return  # the client has had its answer already
            if request is not None and request.method in LEARNT and not request.params.get("paged"):
                self.learnt[request.method] = line
        self.down += line + b"\n"

    def _opened(self, now: float) -> None:
        if self._was_open or self._away:
            say("the daemon is back")
        self._lines = Lines(MAX_ANSWER_LINE)
        self._was_open, self._away, self._starter = True, False, None
        handshake = self.book.handshake
        if handshake is None or handshake.line is None:
            self._send_waiting()
            return
        self._holding, self.link.deadline = True, now + OPEN_SECONDS
        self._send(handshake, handshake.line)

    def _release(self) -> None:
        self._holding, self.link.deadline = False, None
        if self.book.initialized is not None:
            self.link.out += self.book.initialized + b"\n"
        self._send_waiting()
        if self._spoke_for_daemon:
            self._spoke_for_daemon = False
            self.down += LIST_CHANGED

    def _send_waiting(self) -> None:
        for request in self.book.pending.values():
            if not request.live and request.line is not None:
                self._send(request, request.line)

    def lost(self) -> None:
        """The connection broke; what was under way waits for the next one."""
        if self._was_open and not self._holding and not self._away and not self._starter:
            say("the connection to the daemon broke; connecting again")
        self._holding = False
        for request in self.book.lost():
            self._answer(request)
        if self._away:
            self._answer_all()

    # -- answers of our own ------------------------------------------------------------------------------------

    def _answer_all(self) -> None:
        for request in list(self.book.pending.values()):
            self._answer(request)

    def _answer(self, request: Request) -> None:
        from aleph_agent_mcp import away  # brings json along

        self.book.pop(request.id)
        self._spoke_for_daemon |= request.method in LEARNT
        self.down += away.answer(request, self._why(), self._command())

    def _refuse(self, id_: object, message: str, code: int = -32600) -> None:
        from aleph_agent_mcp import away

        self.down += away.error(id_, message, code)

    def _why(self) -> str:
        return self.link.refusal or (self._starter.why if self._starter else "the connection broke")

    def _command(self) -> str:
        return (self._starter or new_starter()).command

    def keep_learnt(self) -> None:
        """Remember what is of use while the daemon is away; costs too much while anybody waits."""
        if self.learnt:
            from aleph_agent_mcp import cache

            cache.save(self.learnt)
            self.learnt = {}


def new_starter() -> "Starter":
    """Imported late: a daemon that is there needs no start."""
    from aleph_agent_mcp.start import Starter

    return Starter()
