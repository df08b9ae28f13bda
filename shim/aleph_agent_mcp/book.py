"""What a client still waits for, and what a new connection to the daemon must be told again."""

MAX_REQUESTS = 64
MAX_BYTES = 4 * 1024 * 1024
MAX_IDS = 1024
MAX_ID = 256
MAX_SENDS = 3  # a request that takes the daemon down every time must not do so for ever
LEARNT = ("tools/list", "initialize", "server/discover")  # answers that are of use while the daemon is away
ENVELOPE = "io.modelcontextprotocol/protocolVersion"


class Request:
    """A request that is not answered yet; `line` is None if there was no room to keep it."""

    __slots__ = ("id", "key", "line", "live", "method", "params", "sends")

    def __init__(self, message: dict[str, object], line: bytes | None) -> None:
        self.id = message["id"]
        self.key = repr(self.id)  # typed: 1 and "1" are two requests
        self.method = str(message["method"])[:100]
        self.params = _digest(message.get("params"))
        self.line = line
        self.live = False  # on its way over the present connection
        self.sends = 0


class Book:
    """The unanswered requests of one client, oldest first, and its handshake."""

    def __init__(self) -> None:
        self.pending: dict[str, Request] = {}
        self.handshake: Request | None = None
        self.initialized: bytes | None = None
        self._bytes = 0

    def add(self, message: dict[str, object], line: bytes) -> Request | None:
        """Note a request; None if its id is too long, or too many requests are open."""
        if len(self.pending) >= MAX_IDS or len(repr(message["id"])) > MAX_ID:
            return None
        self.pop(message["id"])
        full = len(self.pending) >= MAX_REQUESTS or self._bytes + len(line) > MAX_BYTES
        shakes = message["method"] == "initialize"
        request = Request(message, line if shakes or not full else None)
        self.pending[request.key] = request
        self._bytes += len(request.line or b"")
        if shakes:
            self.handshake, self.initialized = request, None  # its line is kept after the answer, for replays
        return request

    def pop(self, id_: object) -> Request | None:
        """A request was answered or cancelled."""
        request = self.pending.pop(repr(id_), None)
        if request is not None:
            self._bytes -= len(request.line or b"")
        return request

    def lost(self) -> list[Request]:
        """The connection broke; returns the requests that cannot be sent again."""
        for request in self.pending.values():
            request.live = False
        hopeless = [r for r in self.pending.values() if r.sends and (r.line is None or r.sends >= MAX_SENDS)]
        return [request for request in hopeless if self.pop(request.id)]

    def is_shaken(self) -> bool:
        """Whether the client's `initialize` has been answered, by whomever."""
        return self.handshake is not None and self.handshake.key not in self.pending


def _digest(params: object) -> dict[str, object]:
    # Only what an answer while the daemon is away depends on: params may be as large as a line.
    if not isinstance(params, dict):
        return {}
    meta = params.get("_meta")
    modern = isinstance(meta, dict) and ENVELOPE in meta
    version = str(params.get("protocolVersion", ""))[:20]
    return {"modern": modern, "version": version, "paged": "cursor" in params}
