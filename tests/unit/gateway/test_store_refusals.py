"""Trouble with the inventory, as the owner is told it."""

import asyncio
from typing import Any

import pytest

from aleph_agentd.domain.errors import Unavailable
from aleph_agentd.gateway.store_refusals import explained
from aleph_agentd.ports import StoreFull, StoreTrouble

NOBODY: Any = None


@pytest.mark.parametrize("trouble", [StoreTrouble("disk I/O error"), StoreFull("no room")])
async def test_it_is_a_refusal_whether_the_handler_waits_or_not(trouble: StoreTrouble) -> None:
    """With what the inventory said, and where to look."""

    def plain(_connection: object, _params: object) -> object:
        raise trouble

    async def slow(_connection: object, _params: object) -> object:
        await asyncio.sleep(0)
        raise trouble

    handlers = explained({"plain": plain, "slow": slow})
    with pytest.raises(Unavailable) as at_once:
        handlers["plain"](NOBODY, {})
    with pytest.raises(Unavailable) as later:
        await handlers["slow"](NOBODY, {})  # type: ignore[misc]
    for refused in (at_once.value, later.value):
        assert (refused.code, str(trouble) in refused.message) == ("store", True)
        assert "doctor" in refused.hint


async def test_answers_come_through_as_they_are() -> None:
    """A plain one still answers within its turn of the loop."""

    async def slow(_connection: object, _params: object) -> str:
        return "slow"

    handlers = explained({"plain": lambda _connection, _params: "plain", "slow": slow})
    assert handlers["plain"](NOBODY, {}) == "plain"
    assert await handlers["slow"](NOBODY, {}) == "slow"  # type: ignore[misc]
