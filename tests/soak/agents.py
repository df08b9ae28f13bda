"""Agents with wishes, who call the daemon's tools as clients do: they wait, lose answers, and ask again."""

import base64
import hashlib
from collections import Counter
from typing import Any, Protocol

from aleph_agentd.domain.errors import Refusal
from soak.schedule import HOUR_S, Wish
from soak.virtual_time import until

FORGOTTEN_REQUEST = "A REQUEST WAS FORGOTTEN"
_TRIES = 20


class AnswerLost(Exception):
    """The daemon died before it answered."""


class Tools(Protocol):
    """What agents see of a daemon."""

    async def call(self, tool: str, arguments: dict[str, Any], session: int, key: str) -> dict[str, Any]:
        """A tool's answer. Raises Refusal and AnswerLost; waits while the daemon is down."""


def public_key(seed: int, wish: Wish) -> str:
    """The SSH key by which the network tells the VMs of one wish."""
    kind = b"ssh-ed25519"
    blob = (
        len(kind).to_bytes(4)
        + kind
        + (32).to_bytes(4)
        + hashlib.sha256(f"{seed} {wish.number}".encode()).digest()
    )
    return f"{kind.decode()} {base64.b64encode(blob).decode()}"


class Agents:
    """Carries out wishes, and counts what became of them."""

    def __init__(self, tools: Tools, seed: int, start: float) -> None:
        self._tools, self._seed, self._start = tools, seed, start
        self.counts: Counter[str] = Counter()

    async def fulfil(self, wish: Wish) -> None:
        """Create, perhaps extend or destroy, each at its time."""
        await until(self._start + wish.at)
        arguments = {
            "name": f"w{wish.number}",
            "ttl_hours": wish.ttl_s / HOUR_S,
            "compute_units": wish.compute_units,
            "ssh_pubkey": public_key(self._seed, wish),
        }
        vm = await self._ask("create", "aleph_create_vm", arguments, wish)
        if vm is None:
            return
        if wish.asks_twice and not wish.gives_up:
            again = await self._ask("create", "aleph_create_vm", arguments, wish)
            same = again is not None and again["item_hash"] == vm["item_hash"]
            self.counts["same request, same VM" if same else FORGOTTEN_REQUEST] += 1
        if wish.extend_at is not None:
            await until(self._start + wish.extend_at)
            more = {"item_hash": vm["item_hash"], "additional_hours": wish.extend_s / HOUR_S}
            await self._ask("extend", "aleph_extend_vm", more, wish)
        if wish.destroy_at is not None:
            await until(self._start + wish.destroy_at)
            await self._ask("destroy", "aleph_destroy_vm", {"item_hash": vm["item_hash"]}, wish)

    async def _ask(
        self, what: str, tool: str, arguments: dict[str, Any], wish: Wish
    ) -> dict[str, Any] | None:
        for _ in range(_TRIES):
            try:
                answer = await self._tools.call(tool, arguments, wish.session, f"{what}-{wish.number}")
                self.counts[what] += 1
                return answer
            except AnswerLost:
                self.counts[f"{what}: answer lost"] += 1
                if wish.gives_up:
                    return None
            except Refusal as refusal:
                self.counts[f"{what}: {refusal.code}"] += 1
                return None
        return None
