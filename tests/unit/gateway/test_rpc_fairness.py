"""Who is served when many ask at once: frames per connection and turn of the loop, exactly."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from aleph_agentd.gateway.rpc.connection import Connection
from aleph_agentd.gateway.rpc.peer import Limits

from .rpc_fixtures import Served, serving, until
from .test_rpc_server import request

PER_TURN = Limits().frames_per_turn
ROOMY = Limits(requests_per_s=1e9, burst=1e9, uid_requests_per_s=1e9, uid_burst=1e9)


class Turns:
    """Counts the turns of the loop, and what each connection is served in each."""

    def __init__(self) -> None:
        self.now = 0
        self.connections: list[Connection] = []
        self.served: Counter[tuple[int, Connection]] = Counter()
        self._stopped = False

    def hello(self, connection: Connection, _: dict[str, Any]) -> object:
        """A connection makes itself known."""
        self.connections.append(connection)
        return None

    def note(self, connection: Connection, _: dict[str, Any]) -> object:
        """A frame was served."""
        self.served[self.now, connection] += 1
        return None

    def of(self, connection: Connection) -> list[int]:
        """What a connection was served, turn by turn, from its first one on."""
        turns = [turn for turn, one in self.served if one is connection]
        return [self.served[turn, connection] for turn in range(min(turns), max(turns) + 1)]

    async def pass_by(self, count: int) -> None:
        """So many turns; each callback that is ready runs once in each."""
        for _ in range(count):
            self.now += 1
            await asyncio.sleep(0)


@pytest.fixture
def turns() -> Turns:
    """The count."""
    return Turns()


@pytest.fixture
async def served(tmp_path: Path, turns: Turns) -> AsyncIterator[Served]:
    """A server that keeps it, with three clients."""
    async with serving(tmp_path, {"hello": turns.hello, "note": turns.note}, limits=ROOMY) as started:
        for _ in range(3):
            _, writer = await started.raw()
            writer.write(request(1, "hello"))
        await until(lambda: len(turns.connections) == 3)
        yield started


def arrive(connection: Connection, frames: int) -> None:
    """So many requests reach a connection in one piece."""
    connection.data_received(b"".join(request(n, "note") for n in range(frames)))


@pytest.mark.usefixtures("served")
async def test_each_connection_is_served_its_share_in_each_turn_and_not_one_frame_more(turns: Turns) -> None:
    """However much waits on any of them, and until all of it is done."""
    for connection, frames in zip(turns.connections, (10 * PER_TURN, 3 * PER_TURN + 1, 2), strict=True):
        arrive(connection, frames)
    await turns.pass_by(20)
    much, some, little = turns.connections
    assert turns.of(much) == [PER_TURN] * 10
    assert turns.of(some) == [PER_TURN] * 3 + [1]
    assert turns.of(little) == [2]


@pytest.mark.usefixtures("served")
async def test_who_asks_one_thing_is_answered_in_the_turn_in_which_it_comes(turns: Turns) -> None:
    """Whatever others have waiting: at most one share of each is served before it."""
    flood, another, other = turns.connections
    arrive(flood, 100 * PER_TURN)
    arrive(another, 100 * PER_TURN)
    await turns.pass_by(7)
    before, asked_at = turns.served.total(), turns.now
    arrive(other, 1)
    await turns.pass_by(1)
    assert turns.served[asked_at, other] == 1
    assert turns.served.total() - before <= 2 * PER_TURN + 1


@pytest.mark.usefixtures("served")
async def test_malformed_requests_are_frames_of_a_share_like_all_others(turns: Turns) -> None:
    """Answering them is work as well."""
    bad, good = msgpack.packb([0, 1, "note", 7]), request(2, "note")
    turns.connections[0].data_received((bad * (PER_TURN - 1) + good) * 5)
    await turns.pass_by(10)
    assert turns.of(turns.connections[0]) == [1] * 5
