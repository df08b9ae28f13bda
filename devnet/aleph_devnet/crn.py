"""A compute resource node: it runs what it is told about, whoever tells it, and asks the CCN once a minute."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aleph_devnet.chain import Chain
from aleph_devnet.guest import Guest, new_host_key
from aleph_devnet.hardware import Node
from aleph_devnet.message import LIVE, PENDING, REJECTED
from aleph_devnet.reservations import Reservations
from aleph_devnet.sandbox import Sandbox
from aleph_devnet.state import Store
from aleph_devnet.vm import Vm
from aleph_devnet.witness import Witness

FIRST_PORT = 24_000
POLL_S = 60
STRIKES = 3
DELEGATION_CACHE_S = 120


class RefusedError(Exception):
    """The answer of a CRN that does not do what it was asked."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Crn:
    """One node and its VMs. It keeps what it needs to start a VM again, long after the VM is gone."""

    def __init__(
        self,
        node: Node,
        chain: Chain,
        store: Store,
        now: Callable[[], float],
        boot_seconds: float,
        *,
        witness: Witness,
        ssh: bool = True,
        homes: Path | None = None,
        tools: Path | None = None,
    ) -> None:
        self.node, self.chain, self._store, self._now = node, chain, store, now
        self._boot_seconds, self._witness, self._ssh = boot_seconds, witness, ssh
        self._homes, self._tools = homes, tools
        """Where sandboxed guests live (None: they are in memory), and what more of this machine they may read."""
        self._kind = f"vm {node.hash}"
        self._cached: set[str] = set()
        self._delegates: dict[str, tuple[float, list[Any]]] = {}
        self._reservations = Reservations(now)
        self._next_number = 0
        self.vms: dict[str, Vm] = {}
        self.up = True
        self.down_since: float | None = None
        self.clock_skew_s = 0.0
        self._next_poll_at = now() + POLL_S
        for item_hash, body in store.all(self._kind):
            self._restore(item_hash, body)

    def _restore(self, item_hash: str, body: dict[str, Any]) -> None:
        self._cached.add(item_hash)
        self._next_number = max(self._next_number, body["number"] + 1)
        if body["in_pool"]:
            content = self.chain.messages[item_hash].content
            vm = Vm(item_hash, body["number"], content, body["defined_at"], self._now(), body["ports"])
            vm.host_key = body.get("host_key", "")
            self.vms[item_hash] = vm
            self._witness.entered(self.node.hash, item_hash)

    # Allocation

    def notify(self, item_hash: str) -> None:
        """Start a VM unless it runs. What was once started here is started again, even if it is forgotten."""
        if item_hash in self.vms:
            return
        message = self.chain.get(item_hash)
        known = (
            message is not None and message.type == "INSTANCE" and message.status not in (PENDING, REJECTED)
        )
        if message is None or not known or (message.status not in LIVE and item_hash not in self._cached):
            raise RefusedError(500, "Aleph message not found")
        self._check_requirements(message.content)
        if message.status in LIVE:
            self._check_credits(message.owner)
        vm = Vm(item_hash, self._next_number, message.content, self._now(), self._now() + self._boot_seconds)
        self.check_room(vm, str(message.content["address"]))
        self._reservations.release(str(message.content["address"]), vm.gpus)
        self._next_number += 1
        self._cached.add(item_hash)
        self.vms[item_hash] = vm
        self._witness.entered(self.node.hash, item_hash)
        self._save(vm)

    def _check_requirements(self, content: dict[str, Any]) -> None:
        wanted = (content.get("requirements") or {}).get("node") or {}
        if wanted.get("node_hash") not in (None, self.node.hash):
            raise RefusedError(400, "The instance is not allocated to this node")
        if self.node.terms and wanted.get("terms_and_conditions") != self.node.terms:
            raise RefusedError(403, "The terms and conditions of this node were not accepted")

    def _check_credits(self, owner: str) -> None:
        ledger, now = self.chain.ledger, self._now()
        balance, need = ledger.balance(owner, now), ledger.hourly_need(owner)
        if balance < need:
            raise RefusedError(402, f"Insufficient credits: {owner} has {balance}, needs {need} for an hour")

    def check_room(self, vm: Vm, user: str) -> None:
        """Refuse what does not fit, or is kept for somebody else."""
        left = [gpu["device_id"] for gpu in self.free_gpus]
        kept = self._reservations.of_others(user)
        if vm.memory_mib > self.free_memory_mib or any(
            vm.gpus.count(gpu) > left.count(gpu) - kept.count(gpu) for gpu in vm.gpus
        ):
            raise RefusedError(503, "This CRN cannot host the requested instance at this time.")

    def reserve(self, content: dict[str, Any], sender: str) -> float:
        """Keep the GPUs that an INSTANCE asks for, for who signs this; until when. Of all else it looks only."""
        vm = Vm("", 0, content, 0, 0)
        self.check_room(vm, sender)
        return self._reservations.reserve(sender, vm.gpus)

    @property
    def free_gpus(self) -> list[dict[str, Any]]:
        """GPUs that no VM has."""
        taken = [gpu for vm in self.vms.values() for gpu in vm.gpus]
        free = []
        for entry in self.node.gpus:
            if entry["device_id"] in taken:
                taken.remove(entry["device_id"])
            else:
                free.append(entry)
        return free

    @property
    def free_memory_mib(self) -> int:
        """Memory that no VM has."""
        return self.node.memory_mib - sum(vm.memory_mib for vm in self.vms.values())

    # Operations of the owner

    def may_operate(self, sender: str, owner: str) -> bool:
        """The owner, and whom the owner authorized for instances, as known up to two minutes ago."""
        if sender.lower() == owner.lower():
            return True
        return any(
            str(entry.get("address", "")).lower() == sender.lower()
            for entry in self._authorizations(owner)
            if isinstance(entry, dict) and (not entry.get("types") or "INSTANCE" in entry["types"])
        )

    def _authorizations(self, owner: str) -> list[Any]:
        now = self._now()
        read_at, entries = self._delegates.get(owner, (0.0, []))
        if not 0 <= now - read_at < DELEGATION_CACHE_S:
            entries = self.chain.aggregates.authorizations(owner)
            self._delegates[owner] = (now, entries)
        return entries

    async def remove(self, item_hash: str) -> None:
        """Take a VM out of the pool: erase, stop and the monitor all end here."""
        vm = self.vms.pop(item_hash)
        self._witness.left(self.node.hash, item_hash)
        self._store.put(self._kind, item_hash, {**vm.saved(), "in_pool": False})
        await self._halt(vm)
        await self._wipe(vm)

    async def restart(self, item_hash: str, *, wipe: bool = False) -> None:
        """Reboot a VM: it keeps its ports, and its SSH host key unless its disk is wiped."""
        vm = self.vms[item_hash]
        vm.host_key = "" if wipe else vm.host_key
        vm.started_at, vm.boots_at = None, self._now() + self._boot_seconds
        await self._halt(vm)
        if wipe:
            await self._wipe(vm)

    async def _wipe(self, vm: Vm) -> None:
        if self._homes is not None:
            await asyncio.to_thread(shutil.rmtree, self._homes / vm.item_hash, ignore_errors=True)

    async def _halt(self, vm: Vm) -> None:
        guest, vm.guest = vm.guest, None
        if guest is not None:
            await guest.stop()

    # Time

    async def run_due(self, ccn_reachable: bool) -> None:
        """Finish the boots that are due, and ask the CCN about every VM once a minute."""
        now = self._now()
        for vm in [vm for vm in self.vms.values() if vm.started_at is None and vm.boots_at <= now]:
            await self._boot(vm)
        # After a jump of the clock, more polls than strikes would tell nothing more.
        behind = int((now - self._next_poll_at) // POLL_S) + 1
        for _ in range(min(behind, STRIKES)):
            if ccn_reachable:
                await self._poll(now)
        self._next_poll_at += max(0, behind) * POLL_S

    def resume(self) -> None:
        """Come back after having been down: the monitor starts to count anew."""
        self._next_poll_at = self._now() + POLL_S
        for vm in self.vms.values():
            vm.strikes = 0

    async def _poll(self, now: float) -> None:
        for vm in list(self.vms.values()):
            message = self.chain.get(vm.item_hash)
            vm.strikes = 0 if message is not None and message.status in LIVE else vm.strikes + 1
            if vm.strikes >= STRIKES or (
                message is not None and self.chain.ledger.balance(message.owner, now) <= 0
            ):
                await self.remove(vm.item_hash)

    async def _boot(self, vm: Vm) -> None:
        guest, port = await self._start_guest(vm) if self._ssh else (None, FIRST_PORT + vm.number % 40_000)
        if self.vms.get(vm.item_hash) is not vm:
            if guest is not None:
                await guest.stop()
            return
        vm.guest, vm.started_at = guest, self._now()
        vm.ports["22"] = port
        self._save(vm)

    async def _start_guest(self, vm: Vm) -> tuple[Guest, int]:
        vm.host_key = vm.host_key or new_host_key()
        taken = {port for other in self.vms.values() for port in other.ports.values()}
        port = vm.ports.get("22") or FIRST_PORT
        while port < 65_535:
            if port not in taken or port == vm.ports.get("22"):
                guest = Guest(
                    host=self.node.host,
                    port=port,
                    authorized_keys=vm.content.get("authorized_keys") or [],
                    hostname=vm.item_hash[:16],
                    os_image=vm.content["rootfs"]["parent"]["ref"],
                    host_key=vm.host_key,
                    sandbox=self._sandbox_of(vm),
                )
                try:
                    return guest, await guest.start()
                except OSError:
                    vm.ports.pop("22", None)
            port += 1
        raise RuntimeError(f"{self.node.name} has no port left")

    def _sandbox_of(self, vm: Vm) -> Sandbox | None:
        if self._homes is None:
            return None
        return Sandbox(self._homes / vm.item_hash, vm.item_hash[:16], self._tools)

    # What it tells

    def executions(self) -> dict[str, dict[str, Any]]:
        """The pool, as `/v2/about/executions/list` tells it."""
        for vm in self.vms.values():
            self._forward_ports(vm)
        return {item_hash: vm.shown(self.node.host) for item_hash, vm in self.vms.items()}

    def _forward_ports(self, vm: Vm) -> None:
        """Follow the owner's `port-forwarding` aggregate; such ports are told, but nothing listens there."""
        config = self.chain.aggregates.get(str(vm.content["address"]), "port-forwarding").get(vm.item_hash)
        wanted = (config or {}).get("ports") or {}
        vm.flags = {str(port): dict(flags) for port, flags in wanted.items()}
        if not vm.ports:
            return
        for port in vm.flags.keys() - vm.ports.keys():
            taken = {number for other in self.vms.values() for number in other.ports.values()}
            vm.ports[port] = next(n for n in range(FIRST_PORT, 65_536) if n not in taken)
        for port in vm.ports.keys() - vm.flags.keys() - {"22"}:
            del vm.ports[port]

    def _save(self, vm: Vm) -> None:
        self._store.put(self._kind, vm.item_hash, vm.saved())

    async def stop(self) -> None:
        """Stop every guest; the pool stays as it is for the next start."""
        for vm in self.vms.values():
            await self._halt(vm)
