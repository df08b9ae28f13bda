"""Running the demo: signals, the exit code, and the last word."""

import asyncio
import signal
import sys
from typing import Any

from aleph_agentd.demo.failure import DemoFailed
from aleph_agentd.demo.narrator import Narrator, print_json
from aleph_agentd.demo.story import STEPS, tell
from aleph_agentd.domain.errors import Refusal

LIMIT_S = 120.0
"""Twice what it may take: a demo that hangs says so."""
STOPPED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(json_output: bool) -> int:
    """Tell the story on stdout; with JSON on stderr, and one object on stdout."""
    narrator = Narrator(sys.stderr if json_output else sys.stdout, STEPS)
    code, summary = asyncio.run(_run(narrator))
    if json_output:
        print_json(sys.stdout, {**summary, "seconds": narrator.seconds, "steps": narrator.steps})
    return code


async def _run(narrator: Narrator) -> tuple[int, dict[str, Any]]:
    work = asyncio.create_task(_within_limit(narrator))
    _stop_on_signal(work)
    try:
        proof = await work
    except asyncio.CancelledError:
        narrator.end(f"Stopped at: {narrator.step_name}. Everything it had started is ended and removed.")
        return STOPPED, {"ok": False, "failed_at": narrator.step_name, "reason": "stopped"}
    except Exception as problem:  # noqa: BLE001 - the edge of a process: whatever it was is told as the reason
        reason = _reason_of(problem)
        narrator.end(f"FAILED at: {narrator.step_name}\n  {reason}")
        return 1, {"ok": False, "failed_at": narrator.step_name, "reason": reason}
    narrator.end(
        f"It works: rented, used, and gone by itself, for US${proof['charged_usd']:.6f}, in {narrator.seconds:g} s."
    )
    return 0, {"ok": True, **proof}


async def _within_limit(narrator: Narrator) -> dict[str, Any]:
    try:
        async with asyncio.timeout(LIMIT_S):
            return await tell(narrator)
    except TimeoutError:
        raise DemoFailed(f"it did not end within {LIMIT_S:g} s") from None


def _stop_on_signal(work: asyncio.Task[Any]) -> None:
    """The first signal ends the demo and cleans up; more of them must not interrupt the cleaning."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
        work.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, stop)


def _reason_of(problem: BaseException) -> str:
    """What went wrong, in a sentence."""
    match problem:
        case DemoFailed():
            return str(problem)
        case Refusal():
            return f"{problem.message} {problem.hint}".strip()
        case _:
            return f"{type(problem).__name__}: {problem}"
