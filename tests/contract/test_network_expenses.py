"""The payer's history, page by page: complete back to an instant, or trouble."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from aleph_agentd.adapters.aleph.network import Network
from aleph_agentd.domain.model import Expense
from aleph_agentd.ports import NetworkTrouble
from support.network import HASH, FakeNode

pytest_plugins = ["support.network_fixtures"]

PATH = "/api/v0/addresses/0xpayer/credit_history"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def a_row(age_s: float, index: int = 0, **changes: Any) -> dict[str, Any]:
    """An expense of 7 units."""
    row: dict[str, Any] = {
        "amount": -7,
        "credit_ref": "ref",
        "credit_index": index,
        "message_timestamp": (NOW - timedelta(seconds=age_s)).isoformat(),
        "payment_method": "credit_expense",
        "origin_ref": HASH,
    }
    return row | changes


def tells(node: FakeNode, rows: list[dict[str, Any]]) -> None:
    """The node tells these, 100 a page, and 404 behind the last one."""

    async def page(request: web.Request) -> web.Response:
        size, number = int(request.query["pagination"]), int(request.query["page"])
        shown = rows[(number - 1) * size : number * size]
        if not shown:
            return web.Response(status=404, text="No credit history found for this address")
        return web.json_response({"credit_history": shown, "pagination_total": len(rows)})

    node.does(PATH, page)


async def asked(network: Network, hours: float = 24) -> list[Expense]:
    """The expenses of the last hours."""
    return await network.market.expenses("0xpayer", NOW - timedelta(hours=hours))


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 200, 250])
async def test_every_page_is_read(network: Network, node: FakeNode, count: int) -> None:
    """However many there are; a full last page is followed by nothing."""
    tells(node, [a_row(n, n) for n in range(count)])
    assert len(await asked(network)) == count


async def test_only_expenses_since_then_count(network: Network, node: FakeNode) -> None:
    """What was paid in does not; what is older is not even read."""
    tells(
        node,
        [
            a_row(1, 1),
            a_row(2, 2, payment_method="credit_distribution", amount=10**9),
            a_row(3, 3, origin_ref=None),
            *(a_row(90_000 + n, 4 + n) for n in range(300)),
        ],
    )
    assert await asked(network) == [
        Expense("ref.1", NOW - timedelta(seconds=1), HASH, 7),
        Expense("ref.3", NOW - timedelta(seconds=3), "", 7),
    ]
    assert node.asks(PATH) == 1


async def test_what_is_booked_while_pages_are_read_is_counted_once(network: Network, node: FakeNode) -> None:
    """It pushes the rest on by one."""
    rows = [a_row(10 + n, n) for n in range(150)]

    async def page(request: web.Request) -> web.Response:
        number = int(request.query["page"])
        if number == 2:
            rows.insert(0, a_row(1, 999))
        return web.json_response({"credit_history": rows[(number - 1) * 100 : number * 100]})

    node.does(PATH, page)
    found = await asked(network)
    assert len(found) == len({expense.entry for expense in found}) == 150


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 7},
        {"amount": None},
        {"amount": "-1e999999999"},
        {"message_timestamp": "yesterday"},
        {"message_timestamp": "2026-11-23T11:00:00"},
        {"credit_ref": None},
        {"credit_index": "0"},
    ],
)
async def test_a_row_that_makes_no_sense_is_trouble_and_not_zero(
    network: Network, node: FakeNode, change: dict[str, Any]
) -> None:
    """Unknown is never zero."""
    tells(node, [a_row(1, **change)])
    with pytest.raises(NetworkTrouble):
        await asked(network)


async def test_a_history_in_another_order_is_trouble(network: Network, node: FakeNode) -> None:
    """Where to stop reading would not be known."""
    tells(node, [a_row(9), a_row(3)])
    with pytest.raises(NetworkTrouble, match="newest first"):
        await asked(network)


async def test_a_page_that_fails_fails_the_whole(network: Network, node: FakeNode) -> None:
    """A part is not the sum."""

    async def page(request: web.Request) -> web.Response:
        if request.query["page"] == "2":
            return web.Response(status=500)
        return web.json_response({"credit_history": [a_row(n, n) for n in range(100)]})

    node.does(PATH, page)
    with pytest.raises(NetworkTrouble):
        await asked(network)
