"""The RPC server on a real Unix socket: answers, limits, hang-ups, and its end."""

import asyncio
import os
import stat
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest

from aleph_agentd.domain.errors import Conflict, Denied, Refusal, Unavailable
from aleph_agentd.gateway.rpc.client import DaemonUnreachable, HungUp, NoAnswer, open_client
from aleph_agentd.gateway.rpc.connection import Connection
from aleph_agentd.gateway.rpc.peer import Limits
from aleph_agentd.gateway.rpc.protocol import MAX_FRAME
from aleph_agentd.gateway.rpc.sockets import bind, unlink_own

from .rpc_fixtures import DEADLINE_S, read_messages, serving, until


class Gate:
    """Handlers that wait for the test, and count themselves."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.started = 0
        self.running = 0
        self.most = 0

    async def wait(self, _connection: Connection, params: dict[str, Any]) -> object:
        """Answer once the gate is open."""
        self.started += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.open.wait()
        finally:
            self.running -= 1
        return params


def ping(_connection: Connection, _params: dict[str, Any]) -> object:
    """A plain handler."""
    return {"pong": True}


def request(id_: int, method: str = "ping", **params: Any) -> bytes:
    """A raw request."""
    return msgpack.packb([0, id_, method, [params]])


async def test_plain_and_async_handlers_answer_their_callers(tmp_path: Path) -> None:
    """Both kinds of handler look the same from outside."""
    gate = Gate()
    gate.open.set()
    async with serving(tmp_path, {"ping": ping, "wait": gate.wait}) as served, served.client() as client:
        assert await client.call("ping") == {"pong": True}
        assert await client.call("wait", {"n": 1}) == {"n": 1}


async def test_answers_come_as_they_are_ready_and_not_in_order(tmp_path: Path) -> None:
    """A long request holds up nobody."""
    gate = Gate()
    async with serving(tmp_path, {"ping": ping, "wait": gate.wait}) as served, served.client() as client:
        slow = asyncio.create_task(client.call("wait", {"n": 1}))
        await until(lambda: gate.running)
        assert await client.call("ping") == {"pong": True}
        assert not slow.done()
        gate.open.set()
        assert await slow == {"n": 1}


async def test_the_peer_is_what_the_kernel_says(tmp_path: Path) -> None:
    """Neither the uid nor the kind of socket is for the client to claim."""

    def who(connection: Connection, _params: dict[str, Any]) -> object:
        return [connection.peer.uid, connection.peer.pid, connection.peer.human]

    for human in (False, True):
        async with serving(tmp_path, {"who": who}, human=human) as served, served.client() as client:
            assert await client.call("who") == [os.getuid(), os.getpid(), human]


async def test_another_uid_is_refused_with_the_reason(tmp_path: Path) -> None:
    """A user install serves its user alone."""
    async with serving(tmp_path, {"ping": ping}, allowed_uids={os.getuid() + 1}) as served:
        async with served.client() as client:
            with pytest.raises(Refusal) as caught:
                await client.call("ping")
            assert caught.value.code in {"denied", "unavailable"}
        reader, writer = await served.raw()
        [[kind, method, [error]]] = await read_messages(reader, 2)
        assert (kind, method, error["code"]) == (2, "error", "denied")
        writer.close()
        assert served.server.connections == 0


async def test_an_unknown_method_is_refused_with_the_names_of_the_known(tmp_path: Path) -> None:
    """agent.sock does not even know control's methods."""
    async with serving(tmp_path, {"ping": ping, "hello": ping}) as served, served.client() as client:
        with pytest.raises(Refusal) as caught:
            await client.call("panic")
        assert caught.value.code == "unknown_method"
        assert "hello, ping" in caught.value.hint
        assert await client.call("ping") == {"pong": True}


