"""`notify`: what interrupts the owner, on the screen of this login or to a command; `notify test` tries it all.

The daemon's sandbox has no bus to a desktop: this listener lives in the owner's own login, and reads control.sock.
"""

import asyncio
import json
import shlex
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import click

from aleph_agentd.control import output
from aleph_agentd.control.daemon import READ_S, ask, daemon
from aleph_agentd.control.desktop import Desktop
from aleph_agentd.control.text import plain
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.domain.clock import SystemClock
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.domain.notices import Notice, Pace, notice_of
from aleph_agentd.gateway.rpc.client import Client

APPLICATION = "aleph-agentd"
COMMAND_S = 30.0
AGAIN_S, LONGEST_AGAIN_S = 1.0, 60.0
TEST_S = 30.0
PAST_EVENTS = 100
"""Of another inventory, in which to look for what is new."""

Tell = Callable[[Notice], Awaitable[None]]


@click.group(invoke_without_command=True)
@click.option(
    "--command",
    metavar="WORDS",
    help="Run this instead of notify-send, without a shell; the notice comes as JSON on its stdin.",
)
@click.pass_context
@json_option
def notify(context: click.Context, command: str | None) -> None:
    """Show what needs the owner, until Ctrl-C: ends of leases, approvals, alarms. One per cause and interval."""
    if context.invoked_subcommand is not None:
        return
    tell = _to_command(_words(command)) if command else _to_desktop()
    try:
        asyncio.run(_listen_for_ever(tell))
    except KeyboardInterrupt:
        return


@notify.command("test")
@json_option
def notify_test() -> None:
    """Send a test to the webhook and to every listener."""
    answer = ask("notify.test", timeout_s=TEST_S)
    if as_json():
        output.say_json(answer)
    else:
        output.say(f"webhook: {plain(answer['webhook'])}")
        output.say("listeners (aleph-agentctl notify) show it now, if any runs")
    if str(answer["webhook"]).startswith("failed"):
        raise Refusal(
            f"the webhook was not told: {answer['webhook']}", "aleph-agentctl status", code="not_told"
        )


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as problem:
        raise click.BadParameter(str(problem), param_hint="--command") from None
    if not words:
        raise click.BadParameter("it is empty", param_hint="--command")
    return words


async def _listen_for_ever(tell: Tell) -> None:
    """A daemon that is away is waited for; what it told nobody meanwhile is read from its events."""
    listener, wait = Listener(tell), AGAIN_S
    while True:
        try:
            async with daemon() as client:
                wait = AGAIN_S
                await listener.follow(client)
        except Refusal as away:
            print(f"{plain(away.message)}; trying again", file=sys.stderr, flush=True)
        await asyncio.sleep(wait)
        wait = min(LONGEST_AGAIN_S, 2 * wait)


class Listener:
    """Follows events over any number of connections, and tells none of them twice."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._clock, self._pace = tell, SystemClock(), Pace()
        self._seen: int | None = None
        self._seen_at = self._clock.now()
        self._old: tuple[int, datetime] = (0, self._seen_at)
        """An event up to this number and this instant was told, or was before our time."""

    async def follow(self, client: Client) -> None:
        """Until the daemon hangs up."""
        await self._watch(client)
        notices = client.notifications()
        coming: asyncio.Future[Any] = asyncio.ensure_future(anext(notices, None))
        try:
            while True:
                # Not cancelled by the time-out: an event that has come half-way must not be lost.
                await asyncio.wait({coming}, timeout=self._pace.next_in(self._clock.now()))
                if coming.done():
                    if (came := coming.result()) is None:
                        return
                    self.hear(came.params if came.method == "event" else {})
                    coming = asyncio.ensure_future(anext(notices, None))
                for notice in self._pace.due(self._clock.now()):
                    await self._tell(notice)
        finally:
            coming.cancel()

    async def _watch(self, client: Client) -> None:
        since = {} if self._seen is None else {"after_id": self._seen}
        newest = int((await client.call("events.watch", since, READ_S))["last_id"] or 0)
        if self._seen is None:
            self._seen = newest
        elif newest < self._seen:
            # Another inventory, lost or restored: its numbers say nothing of what was told, its times do.
            self._seen, self._old = max(0, newest - PAST_EVENTS), (newest, self._seen_at)
            await client.call("events.watch", {"after_id": self._seen}, READ_S)

    def hear(self, event: dict[str, Any]) -> None:
        """Keep what is to be told."""
        number = int(event.get("id") or 0)
        if not number or (self._seen is not None and number <= self._seen):
            return
        self._seen, at = number, _at(event)
        if number <= self._old[0] and at <= self._old[1]:
            return
        self._seen_at = at
        if (notice := notice_of(event, at)) is not None:
            self._pace.add(notice)


def _at(event: dict[str, Any]) -> datetime:
    return datetime.strptime(str(event["at"]), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _to_desktop() -> Tell:
    desktop = Desktop(APPLICATION)
    return lambda notice: desktop.tell(notice.title, notice.text)


def _to_command(words: list[str]) -> Tell:
    """The owner's words as they are; what agents wrote reaches the command on its stdin only."""

    async def tell(notice: Notice) -> None:
        try:
            process = await asyncio.create_subprocess_exec(*words, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL)
        except OSError as why:
            print(f"{words[0]}: {why.strerror}", file=sys.stderr, flush=True)
            return
        try:
            document = json.dumps(notice.as_dict()).encode() + b"\n"
            await asyncio.wait_for(process.communicate(document), COMMAND_S)
        except TimeoutError:
            print(f"{words[0]} hangs, and is ended", file=sys.stderr, flush=True)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    return tell
