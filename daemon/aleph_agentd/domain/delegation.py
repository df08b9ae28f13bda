"""Delegated mode: what the payer has to grant to our key, what breaks without it, and the payer's own commands. Pure."""

from collections.abc import Collection
from typing import Any

CHANNEL = "ALEPH-CLOUDSOLUTIONS"
"""The channel of all our messages."""
INSTANCE, FORGET, AGGREGATE = "INSTANCE", "FORGET", "AGGREGATE"
PORTS = "port-forwarding"
"""The payer's aggregate that opens ports of a VM."""

BREAKS = {
    INSTANCE: "no VM can be created, and those that run cannot be ended by this key",
    FORGET: "nothing today: who may send an INSTANCE may also forget it",
    AGGREGATE: "no ports but SSH can be opened",
}
"""What each grant is for, as what happens without it."""


def missing(granted: Collection[str]) -> list[str]:
    """What is not granted, the most important first."""
    return [kind for kind in BREAKS if kind not in granted]


def suffices(granted: Collection[str]) -> bool:
    """Whether our key may rent on the payer's account, and end what it rented: both hang on INSTANCE."""
    return INSTANCE in granted


def grants_of(entries: Any, agent: str) -> frozenset[str]:
    """What a payer's `security` aggregate lets this address send. What a node would not understand grants nothing."""
    granted: set[str] = set()
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or entry.get("address") != agent:
            continue
        if entry.get("chain") not in (None, "", "ETH") or not _covers(entry, "channels", CHANNEL):
            continue
        kinds = {kind for kind in BREAKS if _covers(entry, "types", kind)}
        granted |= kinds if _covers(entry, "aggregate_keys", PORTS) else kinds - {AGGREGATE}
    return frozenset(granted)


def _covers(entry: dict[str, Any], name: str, value: str) -> bool:
    """An empty or missing list limits nothing."""
    listed = entry.get(name)
    return not listed or (isinstance(listed, list) and value in listed)


def entry_for(agent: str) -> dict[str, Any]:
    """The entry that grants all of it, for the `authorizations` of the payer's `security` aggregate."""
    return {"address": agent, "types": list(BREAKS), "channels": [CHANNEL], "aggregate_keys": [PORTS]}


def grant_command(agent: str) -> str:
    """The payer's command that grants it, with the official CLI."""
    return (
        f"aleph authorizations add {agent} --channels {CHANNEL} --message-types {','.join(BREAKS)}"
        f" --aggregate-keys {PORTS}"
    )


def forget_command(item_hash: str) -> str:
    """The payer's command that ends the billing of a VM, with the official CLI."""
    return f"aleph message forget {item_hash}"