async def test_a_refusal_travels_whole_and_a_failure_says_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What went wrong inside is for the log."""

    def refuse(_connection: Connection, _params: dict[str, Any]) -> object:
        raise Denied("too dear", "choose a smaller one", code="max_spend", data={"limit": 5})

    async def fail(_connection: Connection, _params: dict[str, Any]) -> object:
        raise RuntimeError("secret path")

    async with serving(tmp_path, {"refuse": refuse, "fail": fail}) as served, served.client() as client:
        with pytest.raises(Refusal) as refused:
            await client.call("refuse")
        with pytest.raises(Refusal) as failed:
            await client.call("fail")
    assert refused.value.as_dict() == {
        "code": "max_spend",
        "message": "too dear",
        "hint": "choose a smaller one",
        "data": {"limit": 5},
    }
    assert failed.value.code == "internal"
    assert "secret" not in str(failed.value.as_dict())
    assert "secret path" in caplog.text


@pytest.mark.parametrize("result", [object(), "x" * (MAX_FRAME + 1)], ids=["not-msgpack", "too-large"])
async def test_an_answer_that_cannot_be_sent_is_an_internal_error(tmp_path: Path, result: object) -> None:
    """The connection and its other requests live on."""
    async with (
        serving(tmp_path, {"ping": ping, "bad": lambda *_: result}) as served,
        served.client() as client,
    ):
        with pytest.raises(Refusal) as caught:
            await client.call("bad")
        assert caught.value.code == "internal"
        assert await client.call("ping") == {"pong": True}


async def test_a_malformed_request_with_an_id_is_answered_and_the_next_is_served(tmp_path: Path) -> None:
    """The stream is still in step."""
    async with serving(tmp_path, {"ping": ping}) as served:
        reader, writer = await served.raw()
        writer.write(msgpack.packb([0, 5, "ping", {}]) + request(6))
        bad, good = await read_messages(reader, 2)
        assert (bad[1], bad[2]["code"], bad[3]) == (5, "malformed", None)
        assert good == [1, 6, None, {"pong": True}]
        writer.close()


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\xc1", b"\x91" * 5000, msgpack.packb([1, 1, None, None])]
)
async def test_garbage_ends_its_own_connection_only(tmp_path: Path, garbage: bytes) -> None:
    """The reason is told, the line is cut, and the neighbour notices nothing."""
    async with serving(tmp_path, {"ping": ping}) as served, served.client() as neighbour:
        reader, writer = await served.raw()
        writer.write(garbage)
        [[kind, method, [error]]] = await read_messages(reader, 2)
        assert (kind, method, error["code"]) == (2, "error", "malformed")
        writer.close()
        assert await neighbour.call("ping") == {"pong": True}


async def test_an_id_that_is_still_in_flight_ends_the_connection(tmp_path: Path) -> None:
    """Any answer to it could be taken for the other's."""
    gate = Gate()
    async with serving(tmp_path, {"wait": gate.wait}) as served:
        reader, writer = await served.raw()
        writer.write(request(1, "wait") + request(1, "wait"))
        [[kind, _, [error]]] = await read_messages(reader, 2)
        assert kind == 2
        assert "in flight" in error["message"]
        assert await reader.read() == b""
        writer.close()


async def test_reading_pauses_beyond_the_requests_in_flight(tmp_path: Path) -> None:
    """The rest waits in the socket and is served when there is room."""
    gate = Gate()
    async with serving(tmp_path, {"wait": gate.wait}, limits=Limits(in_flight=4)) as served:
        reader, writer = await served.raw()
        writer.write(b"".join(request(n, "wait", n=n) for n in range(50)))
        await until(lambda: gate.running == 4)
        gate.open.set()
        answers = await read_messages(reader, 50)
        assert sorted(answer[3]["n"] for answer in answers) == list(range(50))
        assert gate.most == 4
        writer.close()


async def test_a_flood_of_one_connection_leaves_turns_for_the_others(tmp_path: Path) -> None:
    """No more than its share of frames is served between two of anybody else's."""
    served_ids: list[str] = []

    def note(_connection: Connection, params: dict[str, Any]) -> object:
        served_ids.append(params["who"])
        return None

    async with serving(tmp_path, {"note": note}, limits=Limits(frames_per_turn=4)) as served:
        flood_reader, flood = await served.raw()
        reader, writer = await served.raw()
        await until(lambda: served.server.connections == 2)
        flood.write(b"".join(request(n, "note", who="flood") for n in range(2000)))
        writer.write(request(1, "note", who="other"))
        await read_messages(reader, 1)
        await read_messages(flood_reader, 2000)
        assert served_ids.index("other") < 1000
        flood.close()
        writer.close()


