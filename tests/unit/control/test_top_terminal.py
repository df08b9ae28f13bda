"""`top` in a terminal of its own: keys, sizes, signals, and the terminal as it was, however it ends."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

from aleph_agentd.control.top.screen import parse
from unit.control.test_top_drawing import STATUS, request

_SCRIPT = "import sys; from aleph_agentd.control.__main__ import main; sys.exit(main())"
_PATIENCE_S = 20
LEAVE = "\x1b[?25h\x1b[?1049l"


class Terminal:
    """A pseudo-terminal with `aleph-agentctl top` in it."""

    def __init__(self, *arguments: str, columns: int = 120, lines: int = 30) -> None:
        self.master, self._slave = pty.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self._slave)
        self.said = ""
        environment = {**os.environ, "TERM": "xterm-256color"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, "top", *arguments],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self._slave)

    def resize(self, columns: int, lines: int) -> None:
        """As a window does it: the kernel tells the process."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def types(self, text: str) -> None:
        """Press keys."""
        os.write(self.master, text.encode())

    def until(self, shown: str) -> str:
        """Read until this is drawn; what came since the last time."""
        seen, deadline = "", time.monotonic() + _PATIENCE_S
        while shown not in _bare(seen):
            readable = select.select([self.master], [], [], 1)[0]
            assert time.monotonic() < deadline, f"{shown!r} is not in {_bare(seen)[-3000:]!r}"
            if not readable:
                continue
            seen += os.read(self.master, 65536).decode(errors="replace")
        self.said += seen
        return seen

    def ends(self) -> int:
        """Its exit code; what it still said is read."""
        while self.process.poll() is None:
            if select.select([self.master], [], [], 0.05)[0]:
                self.said += os.read(self.master, 65536).decode(errors="replace")
        while select.select([self.master], [], [], 0)[0]:
            self.said += os.read(self.master, 65536).decode(errors="replace")
        return self.process.returncode

    def is_as_before(self) -> bool:
        """Echo, lines and the other screen are as the shell left them; the last word was to give it back."""
        assert termios.tcgetattr(self._slave) == self.before
        assert self.said.rstrip().endswith(LEAVE), repr(self.said[-300:])
        return True


def _bare(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.fixture
def answers(daemon: Any, make_vm: Callable[..., dict[str, Any]]) -> Any:
    """A daemon with a VM, two requests, and an event."""
    waiting = [request(1), request(2)]
    daemon.says("status", STATUS)
    daemon.says("vms.list", {"vms": [make_vm()], "total": 1, "more": False})
    daemon.says(
        "approvals.list", lambda *_: {"approvals": waiting, "passphrase_set": True, "budget_left": None}
    )
    daemon.says("events.watch", {"watching": True, "last_id": 0})

    def denied(_connection: object, params: dict[str, Any]) -> dict[str, Any]:
        waiting[:] = [row for row in waiting if row["id"] != params["id"]]
        return {"approval": request(id=params["id"], state="denied")}

    def approved(_connection: object, params: dict[str, Any]) -> dict[str, Any]:
        waiting[:] = [row for row in waiting if row["id"] != params["id"]]
        return {"approval": request(id=params["id"], state="used", outcome="")}

    daemon.says("approvals.deny", denied)
    daemon.says("approvals.approve", approved)
    return daemon


@pytest.fixture
def top(answers: Any) -> Iterator[Terminal]:
    """It, with its first picture drawn."""
    with Terminal() as terminal:
        terminal.until("2 wait for you")
        yield terminal


def test_it_draws_follows_a_new_size_and_leaves_the_terminal_as_it_was(top: Terminal) -> None:
    """At `q`."""
    assert "\x1b[?1049h" in top.said
    assert "running" in top.said
    top.resize(50, 12)
    for _ in range(10):  # the picture before it may still be on its way
        picture = _bare(top.until("d deny").rpartition("\x1b[H")[2]).split("\r\n")
        if len(picture) == 12:
            break
    assert len(picture) == 12
    assert max(map(len, picture)) <= 50
    top.types("q")
    assert top.ends() == 0
    assert top.is_as_before()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_as_it_was(top: Terminal, number: signal.Signals) -> None:
    """Ctrl-C, a kill, a login that ends."""
    top.process.send_signal(number)
    assert top.ends() == 0
    assert top.is_as_before()


def test_a_request_is_denied_by_two_keys_and_approved_by_a_key_and_the_passphrase(
    top: Terminal, answers: Any
) -> None:
    """A slip of a finger decides nothing."""
    top.types("d")
    top.until("Deny ap-1?")
    top.types("x")
    top.until("q quit")
    top.types("jd")
    top.until("Deny ap-2?")
    top.types("y")
    top.until("ap-2 is denied.")
    top.until("1 waits for you")
    top.types("a")
    shown = top.until("Passphrase, or Ctrl-C:")
    assert "create big (12 CU) for 24 h" in shown
    top.types("open sesame\n")
    top.until("ap-1 is approved and being carried out.")
    top.types("q")
    assert top.ends() == 0
    assert top.is_as_before()
    decided = [
        (method, params)
        for method, params in answers.asked
        if method in ("approvals.deny", "approvals.approve")
    ]
    assert decided == [
        ("approvals.deny", {"id": "ap-2"}),
        ("approvals.approve", {"id": "ap-1", "passphrase": "open sesame"}),
    ]
    assert "open sesame" not in top.said


def test_ctrl_c_at_the_passphrase_only_leaves_that(top: Terminal, answers: Any) -> None:
    """The request still waits."""
    top.types("a")
    top.until("Passphrase, or Ctrl-C:")
    top.types("\x03")
    top.until("ap-1 still waits.")
    top.types("d")
    top.until("Deny ap-1?")
    top.until("Deny ap-1?")  # drawn again: it goes on
    assert top.process.poll() is None
    top.types("nq")
    assert top.ends() == 0
    assert top.is_as_before()
    assert not [method for method, _ in answers.asked if method == "approvals.approve"]


def test_ctrl_z_gives_the_terminal_to_the_shell_and_comes_back(top: Terminal) -> None:
    """As any program does."""
    top.types("\x1a")
    os.waitid(os.P_PID, top.process.pid, os.WSTOPPED | os.WNOWAIT)
    assert termios.tcgetattr(top._slave) == top.before
    top.process.send_signal(signal.SIGCONT)
    top.until("2 wait for you")
    top.types("q")
    assert top.ends() == 0


def test_a_daemon_that_is_not_there_is_waited_for(runtime_dir: Any) -> None:
    """With the command that starts it."""
    with Terminal() as terminal:
        terminal.until("no daemon answers")
        terminal.until("aleph-agentd run")
        terminal.types("q")
        assert terminal.ends() == 0
        assert terminal.is_as_before()


def test_without_a_terminal_it_names_what_works(cli: Any, answers: Any) -> None:
    """And with --json it is a program's."""
    assert cli.run("top") == 1
    assert "aleph-agentctl status" in cli.err
    assert cli.run("top", "--json") == 0
    assert cli.json["vms"][0]["name"] == "web"


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"\x1b[A\x1b[Bj", ["up", "down", "down"]),
        (b"\x1b[15~d", ["d"]),
        (b"\x1b", []),
        (b"\x00\xff\x7f", []),
        (b"dy", ["d", "y"]),
    ],
)
def test_bytes_of_a_terminal_become_keys(data: bytes, keys: list[str]) -> None:
    """A function key must not be taken for letters that decide something."""
    assert parse(data) == keys
