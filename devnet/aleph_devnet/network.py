"""The whole network in one object: made from a directory, and moved on by a ticker."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aleph_devnet.accounts import open_accounts
from aleph_devnet.chain import Chain
from aleph_devnet.clock import Clock
from aleph_devnet.credits import Ledger
from aleph_devnet.crn import Crn
from aleph_devnet.exhaustion import Exhaustion
from aleph_devnet.faults import Fault, Faults
from aleph_devnet.hardware import open_nodes
from aleph_devnet.pricing import PRICING, SETTINGS
from aleph_devnet.state import Store
from aleph_devnet.validation import parse
from aleph_devnet.witness import Witness

IMAGES = {
    "ubuntu22": "4a0f62da42f4478544616519e6f5d58adb1096e069b392b151d47c3609492d0c",
    "ubuntu24": "5330dcefe1857bcd97b7b7f24d1420a7d46232d53f27be280c8a7071d88bd84e",
    "debian12": "b6ff5c3a8205d1ca4c7c3369300eeafff498b558f71b851aa2114afd0a532717",
}
DELEGATED = ["INSTANCE", "FORGET", "AGGREGATE"]


@dataclass(frozen=True)
class Options:
    """What `aleph-devnet run` can be told."""

    folder: Path
    host: str = "127.0.0.1"
    port: int = 4024
    crns: int = 3
    boot_seconds: float = 1.0
    time_scale: float = 1.0
    credits: int = 100_000_000
    crn_memory_gib: int = 256
    tick_s: float = 0.05
    """How often the network looks what is due."""
    ssh: bool = True
    """Whether an SSH server answers for each VM; without, its port is only a number."""

    guest: str = "shell"
    """What runs in a VM: `shell` understands a few commands, in memory; `bwrap` runs them, sandboxed."""

    guest_tools: Path | None = None
    """A folder with a `bin` that such a sandbox may read."""


class Network:
    """CCN, CRNs and biller over one store and one clock. It serves nothing by itself: see app.py."""

    def __init__(self, options: Options) -> None:
        folder = options.folder
        self.options = options
        self.store = Store(folder / "state.db")
        self.clock = Clock(self.store, folder / "clock", options.time_scale)
        self.accounts = open_accounts(folder / "accounts")
        self.faults = Faults()
        self.witness = Witness(self.clock.now)
        self.chain = Chain(self.store, Ledger(self.store), self.clock.now, self.accounts["network"].address)
        self._tick_lock = asyncio.Lock()
        if self.store.get("meta", "genesis") is None:
            self._genesis()
        self.exhaustion = Exhaustion(self.chain, self.store, self.clock.now())
        nodes = open_nodes(self.store, options.crns, options.crn_memory_gib)
        self.crns = [
            Crn(
                node,
                self.chain,
                self.store,
                self.clock.now,
                options.boot_seconds,
                witness=self.witness,
                ssh=options.ssh,
                homes=folder / "guests" if options.guest == "bwrap" else None,
                tools=options.guest_tools,
            )
            for node in nodes
        ]
        self.set_down: Callable[..., Awaitable[None]]

    def _genesis(self) -> None:
        """What the network knows before anyone uses it: prices, OS images, credits, one delegation."""
        now, accounts = self.clock.now(), self.accounts
        human, agent, network = accounts["human"], accounts["agent"], accounts["network"]
        grant = {"address": agent.address, "types": DELEGATED, "aggregate_keys": [], "channels": []}
        with self.store.together():
            for account, key, content in (
                (network, "pricing", PRICING),
                (network, "settings", SETTINGS),
                (human, "security", {"authorizations": [grant]}),
            ):
                raw = account.signed("AGGREGATE", {"key": key, "content": content}, now)
                self.chain.receive(parse(raw, now), sync=True)
            for item_hash in IMAGES.values():
                self.chain.add_image(item_hash, network.address)
            for role in ("funded", "human"):
                self.chain.ledger.deposit(accounts[role].address, self.options.credits, now)
            self.store.put("meta", "genesis", now)

    def strike(self, fault: Fault) -> None:
        """Begin a fault."""
        self.faults.active.append(fault)
        self.note_outages()

    def lift(self, *faults: Fault) -> None:
        """End these faults; those that ended already are harmless."""
        self.faults.active = [fault for fault in self.faults.active if fault not in faults]
        self.note_outages()

    def note_outages(self) -> None:
        """Tell the witness who can be reached now."""
        self.witness.reachable("ccn", now_is=not self.faults.cuts_off("ccn", "/api/v0/messages/"))
        for crn in self.crns:
            cut_off = self.faults.cuts_off(crn.node.hash, "/v2/about/executions/list")
            self.witness.reachable(crn.node.hash, now_is=crn.up and not cut_off)

    async def tick(self) -> None:
        """Do everything that has become due by the network's clock."""
        async with self._tick_lock:
            self.chain.run_due()
            self.exhaustion.run_due(self.clock.now())
            reachable = not self.faults.cuts_off("ccn", "/api/v0/messages/")
            for crn in self.crns:
                if crn.up:
                    await crn.run_due(reachable)

    async def close(self) -> None:
        """Stop every VM and close the store."""
        for crn in self.crns:
            await crn.stop()
        self.store.close()