async def test_one_client_too_many_is_told_so_and_leaving_makes_room(tmp_path: Path) -> None:
    """It gets one error, and the others keep what they have."""
    async with serving(tmp_path, {"ping": ping}, limits=Limits(connections=1)) as served:
        async with served.client() as first:
            assert await first.call("ping") == {"pong": True}
            reader, writer = await served.raw()
            [[kind, _, [error]]] = await read_messages(reader, 2)
            assert (kind, error["code"]) == (2, "unavailable")
            writer.close()
            assert await first.call("ping") == {"pong": True}
        await until(lambda: served.server.connections == 0)
        async with served.client() as second:
            assert await second.call("ping") == {"pong": True}


async def test_one_process_cannot_take_all_the_connections(tmp_path: Path) -> None:
    """The others of its user still come in; what it closes, it may open again."""
    limits = Limits(connections=4, process_connections=2)
    async with serving(tmp_path, {"ping": ping}, limits=limits) as served:
        async with served.client() as first, served.client() as second:
            for each in (first, second):
                assert await each.call("ping") == {"pong": True}
            async with served.client() as third:
                with pytest.raises(Refusal) as caught:
                    await third.call("ping")
                assert caught.value.code == "unavailable"
            assert await _another_process_says(request(7), served.path) == [1, 7, None, {"pong": True}]
        await until(lambda: served.server.connections == 0)
        async with served.client() as again:
            assert await again.call("ping") == {"pong": True}


async def _another_process_says(frame: bytes, path: Path) -> Any:
    program = (
        "import socket, sys; door = socket.socket(socket.AF_UNIX); door.connect(sys.argv[1]);"
        "door.sendall(bytes.fromhex(sys.argv[2])); sys.stdout.buffer.write(door.recv(99))"
    )
    arguments = ["-c", program, str(path), frame.hex()]
    other = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    said, _ = await other.communicate()
    return msgpack.unpackb(said)


async def test_answers_to_a_client_that_is_gone_are_not_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each would be a line of the daemon's log: a flood of them hides what matters."""
    held: list[Connection] = []
    async with serving(tmp_path, {"hello": lambda connection, _: held.append(connection)}) as served:
        _, writer = await served.raw()
        writer.write(request(1, "hello"))
        await until(lambda: held)
        held[0]._transport.abort()
        held[0].data_received(request(2, "nothing") * 50)
        await until(lambda: served.server.connections == 0)
    assert "socket.send()" not in caplog.text


async def test_a_client_that_hangs_up_is_no_longer_waited_for(tmp_path: Path) -> None:
    """Its handler is cancelled and its callbacks run once."""
    gate, gone = Gate(), []

    async def wait(connection: Connection, params: dict[str, Any]) -> object:
        connection.on_close(lambda: gone.append(connection))
        return await gate.wait(connection, params)

    async with serving(tmp_path, {"wait": wait}) as served:
        _reader, writer = await served.raw()
        writer.write(request(1, "wait"))
        await until(lambda: gate.running == 1)
        writer.close()
        await until(lambda: gate.running == 0 and served.server.connections == 0)
        assert len(gone) == 1


async def test_a_client_that_does_not_read_is_hung_up_on(tmp_path: Path) -> None:
    """Its answers must not fill the daemon."""
    async with serving(tmp_path, {"big": lambda *_: "x" * 500_000}, limits=Limits(stall_s=0.05)) as served:
        _reader, writer = await served.raw()
        writer.transport.pause_reading()
        writer.write(b"".join(request(n, "big") for n in range(100)))
        await until(lambda: served.server.connections == 1)
        await until(lambda: served.server.connections == 0)
        writer.transport.abort()


