"""The naive design, for comparison: a server that lives while a client session is open.

It creates a VM, then writes it into a JSON file; it ends VMs by timers that stop with the last session.
Otherwise it is given every help: the same SDK, an inventory that all sessions share and that survives
them, a look at everything that is due once a minute, endless retries while somebody is connected, a
restart right after each kill, a client that calls again after an error, and one that stays connected
from the end of the schedule on.
"""

import asyncio
import json
from collections import Counter
from contextvars import Context, copy_context
from pathlib import Path
from typing import Any

import aiohttp
from aleph.sdk.chains.ethereum import ETHAccount
from aleph.sdk.client import AuthenticatedAlephHttpClient
from aleph.sdk.client.vm_client import VmClient
from aleph.sdk.exceptions import BroadcastError, InvalidMessageError
from aleph_message.models import Chain, ItemHash, Payment, PaymentType
from aleph_message.models.execution.environment import HostRequirements, NodeRequirements

from aleph_devnet.app import Devnet
from aleph_devnet.clock import iso
from aleph_devnet.network import IMAGES
from soak.agents import public_key
from soak.schedule import Schedule, Wish
from soak.virtual_time import LIFE, VirtualLoop, until

_LOOK_S = 60.0
_TRIES = 2
_CREDIT = Payment(chain=Chain.ETH, type=PaymentType.credit, receiver=None)
_TROUBLE = (aiohttp.ClientError, BroadcastError, InvalidMessageError, OSError, TimeoutError, ValueError)


class Refused(ValueError):
    """A node did not do what it was asked."""


class NaiveDesign:
    """One server for all sessions; `_open` of them are connected."""

    name = "naive"

    def __init__(self, devnet: Devnet, schedule: Schedule, start: float, folder: Path) -> None:
        self._net, self._facts, self._schedule, self._start = devnet.network, devnet.facts(), schedule, start
        self._path = folder / "inventory.json"
        self._account = ETHAccount(self._net.accounts["funded"].key_file.read_bytes())
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._loop, self._life, self._context = loop, 0, Context()
        self._up = asyncio.Event()
        self._rows: dict[str, Any] = {}
        self._sdk: AuthenticatedAlephHttpClient
        self._http: aiohttp.ClientSession
        self.counts: Counter[str] = Counter()

    # Its life

    async def begin(self) -> None:
        """The next process."""
        self._life += 1
        self._context = copy_context()
        self._context.run(LIFE.set, self._life)
        self._sdk = AuthenticatedAlephHttpClient(self._account, api_server=self._facts["api_host"])
        await self._sdk.__aenter__()
        self._http = aiohttp.ClientSession()
        self._rows = json.loads(self._path.read_text()) if self._path.exists() else {}
        self._loop.create_task(self._reap(), context=self._context)
        self._up.set()

    async def kill(self, down_s: float) -> None:
        """The process ends, and is started again."""
        if not self._up.is_set():
            return
        await self.end()
        await asyncio.sleep(down_s)
        await self.begin()

    async def end(self) -> None:
        """The end of the process."""
        self._up.clear()
        await self._loop.kill(self._life)
        await self._sdk.__aexit__(None, None, None)
        await self._http.close()

    async def rows(self) -> set[str]:
        """What its file knows."""
        return set(self._rows)

    # What it does

    async def fulfil(self, wish: Wish) -> None:
        """Create, call again after an error, perhaps destroy."""
        await until(self._start + wish.at)
        item_hash = None
        for _ in range(1 if wish.gives_up else _TRIES):
            await self._up.wait()
            work = self._loop.create_task(self._create(wish), context=self._context.copy())
            await asyncio.wait({work})
            if not work.cancelled() and (item_hash := work.result()):
                break
            self.counts["create failed"] += 1
        if item_hash and wish.destroy_at is not None:
            await until(self._start + wish.destroy_at)
            self._write(item_hash, **{**self._rows[item_hash], "ends_at": self._net.clock.now()})

    async def _create(self, wish: Wish) -> str | None:
        crn = self._choose(wish)
        ends_at = self._net.clock.now() + wish.ttl_s + (wish.extend_s if wish.extend_at is not None else 0)
        try:
            message, _ = await self._sdk.create_instance(
                rootfs=IMAGES["ubuntu22"],
                payment=_CREDIT,
                memory=2048 * wish.compute_units,
                vcpus=wish.compute_units,
                rootfs_size=20_480 * wish.compute_units,
                ssh_keys=[public_key(self._schedule.seed, wish)],
                requirements=HostRequirements(node=NodeRequirements(node_hash=crn["hash"])),
                metadata={"expires_at": iso(ends_at)},
                sync=True,
            )
            self._write(str(message.item_hash), crn=crn["url"], ends_at=ends_at, ended=False)
            async with self._http.post(
                f"{crn['url']}/control/allocation/notify", json={"instance": message.item_hash}
            ) as answer:
                if answer.status != 200:
                    raise Refused(await answer.text())
        except Refused:
            self._write(str(message.item_hash), crn=crn["url"], ends_at=self._net.clock.now(), ended=False)
            return None
        except _TROUBLE:
            return None
        self.counts["create"] += 1
        return str(message.item_hash)

    def _choose(self, wish: Wish) -> dict[str, Any]:
        up = [crn for crn in self._net.crns if crn.up]
        node = up[wish.number % len(up)].node
        return {"hash": node.hash, "url": node.url}

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            now = self._net.clock.now()
            for item_hash, row in list(self._rows.items()):
                if not row["ended"] and row["ends_at"] <= now and self._somebody_is_connected():
                    await self._destroy(item_hash, row)

    def _somebody_is_connected(self) -> bool:
        at = self._net.clock.now() - self._start
        return at > self._schedule.seconds or any(
            one.at <= at < one.at + one.seconds for one in self._schedule.sessions
        )

    async def _destroy(self, item_hash: str, row: dict[str, Any]) -> None:
        try:
            await self._sdk.forget(hashes=[ItemHash(item_hash)], reason="its lease ended")
            async with VmClient(self._account, row["crn"]) as client:
                status, text = await client.erase_instance(ItemHash(item_hash))
            if status not in (200, 404):
                raise Refused(text)
        except _TROUBLE:
            return
        self._write(item_hash, **{**row, "ended": True})

    def _write(self, item_hash: str, **row: Any) -> None:
        self._rows[item_hash] = row
        self._path.write_text(json.dumps(self._rows))
