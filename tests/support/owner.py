"""The owner at a terminal of their own: outside of everything that a test started, as no agent's kin.

    code, said = await owner(daemon, ["approve", "ap-1"], [("Passphrase", "correct horse")])

A process of its own leaves its ancestors behind, opens a pseudo-terminal, runs `aleph-agentctl` on it, and
types what it is told at each prompt.
"""

import asyncio
import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.daemon import DaemonProcess, eventually

SECRET = "correct horse battery"
_SCRIPT = "import sys; from aleph_agentd.control.__main__ import main; sys.exit(main())"
_PROMPT_S = 60


async def owner(
    daemon: DaemonProcess, arguments: list[str], typed: list[tuple[str, str]], *, kin: bool = False
) -> tuple[int, str]:
    """The exit code of a command, and what it said. With `kin` it stays a child of the test."""
    order = {
        "arguments": arguments,
        "typed": typed,
        "environment": daemon.environment,
        "answer": str(daemon.folder / f"owner-{os.urandom(4).hex()}.json"),
        "kin": kin,
    }
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "support.owner"]
    await asyncio.to_thread(
        subprocess.run, command, input=json.dumps(order).encode(), env=environment, check=True
    )
    answer = Path(order["answer"])
    await eventually(answer.exists, f"{arguments} to end", 120)
    said = json.loads(answer.read_text())
    return said["code"], said["said"]


async def approve(daemon: DaemonProcess, approval_id: str) -> str:
    """Approve a request, which must succeed."""
    code, said = await owner(daemon, ["approve", approval_id], [("Passphrase", SECRET)])
    assert code == 0, said
    return said


async def set_passphrase(daemon: DaemonProcess) -> None:
    """Set the first one, which must succeed."""
    code, said = await owner(daemon, ["passphrase", "set"], [("New passphrase", SECRET), ("again", SECRET)])
    assert code == 0, said


def main() -> None:
    """Read an order, leave the ancestors behind, carry it out."""
    order = json.load(sys.stdin)
    if not order["kin"]:
        parent = os.getpid()
        if os.fork():
            os._exit(0)
        os.setsid()
        while os.getppid() == parent:
            select.select([], [], [], 0.01)
    code, said = _on_a_terminal(order)
    answer = Path(order["answer"])
    answer.with_suffix(".new").write_text(json.dumps({"code": code, "said": said}))
    answer.with_suffix(".new").rename(answer)


def _on_a_terminal(order: dict[str, Any]) -> tuple[int, str]:
    pid, terminal = pty.fork()
    if pid == 0:
        command = [sys.executable, "-c", _SCRIPT, *order["arguments"]]
        os.execve(sys.executable, command, order["environment"])
    said, typed = "", list(order["typed"])
    while select.select([terminal], [], [], _PROMPT_S)[0]:
        try:
            data = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        said += data.decode(errors="replace")
        if typed and typed[0][0] in said.splitlines()[-1]:
            os.write(terminal, typed.pop(0)[1].encode() + b"\n")
            said += "\n"
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


if __name__ == "__main__":
    main()