async def test_a_slow_reader_of_answers_gets_all_of_them(tmp_path: Path) -> None:
    """Handlers wait for the client instead of filling a buffer."""
    made = 0

    async def big(_connection: Connection, _params: dict[str, Any]) -> object:
        nonlocal made
        made += 1
        return "x" * 300_000

    async with serving(tmp_path, {"big": big}) as served:
        reader, writer = await served.raw()
        writer.write(b"".join(request(n, "big") for n in range(200)))
        await until(lambda: made >= 16)
        assert made < 200
        answers = await read_messages(reader, 200)
        assert len(answers) == 200
        writer.close()


async def test_notifications_reach_a_client_that_reads(tmp_path: Path) -> None:
    """They keep their order among answers."""

    def watch(connection: Connection, _params: dict[str, Any]) -> object:
        for number in range(3):
            connection.notify("event", {"n": number})
        return "watching"

    async with serving(tmp_path, {"watch": watch}) as served, served.client() as client:
        assert await client.call("watch") == "watching"
        heard = []
        async for notification in client.notifications():
            heard.append(notification.params["n"])
            if len(heard) == 3:
                break
        assert heard == [0, 1, 2]


async def test_a_watch_that_is_not_read_is_dropped_with_a_last_word(tmp_path: Path) -> None:
    """A slow watcher loses its watch, not its connection, and can ask again."""
    held: list[Connection] = []

    def watch(connection: Connection, _params: dict[str, Any]) -> object:
        connection.watch()
        held.append(connection)
        return None

    async with serving(tmp_path, {"watch": watch}) as served:
        reader, writer = await served.raw()
        writer.write(request(1, "watch"))
        await until(lambda: held)
        sent = 0
        while held[0].notify("event", {"n": sent, "text": "x" * 10_000}):
            sent += 1
            assert sent < 10_000
        assert not held[0].notify("event", {"n": -1})
        messages = await read_messages(reader, sent + 2)
        assert [m[2][0]["n"] for m in messages[1:-1]] == list(range(sent))
        assert messages[-1][1] == "watch.dropped"
        writer.write(request(2, "watch"))
        await until(lambda: len(held) == 2)
        assert held[0].notify("event", {"n": 0})
        writer.close()


async def test_an_upgraded_connection_starts_with_the_bytes_read_too_far(tmp_path: Path) -> None:
    """The answer comes first, then the stream belongs to the session."""

    async def echo(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _draining: asyncio.Event
    ) -> None:
        while line := await reader.readline():
            writer.write(line.upper())

    def upgrade(connection: Connection, _params: dict[str, Any]) -> object:
        connection.upgrade(echo)
        return {"ok": True}

    async with serving(tmp_path, {"mcp.open": upgrade}) as served:
        reader, writer = await served.raw()
        writer.write(request(1, "mcp.open") + b"early\nhal")
        writer.write(b"f\n")
        answer = msgpack.packb([1, 1, None, {"ok": True}])
        async with asyncio.timeout(DEADLINE_S):
            assert await reader.readexactly(len(answer)) == answer
            assert await reader.readline() == b"EARLY\n"
            assert await reader.readline() == b"HALF\n"
            writer.write_eof()
            assert await reader.read() == b""
        writer.close()
        await until(lambda: served.server.connections == 0)


async def test_an_upgrade_is_refused_while_other_requests_are_open(tmp_path: Path) -> None:
    """Their answers would land in the middle of the new stream."""
    gate = Gate()

    def upgrade(connection: Connection, _params: dict[str, Any]) -> object:
        connection.upgrade(lambda *_: asyncio.sleep(0))
        return {"ok": True}

    async with (
        serving(tmp_path, {"mcp.open": upgrade, "wait": gate.wait}) as served,
        served.client() as client,
    ):
        slow = asyncio.create_task(client.call("wait"))
        await until(lambda: gate.running)
        with pytest.raises(Refusal) as caught:
            await client.call("mcp.open")
        assert caught.value.code == "conflict"
        gate.open.set()
        await slow


