"""Rows for tests of the inventory, and an inventory in a temporary directory."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from aleph_agentd.domain.model import Exposure, Intent, SignedMessage, Vm, VmState

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)
RATE = Decimal("3.9583333333333333")
RESERVE = 20_000

Query = Callable[[str], list[tuple[Any, ...]]]
"""A statement of the test's own to its rows."""
Unwritable = Callable[[str], AbstractContextManager[None]]
"""A table that takes no row meanwhile."""


def a_hash(seed: object) -> str:
    """A hash like the network's."""
    return hashlib.sha256(str(seed).encode()).hexdigest()


def a_vm(seed: object = 1, **fields: Any) -> Vm:
    """An intended VM with a lease of an hour."""
    defaults: dict[str, Any] = {
        "item_hash": a_hash(seed),
        "lease_id": f"lease-{seed}",
        "create_id": f"create-{seed}",
        "name": f"vm-{seed}",
        "state": VmState.INTENDED,
        "cause": "asked for",
        "session": "s1",
        "payer": "0xPayer",
        "signer": "0xSigner",
        "crn_hash": "c" * 64,
        "crn_url": "https://crn.example",
        "compute_units": 1,
        "vcpus": 1,
        "memory_mib": 2048,
        "disk_mib": 20480,
        "os_image": "ubuntu22",
        "rate": RATE,
        "created_at": NOW,
        "expires_at": NOW + HOUR,
    }
    return Vm(**(defaults | fields))


def an_intent(vm: Vm, reserve_units: int = RESERVE, forgets: int = 3, **fields: Any) -> Intent:
    """Commit 1 of a create."""
    switches = tuple(
        SignedMessage(a_hash(f"{vm.item_hash}{n}"), f'{{"forget": {n}}}') for n in range(forgets)
    )
    create = SignedMessage(vm.item_hash, '{"instance": true}')
    return Intent(vm=vm, create=create, forgets=switches, reserve_units=reserve_units, **fields)


def allow(exposure: Exposure) -> None:
    """A policy without limits."""
