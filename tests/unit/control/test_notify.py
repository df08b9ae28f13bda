"""The listener of the owner's login, against a daemon on a real socket."""

import asyncio
import json
from pathlib import Path

import pytest

from aleph_agentd.control import notify
from aleph_agentd.control.daemon import daemon as connected
from aleph_agentd.control.notify import Listener

HOSTILE = "box\n$(touch /tmp/owned);`id`\x1b[31m"


def event(
    number: int, kind: str = "orphan", name: str = "box", at: str = "2026-11-25T12:00:00Z"
) -> dict[str, object]:
    """One as `events.watch` tells it."""
    return {"id": number, "at": at, "kind": kind, "item_hash": "ab" * 32, "name": name, "text": "found"}


def tells(*events: dict[str, object]):
    """A daemon that tells these events to whoever watches, and hangs up."""
    newest = [0]

    def watch(connection, _params):
        loop = asyncio.get_running_loop()
        last_id, newest[0] = newest[0], max(int(one["id"]) for one in events)
        for one in events:
            loop.call_soon(connection.notify, "event", one)
        loop.call_later(0.2, connection.close)
        return {"watching": True, "last_id": last_id}

    return watch


def has(*events: dict[str, object]):
    """A daemon with these events in its inventory: it tells those after the one asked for, and hangs up."""

    def watch(connection, params):
        newest = max(int(one["id"]) for one in events)
        after = params.get("after_id", newest)
        loop = asyncio.get_running_loop()
        for one in events:
            if int(one["id"]) > after:
                loop.call_soon(connection.notify, "event", one)
        loop.call_later(0.3, connection.close)
        return {"watching": True, "last_id": newest}

    return watch


async def follow(tell, times: int = 1) -> None:
    """Listen until the daemon has hung up."""
    listener = Listener(tell)
    for _ in range(times):
        async with connected() as client:
            await listener.follow(client)


def test_events_are_told_once_over_reconnects_and_only_those_that_matter(daemon):
    """A daemon that tells an event again tells nobody anything new."""
    daemon.says("events.watch", tells(event(1), event(2, "running"), event(3, "approval_asked")))
    told = []

    async def tell(notice):
        told.append((notice.id, str(notice.cause)))

    asyncio.run(follow(tell, times=2))
    assert told == [(1, "orphan_found"), (3, "approval_wanted")]
    assert [params for _, params in daemon.asked] == [{}, {"after_id": 3}]


def test_after_a_lost_or_restored_inventory_what_is_new_is_told(daemon):
    """Its numbers begin again; what was told before, or was before our time, is known by its instant."""
    told = []

    async def tell(notice):
        told.append((notice.id, str(notice.cause)))

    async def two_inventories():
        listener = Listener(tell)
        daemon.says("events.watch", tells(event(5000, at="2126-01-01T00:00:01Z")))
        async with connected() as client:
            await listener.follow(client)
        restored = [event(1), event(2, at="2126-01-01T00:00:01Z")]
        new = event(3, "approval_asked", at="2126-01-01T00:00:02Z")
        daemon.says("events.watch", has(*restored, new))
        async with connected() as client:
            await listener.follow(client)

    asyncio.run(two_inventories())
    assert told == [(5000, "orphan_found"), (3, "approval_wanted")]


def test_a_command_gets_the_notice_on_stdin_and_never_through_a_shell(daemon, tmp_path: Path):
    """What an agent called its VM is data."""
    program = tmp_path / "hook"
    program.write_text('#!/bin/sh\nprintf "%s" "$#" > "$1.args"\ncat > "$1"\n')
    program.chmod(0o755)
    daemon.says("events.watch", tells(event(1, name=HOSTILE)))
    out = tmp_path / "told; true"
    asyncio.run(follow(notify._to_command([str(program), str(out)])))
    document = json.loads(out.read_text())
    assert document["cause"] == "orphan_found"
    assert "$(touch /tmp/owned)" in document["name"]
    assert document["name"].isprintable()
    assert Path(f"{out}.args").read_text() == "1"


def test_a_command_that_cannot_start_or_hangs_ends_nothing(daemon, tmp_path, monkeypatch, capsys):
    """The next notice is tried all the same."""
    monkeypatch.setattr(notify, "COMMAND_S", 0.05)
    both = event(1), event(2, "approval_asked")
    daemon.says("events.watch", tells(*both))
    asyncio.run(follow(notify._to_command([str(tmp_path / "nothing")])))
    assert capsys.readouterr().err == f"{tmp_path}/nothing: No such file or directory\n" * 2
    daemon.says("events.watch", tells(*both))
    asyncio.run(follow(notify._to_command(["sleep", "60"])))
    assert capsys.readouterr().err == "sleep hangs, and is ended\n" * 2


@pytest.mark.parametrize(
    ("said", "code"), [("told", 0), ("not set", 0), ("failed: hook.example answered 500", 1)]
)
def test_a_test_says_what_the_webhook_did(cli, daemon, said: str, code: int):
    """And fails where it failed."""
    daemon.says("notify.test", {"webhook": said, "event_id": 7})
    assert cli.run("notify", "test") == code
    assert f"webhook: {said}" in cli.out


def test_a_command_that_is_no_command_is_refused(cli):
    """Before anything is listened to."""
    assert cli.run("notify", "--command", "'open") == 2