async def test_a_failing_session_ends_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its error goes to the log."""

    async def fail(*_streams: object) -> None:
        raise RuntimeError("broken session")

    def upgrade(connection: Connection, _params: dict[str, Any]) -> object:
        connection.upgrade(fail)
        return None

    async with serving(tmp_path, {"up": upgrade, "ping": ping}) as served, served.client() as neighbour:
        reader, writer = await served.raw()
        writer.write(request(1, "up"))
        async with asyncio.timeout(DEADLINE_S):
            await reader.read()
        writer.close()
        assert "broken session" in caplog.text
        assert await neighbour.call("ping") == {"pong": True}


async def test_closing_lets_what_runs_finish_and_takes_nothing_new(tmp_path: Path) -> None:
    """A drain answers what it took on."""
    gate = Gate()
    async with serving(tmp_path, {"wait": gate.wait}) as served, served.client() as client:
        slow = asyncio.create_task(client.call("wait", {"n": 1}))
        await until(lambda: gate.running)
        closing = asyncio.create_task(served.server.close(DEADLINE_S))
        await until(lambda: served.server.draining.is_set())
        with pytest.raises(DaemonUnreachable):
            async with open_client(served.path):
                pass
        late = asyncio.create_task(client.call("wait", {"n": 2}))
        gate.open.set()
        assert await slow == {"n": 1}
        await closing
        with pytest.raises(HungUp):
            await late
        assert gate.started == 1


async def test_closing_cancels_what_does_not_finish_and_says_so(tmp_path: Path) -> None:
    """Its caller learns that it may have taken effect."""
    gate = Gate()
    async with serving(tmp_path, {"wait": gate.wait}) as served, served.client() as client:
        slow = asyncio.create_task(client.call("wait"))
        await until(lambda: gate.running)
        await served.server.close(0.01)
        with pytest.raises(Refusal) as caught:
            await slow
        assert caught.value.code == "unknown"


async def test_a_call_without_an_answer_ends_in_its_own_time(tmp_path: Path) -> None:
    """The client waits no longer than it was told."""
    gate = Gate()
    async with serving(tmp_path, {"wait": gate.wait}) as served, served.client() as client:
        with pytest.raises(NoAnswer):
            await client.call("wait", timeout_s=0.01)


async def test_pending_calls_fail_when_the_daemon_hangs_up(tmp_path: Path) -> None:
    """A client must not wait for a dead daemon."""
    async with serving(tmp_path, {"hang": lambda c, _: c.abort()}) as served, served.client() as client:
        with pytest.raises(HungUp):
            await client.call("hang")
        with pytest.raises(HungUp):
            await client.call("ping")
        assert [n async for n in client.notifications()] == []


async def test_no_daemon_is_an_error_that_names_the_path(tmp_path: Path) -> None:
    """aleph-agentctl answers 69 for it."""
    with pytest.raises(DaemonUnreachable) as caught:
        async with open_client(tmp_path / "none.sock"):
            pass
    assert caught.value.path == tmp_path / "none.sock"
    assert "aleph-agentd run" in caught.value.hint


def test_a_bound_socket_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    """There is no instant at which another user could connect."""
    before = os.umask(0)
    try:
        sock = bind(tmp_path / "new" / "agent.sock")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new" / "agent.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    sock.close()


def test_a_stale_socket_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    """kill -9 leaves the file behind; a second daemon must not steal it."""
    path = tmp_path / "agent.sock"
    bind(path).close()
    living = bind(path)
    with pytest.raises(Conflict):
        bind(path)
    living.close()


def test_what_is_not_a_socket_is_never_removed(tmp_path: Path) -> None:
    """A wrong path must not cost a file."""
    path = tmp_path / "agent.sock"
    path.write_text("precious")
    with pytest.raises(Conflict):
        bind(path)
    assert path.read_text() == "precious"


def test_a_path_that_is_too_long_is_refused_in_words(tmp_path: Path) -> None:
    """The kernel's limit is 107 bytes."""
    with pytest.raises(Unavailable) as caught:
        bind(tmp_path / ("x" * 120))
    assert "107" in caught.value.hint


def test_only_the_own_socket_file_is_removed_at_the_end(tmp_path: Path) -> None:
    """A successor may have bound its own in the meantime."""
    path = tmp_path / "agent.sock"
    with bind(path):
        inode = path.stat().st_ino
        unlink_own(path, inode + 1)
        assert path.exists()
        unlink_own(path, inode)
        assert not path.exists()
        unlink_own(path, inode)
