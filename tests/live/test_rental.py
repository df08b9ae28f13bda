"""The whole rental against a real network: quote, create, SSH, extend, destroy, and the network's own word."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import aiohttp
import pytest

from aleph_agentd.domain.money import UNITS_PER_CREDIT

LEASE_H, EXTENSION_H = 0.2, 0.1
SSH_S = 290
FORGOTTEN_S = 60.0
MAINNET_API = "https://api2.aleph.im"


async def network_status(item_hash: str) -> str:
    """What the network says of a message, asked past the daemon."""
    host = os.environ.get("ALEPH_AGENT_API_HOST") or MAINNET_API
    url = f"{host.rstrip('/')}/api/v0/messages/{item_hash}/status"
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
        return str((await answer.json())["status"]) if answer.status == 200 else f"unknown ({answer.status})"


async def until_forgotten(item_hash: str) -> str:
    """The status once it says that billing has ended, or the last one before patience ended."""
    deadline = asyncio.get_running_loop().time() + FORGOTTEN_S
    while (status := await network_status(item_hash)) not in ("forgotten", "removed"):
        if asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(1)
    return status


@asynccontextmanager
async def destroyed_at_the_end(daemon, name: str) -> AsyncIterator[None]:
    """Whatever lives under this name is destroyed, however the test ends: it costs money."""
    try:
        yield
    finally:
        listed = await daemon.use("aleph_list_my_vms")
        for vm in listed["vms"]:
            if vm["name"] == name:
                await daemon.use("aleph_destroy_vm", item_hash=vm["item_hash"])


@pytest.mark.timeout(600)
async def test_a_vm_is_rented_used_extended_and_proven_gone(live_daemon, max_spend_units):
    """One compute unit for 0.2 h, within the suite's own spend limit."""
    order = {
        "name": f"live-{secrets.token_hex(3)}x",
        "compute_units": 1,
        "ttl_hours": LEASE_H,
        "max_hourly_cost": max_spend_units / UNITS_PER_CREDIT,
    }
    quote = await live_daemon.use("aleph_create_vm", **order, dry_run=True)
    assert quote["item_hash"] is None
    whole = quote["hourly_cost"] * max(1.0, LEASE_H + EXTENSION_H) * UNITS_PER_CREDIT
    assert whole <= max_spend_units, (
        "the network's price is above ALEPH_AGENT_LIVE_MAX_SPEND: nothing was created"
    )
    async with destroyed_at_the_end(live_daemon, order["name"]):
        created = await live_daemon.use(
            "aleph_create_vm", **order, confirmed=True, quote_id=quote["quote_id"]
        )
        item_hash = created["item_hash"]
        assert item_hash
        waited = await live_daemon.use("aleph_wait_vm", item_hash=item_hash, timeout_s=SSH_S)
        assert waited["ready"], waited
        assert await network_status(item_hash) == "processed"
        extended = await live_daemon.use("aleph_extend_vm", item_hash=item_hash, additional_hours=EXTENSION_H)
        later = datetime.fromisoformat(extended["new_ttl_expires_at"]) - datetime.fromisoformat(
            created["ttl_expires_at"]
        )
        assert later.total_seconds() == pytest.approx(EXTENSION_H * 3600, abs=2)
        destroyed = await live_daemon.use("aleph_destroy_vm", item_hash=item_hash)
        assert destroyed["billing_ended"], destroyed
        assert await until_forgotten(item_hash) in ("forgotten", "removed")
        assert destroyed["estimated_cost_incurred"] * UNITS_PER_CREDIT <= max_spend_units
