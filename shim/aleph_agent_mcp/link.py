"""The connection to the daemon: found, opened with `mcp.open`, then a byte stream; kept or lost."""

import os
from _socket import AF_UNIX, MSG_NOSIGNAL, SOCK_STREAM, socket  # `socket` adds 11 ms to every agent's start

from aleph_agent_mcp.wire import MAX_ANSWER, Truncated, pack, unpack

OPEN_SECONDS = 10.0
FIRST_DELAY, LAST_DELAY = 0.05, 2.0
REFUSED_DELAY = 60.0  # whoever asks a daemon that cannot run starts it, under systemd, for nothing
CHUNK = 64 * 1024
MAX_VARIABLES, MAX_TEXT = 64, 512
RUN_USER = "/run/user"
SYSTEM_SOCKET = "/run/aleph-agentd/agent.sock"

DOWN, OPENING, OPEN = "down", "opening", "open"


def default_socket() -> str:
    """Where a daemon of this account listens that was started without any setting."""
    return f"{RUN_USER}/{os.getuid()}/aleph-agentd/agent.sock"


def socket_paths() -> list[str]:
    """Where the daemon may listen, most specific first."""
    chosen = os.environ.get("ALEPH_AGENT_RUNTIME_DIR")
    if chosen:
        return [chosen + "/agent.sock"]
    session = os.environ.get("XDG_RUNTIME_DIR")
    paths = [session + "/aleph-agentd/agent.sock"] if session else []
    return [*paths, default_socket(), SYSTEM_SOCKET]


def opening() -> bytes:
    """The `mcp.open` request: who speaks, under a name that a later connection can claim again."""
    env = sorted((k, v[:MAX_TEXT]) for k, v in os.environ.items() if k.startswith("ALEPH_AGENT_"))
    try:
        cwd = os.getcwd()
    except OSError:
        cwd = ""  # it was deleted under us
    preamble = {
        "client_pid": os.getppid(),
        "cwd": cwd[:4096],
        "project_dir": os.environ.get("CLAUDE_PROJECT_DIR", "")[:4096],
        "client_session": os.environ.get("CLAUDE_CODE_SESSION_ID", "")[:MAX_TEXT],
        "env": dict(env[:MAX_VARIABLES]),
    }
    return pack([0, 1, "mcp.open", [{"nonce": os.urandom(16).hex(), "version": 1, "preamble": preamble}]])


class Link:
    """One connection at a time to one daemon; never blocks."""

    def __init__(self) -> None:
        self.state = DOWN
        self.out = bytearray()
        self.refusal = ""
        self.next_try = 0.0
        self.deadline: float | None = None  # by when the daemon must have answered what holds everything up
        self._paths = socket_paths()
        self._frame = opening()
        self._delay = FIRST_DELAY
        self._socket: socket | None = None
        self._path = ""
        self._answer = b""

    def fileno(self) -> int:
        """The socket's number; -1 when there is none."""
        return self._socket.fileno() if self._socket else -1

    def try_connect(self, now: float) -> None:
        """Connect if anything listens; otherwise try again later, and later still."""
        for path in self._paths:
            candidate = socket(AF_UNIX, SOCK_STREAM)
            candidate.setblocking(False)
            try:
                candidate.connect(path)
            except OSError:
                candidate.close()
                continue
            self._socket, self._path, self.state = candidate, path, OPENING
            self.out[:], self._answer = self._frame, b""
            self.deadline = now + OPEN_SECONDS
            return
        self._later(now)

    def receive(self, now: float) -> bytes | None:
        """What the daemon sent; b"" for nothing yet, None when the connection is lost."""
        assert self._socket is not None
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if data and self.state == OPENING:
            return self._opened(data, now)
        if not data:
            self.lose(now)
            return None
        self._delay = FIRST_DELAY
        return data

    def send(self, now: float) -> None:
        """Write as much as the daemon takes."""
        assert self._socket is not None
        try:
            # Without the flag a daemon that is gone would end us: SIGPIPE is at its default.
            del self.out[: self._socket.send(self.out[:CHUNK], MSG_NOSIGNAL)]
        except BlockingIOError:
            return
        except OSError:
            self.lose(now)

    def finish(self) -> None:
        """Tell the daemon that nothing more will come."""
        assert self._socket is not None
        try:
            self._socket.shutdown(1)
        except OSError:
            pass

    def lose(self, now: float) -> None:
        """Drop the connection; a new one will be tried soon."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self.state, self.deadline = None, DOWN, None
        self.out.clear()
        self._later(now)

    def _opened(self, data: bytes, now: float) -> bytes | None:
        self._answer += data
        try:
            message, end = unpack(self._answer)
        except Truncated:
            if len(self._answer) <= MAX_ANSWER:
                return b""
            message = end = 0
        except ValueError:
            message = end = 0
        if not isinstance(message, list) or message[:3] != [1, 1, None]:
            self.refusal, self._delay = _words(message), max(self._delay, LAST_DELAY)
            self.lose(now)
            return None
        self.state, self.deadline, self.refusal = OPEN, None, ""
        # Re-sending to another daemon, with another inventory, could rent a second VM.
        self._paths = [self._path]
        return self._answer[end:]

    def _later(self, now: float) -> None:
        self.next_try = now + self._delay
        self._delay = min(self._delay * 2, REFUSED_DELAY if self.refusal else LAST_DELAY)


def _words(message: object) -> str:
    error = message[2] if isinstance(message, list) and len(message) > 2 else None
    if isinstance(error, dict):
        return f"the daemon refused this session: {error.get('message', '')} {error.get('hint', '')}".strip()[
            :1000
        ]
    return "what listens there does not speak as aleph-agentd does"
