"""How fast a client may ask: a flood waits, unread and unanswered, and nobody else does."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aleph_agentd.gateway.rpc.connection import Connection
from aleph_agentd.gateway.rpc.peer import Limits
from aleph_agentd.gateway.rpc.rate import Bucket, Buckets, Pacer

from .rpc_fixtures import read_messages, serving, until
from .test_rpc_server import request

SLOW = Limits(requests_per_s=0.001, burst=5, uid_requests_per_s=0.001, uid_burst=1000)


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


async def _flood(tmp_path: Path, limits: Limits, connections: int, *, human: bool = False) -> list[int]:
    """How many requests of each connection were served once all that may be is."""
    served_of: dict[Connection, int] = {}

    def note(connection: Connection, _: dict[str, Any]) -> object:
        served_of[connection] = served_of.get(connection, 0) + 1
        return None

    async with serving(tmp_path, {"note": note}, limits=limits, human=human) as served:
        for n in range(connections):
            _, writer = await served.raw()
            writer.write(b"".join(request(i, "note") for i in range(100)))
            await until(lambda n=n: len(served_of) > n)
        before: list[int] = []
        while before != (now := list(served_of.values())):
            before = now
            for _ in itertools.repeat(None, 50):
                await asyncio.sleep(0)
        return before


async def test_a_connection_that_floods_is_served_its_burst_and_waits(tmp_path: Path) -> None:
    """It hears no error; each connection has a burst of its own."""
    assert await _flood(tmp_path, SLOW, 2) == [5, 5]


async def test_all_connections_of_a_user_together_have_a_limit_too(tmp_path: Path) -> None:
    """Opening more of them does not help."""
    limits = Limits(requests_per_s=0.001, burst=60, uid_requests_per_s=0.001, uid_burst=62)
    assert await _flood(tmp_path, limits, 2) == [60, 2]


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


async def test_an_upgraded_connection_takes_its_turns_by_itself() -> None:
    """And a message of its may cost more than one."""
    pacer = Pacer(asyncio.get_running_loop())
    await asyncio.wait_for(pacer.turn(1000), 5)
    pacer.buckets = (Bucket(0.001, 10, asyncio.get_running_loop().time()),)
    for _ in range(2):
        await asyncio.wait_for(pacer.turn(5), 5)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pacer.turn(5), 0.01)
