"""Statuses asked together: few questions for many messages, and never a wrong answer."""

import asyncio
from collections.abc import Callable

import pytest

from aleph_agentd.ports import MessageStatus, NetworkTrouble
from aleph_agentd.services.looks import AT_ONCE, BATCH, Looks
from support.clock import ManualClock
from support.fake_network import FakeNetwork
from support.inventory import a_hash

PROCESSED, FORGOTTEN = MessageStatus.PROCESSED, MessageStatus.FORGOTTEN


@pytest.fixture
def network() -> FakeNetwork:
    """With three hundred instances, every third of them forgotten."""
    fake = FakeNetwork(ManualClock())
    for n in range(300):
        fake.stranger(a_hash(n))
        fake.statuses[a_hash(n)] = FORGOTTEN if n % 3 == 0 else PROCESSED
    return fake


async def test_many_that_wait_are_asked_together(network: FakeNetwork) -> None:
    """Each gets its own answer; the number of questions is that of the batches."""
    looks, hashes = Looks(network), [a_hash(n) for n in range(300)]
    asked = await _while_busy(network, looks, hashes)
    said = await asyncio.gather(*asked)
    assert said == [network.statuses[item] for item in hashes]
    assert len(network.asked("which")) <= 2 * (300 // BATCH + AT_ONCE + 1)
    assert len(network.asked("status")) == AT_ONCE


async def _while_busy(
    network: FakeNetwork, looks: Looks, hashes: list[str], then: Callable[[], None] = lambda: None
) -> list["asyncio.Task[MessageStatus]"]:
    """The looks at all these, the later ones of which began while the first ones were not answered yet."""
    holds = [network.hold("status") for _ in range(AT_ONCE)]
    tasks = [asyncio.create_task(looks.status(item, PROCESSED)) for item in hashes]
    for hold in holds:
        await hold.arrival()
    then()
    for hold in holds:
        hold.go.set()
    return tasks


async def test_one_alone_is_asked_by_its_status(network: FakeNetwork) -> None:
    """Which knows more than a listing does."""
    network.statuses[a_hash(1)] = MessageStatus.REMOVING
    assert await Looks(network).status(a_hash(1), PROCESSED) is MessageStatus.REMOVING
    assert network.asked("which") == []


@pytest.mark.parametrize(
    "status", [MessageStatus.PENDING, MessageStatus.REJECTED, MessageStatus.REMOVED, MessageStatus.UNKNOWN]
)
async def test_what_no_listing_shows_is_asked_alone(network: FakeNetwork, status: MessageStatus) -> None:
    """Not to be listed says nothing (promise 5)."""
    looks = Looks(network)
    network.statuses[a_hash(1)] = status
    said = await asyncio.gather(*(looks.status(a_hash(n), FORGOTTEN) for n in range(10)))
    assert said[1] is status


async def test_a_network_that_is_away_is_trouble_for_all_of_a_batch(network: FakeNetwork) -> None:
    """Nobody waits for another one's time-out, and the next look asks together again."""
    looks = Looks(network)

    def goes_away() -> None:
        network.fail("which", times=4)
        network.fail("status", times=4)

    hashes = [a_hash(n) for n in range(AT_ONCE + 20)]
    said = await asyncio.gather(*await _while_busy(network, looks, hashes, goes_away), return_exceptions=True)
    assert [isinstance(one, NetworkTrouble) for one in said[AT_ONCE:]] == [True] * 20
    network.heal()
    network.calls.clear()
    again = await asyncio.gather(*await _while_busy(network, looks, hashes))
    assert again == [network.statuses[item] for item in hashes]
    assert network.asked("which")


async def test_a_ccn_that_answers_only_single_questions_is_asked_them(network: FakeNetwork) -> None:
    """A listing that is broken for good must not hold up any end."""
    looks = Looks(network)
    network.fail("which", times=1000)
    hashes = [a_hash(n) for n in range(30)]
    said = await asyncio.gather(*await _while_busy(network, looks, hashes))
    assert said == [network.statuses[item] for item in hashes]
    assert network.asked("which")
    assert len(network.asked("which")) <= AT_ONCE


async def test_who_goes_away_while_it_asks_for_others_leaves_them_their_answers(network: FakeNetwork) -> None:
    """A drain cancels one pass, not its neighbours' questions."""
    looks = Looks(network)
    holds = [network.hold("status") for _ in range(AT_ONCE)]
    busy = [asyncio.ensure_future(looks.status(a_hash(n), PROCESSED)) for n in range(AT_ONCE)]
    for hold in holds:
        await hold.arrival()
    waiting = [asyncio.ensure_future(looks.status(a_hash(n), PROCESSED)) for n in range(10, 20)]
    await asyncio.sleep(0)
    asking = network.hold("which")
    holds[0].go.set()
    await asking.arrival()
    waiting[0].cancel()
    holds[1].go.set()
    said = await asyncio.gather(*waiting[1:])
    assert said == [network.statuses[a_hash(n)] for n in range(11, 20)]
    assert all(one.done() for one in busy) or await asyncio.gather(*busy)
