"""How fast a client may ask: a flood waits, unread and unanswered, and nobody else does."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aleph_agentd.gateway.rpc.connection import Connection
from aleph_agentd.gateway.rpc.peer import Limits
from aleph_agentd.gateway.rpc.rate import Allowance, Bucket, Buckets, Pacer, cost_of

from .rpc_fixtures import read_messages, serving, until
from .test_rpc_server import request

SLOW = Limits(requests_per_s=0.001, burst=16, uid_requests_per_s=0.001, uid_burst=1000)
SERVED = 13
"""Of small frames: reading them costs something, and so do their bytes."""


@given(st.floats(0.1, 100), st.integers(1, 50), st.lists(st.floats(0, 10), max_size=60))
def test_no_more_is_taken_than_the_burst_and_the_rate_allow(
    rate: float, burst: int, pauses: list[float]
) -> None:
    """Whoever asks whenever it may gets that much, and not one more."""
    now, taken = 0.0, 0
    bucket = Bucket(rate, burst, now)
    for pause in pauses:
        now += pause
        while not bucket.wait_s(now):
            bucket.take(1, now)
            taken += 1
    assert taken <= burst + now * rate + 1e-6


@given(st.floats(0.1, 100), st.integers(0, 50))
def test_whoever_waits_as_long_as_told_may_go_on(rate: float, debt: int) -> None:
    """However much was taken at once."""
    bucket = Bucket(rate, 1, 0.0)
    bucket.take(1 + debt, 0.0)
    assert not bucket.wait_s(bucket.wait_s(0.0) + 1e-6)


def test_full_buckets_of_others_are_thrown_away() -> None:
    """Uids come and go for years."""
    buckets = Buckets(1, 10)
    buckets.of(1, 0).take(5, 0)
    buckets.of(2, 0)
    assert buckets.of(1, 1) is buckets.of(1, 2)
    buckets.of(3, 2)
    assert sorted(buckets._of) == [1, 3]
    buckets.of(4, 100)
    assert sorted(buckets._of) == [4]


async def _flood(
    tmp_path: Path, limits: Limits, connections: int, *, human: bool = False, frames: int = 100
) -> list[int]:
    """How many requests of each connection were served once all that may be is."""
    served_of: dict[Connection, int] = {}

    def note(connection: Connection, _: dict[str, Any]) -> object:
        served_of[connection] = served_of.get(connection, 0) + 1
        return None

    async with serving(tmp_path, {"note": note}, limits=limits, human=human) as served:
        for n in range(connections):
            _, writer = await served.raw()
            writer.write(b"".join(request(i, "note") for i in range(frames)))
            await until(lambda n=n: len(served_of) > n)
        before: list[int] = []
        while before != (now := list(served_of.values())):
            before = now
            for _ in itertools.repeat(None, 50):
                await asyncio.sleep(0)
        return before


async def test_a_process_that_floods_is_served_its_burst_and_waits(tmp_path: Path) -> None:
    """It hears no error; opening more connections does not help."""
    assert await _flood(tmp_path, SLOW, 1) == [SERVED]
    assert await _flood(tmp_path / "two", SLOW, 2, frames=8) == [8, SERVED - 9]


def pacers(count: int, *, burst: float, uid_burst: float) -> list[Pacer]:
    """Those of connections of as many processes of one user."""
    processes, users = Buckets(0.001, burst), Buckets(0.001, uid_burst)
    made = [Pacer(asyncio.get_running_loop()) for _ in range(count)]
    for pid, pacer in enumerate(made):
        pacer.allowance = Allowance(processes, users, pid, 1000)
    return made


def taken(pacer: Pacer, most: int = 100) -> int:
    """How much of what it asks it may ask now."""
    for count in range(most):
        if pacer.wait_s():
            return count
        pacer.count(1)
    return most


async def test_all_processes_of_a_user_that_ask_much_have_a_limit_together() -> None:
    """Being many does not help."""
    assert [taken(pacer) for pacer in pacers(3, burst=60, uid_burst=100)] == [60, 40, 31]


async def test_who_asks_little_does_not_wait_for_others_of_its_user() -> None:
    """A flood of one session leaves the others as they were."""
    hostile, other = pacers(2, burst=60, uid_burst=50)
    assert taken(hostile) == 50
    assert hostile.wait_s() and not other.wait_s()
    assert taken(other) == 31


async def test_a_process_finds_its_bucket_again() -> None:
    """Neither a new connection nor other processes make the daemon forget what it took."""
    processes, users = Buckets(0.001, 5), Buckets(0.001, 1000)

    def connection(pid: int) -> Pacer:
        pacer = Pacer(asyncio.get_running_loop())
        pacer.allowance = Allowance(processes, users, pid, 1000)
        return pacer

    for pid in (1, 2, 1, 3, 1):
        connection(pid).count(2)
    assert connection(1).wait_s()
    assert not connection(2).wait_s()


async def test_what_is_malformed_or_large_costs_as_well(tmp_path: Path) -> None:
    """Not one answer more, whatever is sent."""
    malformed = msgpack.packb([0, 1, "note", 7])
    assert await _answers(tmp_path, malformed * 100) == SERVED
    assert await _answers(tmp_path / "large", request(1, "note", x="x" * 1280) * 5) == 1


async def _answers(tmp_path: Path, data: bytes) -> int:
    """How much of it is answered before its process has to wait."""
    async with serving(tmp_path, {"note": lambda *_: None}, limits=SLOW) as served:
        reader, writer = await served.raw()
        writer.write(data)
        found = await read_messages(reader, 1)
        while True:
            try:
                async with asyncio.timeout(0.05):
                    found += await read_messages(reader, 1)
            except TimeoutError:
                return len(found)


async def test_the_human_s_socket_does_not_wait(tmp_path: Path) -> None:
    """A backup travels in many pieces."""
    assert await _flood(tmp_path, SLOW, 1, human=True) == [100]


async def test_what_waited_is_served_when_it_may_be(tmp_path: Path) -> None:
    """Completely, and in order."""
    limits = Limits(requests_per_s=2000, burst=1, uid_requests_per_s=10_000, uid_burst=1000)
    async with serving(tmp_path, {"ping": lambda *_: None}, limits=limits) as served:
        reader, writer = await served.raw()
        writer.write(b"".join(request(n, "ping") for n in range(40)))
        assert [answer[1] for answer in await read_messages(reader, 40)] == list(range(40))


def test_a_message_costs_what_it_takes_of_the_daemon() -> None:
    """Much to read, a tool or a session is not the price of a ping."""
    assert cost_of(20, "ping") < 2 < cost_of(20, "tools.call") < cost_of(20, "mcp.open")
    assert cost_of(1_000_000, "ping") > 200


async def test_an_upgraded_connection_takes_its_turns_by_itself() -> None:
    """And a message of its may cost more than one."""
    pacer = Pacer(asyncio.get_running_loop())
    await asyncio.wait_for(pacer.turn(1000), 5)
    pacer.allowance = Allowance(Buckets(0.001, 10), Buckets(0.001, 1000), 1, 1000)
    for _ in range(2):
        await asyncio.wait_for(pacer.turn(5), 5)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pacer.turn(5), 0.01)
