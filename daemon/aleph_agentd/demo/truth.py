"""What the network itself says of a VM: read from devnet, not from the daemon."""

import asyncio
import json
import urllib.request
from dataclasses import dataclass
from typing import Any

from aleph_agentd.demo.failure import DemoFailed

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Truth:
    """One look at one VM."""

    now: float
    status: str
    """Of its INSTANCE message."""
    hosts: tuple[str, ...]
    """The CRNs that run it."""
    charged_units: int | None
    charged_seconds: float | None
    billing: bool

    @property
    def forgotten(self) -> bool:
        """Whether the network has ended it."""
        return self.status == "forgotten"


async def look(api_host: str, item_hash: str) -> Truth:
    """Read `/devnet/state`."""
    try:
        state = await asyncio.to_thread(_read, f"{api_host}/devnet/state")
        return _truth(state, item_hash)
    except (OSError, ValueError, KeyError, StopIteration) as problem:
        raise DemoFailed(f"the network's own state cannot be read: {problem!r}") from None


def _read(url: str) -> dict[str, Any]:
    # No proxy of the user's: the network is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=TIMEOUT_S) as answer:
        state: dict[str, Any] = json.load(answer)
        return state


def _truth(state: dict[str, Any], item_hash: str) -> Truth:
    message = next((found for found in state["messages"] if found["item_hash"] == item_hash), None)
    charges = [charge for charge in state["charges"] if charge["item_hash"] == item_hash]
    now = float(state["now"])
    return Truth(
        now=now,
        status=str(message["status"]) if message else "unknown",
        hosts=tuple(str(crn["url"]) for crn in state["crns"].values() if item_hash in crn["vms"]),
        charged_units=sum(int(charge["units"]) for charge in charges) if charges else None,
        charged_seconds=sum((charge["to"] or now) - charge["from"] for charge in charges)
        if charges
        else None,
        billing=any(charge["to"] is None for charge in charges),
    )
