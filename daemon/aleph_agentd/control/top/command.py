"""`top`: asks the daemon, draws, and answers requests at a key."""

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import click

from aleph_agentd.control import output, terminal
from aleph_agentd.control.approvals import show_request
from aleph_agentd.control.daemon import ACT_S, READ_S, daemon, with_daemon
from aleph_agentd.control.top.board import Board
from aleph_agentd.control.top.draw import draw
from aleph_agentd.control.top.screen import Screen
from aleph_agentd.control.verb import as_json, json_option
from aleph_agentd.domain.clock import SystemClock
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import Client

POLL_S, DRAW_S, RETRY_S = 2.0, 1.0, 2.0
_PAGE = 200


@click.command
@json_option
def top() -> None:
    """Watch VMs, time and money, live; answer requests with a key. With --json: once, and as data."""
    if as_json():
        board = Board()
        with_daemon(lambda client: _ask(client, board))
        output.say_json({"status": board.status, "vms": board.vms, "approvals": board.approvals})
        return
    with Screen() as screen:
        asyncio.run(Top(screen).run())


async def _ask(client: Client, board: Board) -> None:
    status, page, approvals = await asyncio.gather(
        client.call("status", {}, READ_S),
        client.call("vms.list", {"limit": _PAGE}, READ_S),
        client.call("approvals.list", {"all": False}, READ_S),
    )
    board.learn(status, page, approvals)


class Top:
    """One run: a connection that comes back, keys, signals, and a drawing a second."""

    def __init__(self, screen: Screen) -> None:
        self._screen, self.board = screen, Board()
        self._clock = SystemClock()
        self._client: Client | None = None
        self._changed, self._stop = asyncio.Event(), asyncio.Event()
        self._acting: asyncio.Task[None] | None = None
        self._heard = False

    async def run(self) -> None:
        """Until `q`, a signal, or the end of the terminal."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        loop.add_signal_handler(signal.SIGWINCH, self._changed.set)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        loop.add_reader(self._screen.keys, self._read)
        asking = loop.create_task(self._follow(), name="asking")
        stopped = loop.create_task(self._stop.wait(), name="stop")
        try:
            while not self._stop.is_set():
                self._show()
                self._changed.clear()
                news = loop.create_task(self._changed.wait())
                await asyncio.wait(
                    {news, stopped, asking}, timeout=DRAW_S, return_when=asyncio.FIRST_COMPLETED
                )
                news.cancel()
                for done in (asking, self._acting):
                    if done is not None and done.done():
                        done.result()
        finally:
            loop.remove_reader(self._screen.keys)
            for task in (asking, stopped, *([self._acting] if self._acting else [])):
                task.cancel()

    def _show(self) -> None:
        width, height = self._screen.size
        self._screen.show(output.painted(draw(self.board, width, height, self._clock.now()), width))

    def _suspend(self) -> None:
        """Ctrl-Z: the shell gets its terminal as it was."""
        with self._screen.left():
            os.kill(os.getpid(), signal.SIGSTOP)
        self._changed.set()

    # ------------------------------------------------------------------ the daemon

    async def _follow(self) -> None:
        while True:
            try:
                async with daemon() as self._client:
                    await self._converse(self._client)
            except Refusal as problem:
                self.board.trouble, self.board.hint = problem.message, problem.hint
            self._client = None
            self._changed.set()
            await asyncio.sleep(RETRY_S)

    async def _converse(self, client: Client) -> None:
        watching = asyncio.create_task(self._watch(client), name="events")
        try:
            while True:
                await _ask(client, self.board)
                self._changed.set()
                await asyncio.wait({watching}, timeout=POLL_S)
                if watching.done():
                    watching.result()
                    await asyncio.sleep(POLL_S)
        finally:
            watching.cancel()

    async def _watch(self, client: Client) -> None:
        newest = (await client.call("events.watch", {}, READ_S))["last_id"] or 0
        await client.call("events.watch", {"after_id": self.board.watch_from(newest)}, READ_S)
        async for notice in client.notifications():
            if notice.method == "event":
                self.board.happened([notice.params])
                self._changed.set()

    # ------------------------------------------------------------------ keys

    def _read(self) -> None:
        for key in self._screen.read():
            self._press(key)
        self._changed.set()

    def _press(self, key: str) -> None:
        board, denying = self.board, self.board.denying
        board.denying = board.message = ""
        if denying:
            if key == "y":
                self._act(self._deny(denying))
        elif key in ("q", "hangup"):
            self._stop.set()
        elif key in ("up", "down"):
            board.step(-1 if key == "up" else 1)
        elif key in ("a", "d") and (request := board.request):
            if key == "d":
                board.denying = request["id"]
            else:
                self._act(self._approve(request))

    def _act(self, work: Coroutine[Any, Any, str]) -> None:
        if self._acting is not None and not self._acting.done():
            work.close()
            self.board.message = "the last answer is still on its way"
            return
        self._acting = asyncio.get_running_loop().create_task(self._told(work), name="acting")

    async def _told(self, work: Coroutine[Any, Any, str]) -> None:
        try:
            self.board.message = await work
        except Refusal as refusal:
            self.board.message = f"{refusal.message} {refusal.hint}".strip()
        self._changed.set()

    async def _deny(self, approval_id: str) -> str:
        answer = await self._connected().call("approvals.deny", {"id": approval_id}, ACT_S)
        return f"{answer['approval']['id']} is denied."

    async def _approve(self, request: dict[str, Any]) -> str:
        client, approvals = self._connected(), self.board.approvals
        if not approvals["passphrase_set"]:
            return "There is no passphrase yet: aleph-agentctl passphrase set"
        with self._screen.left(), self._interruptible():
            show_request(request, approvals)
            try:
                passphrase = terminal.ask_passphrase("Passphrase, or Ctrl-C")
            except KeyboardInterrupt:
                self._heard = True
                return f"{request['id']} still waits."
            except EOFError:
                return f"{request['id']} still waits."
        self.board.message = "being carried out …"
        params = {"id": request["id"], terminal.PARAMETER: passphrase}
        row = (await client.call("approvals.approve", params, ACT_S))["approval"]
        if row["state"] == "used":
            return f"{row['id']} is approved and being carried out."
        return f"{row['id']} is approved, but not carried out: {row['outcome'] or 'it is still being tried'}"

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl-C ends a prompt, which blocks the loop that would heed it."""
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGINT)
        try:
            yield
        finally:
            loop.add_signal_handler(signal.SIGINT, self._interrupt)

    def _interrupt(self) -> None:
        """Ctrl-C. The loop is told too of one that has ended a prompt already."""
        if not self._heard:
            self._stop.set()
        self._heard = False

    def _connected(self) -> Client:
        if self._client is None:
            raise Refusal("the daemon is not reachable now")
        return self._client
