"""The accounts that every devnet is born with, and signing with their keys."""

import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account import Account as EthAccount
from eth_account.messages import encode_defunct

ROLES = ("funded", "unfunded", "human", "agent", "network")
"""`human` pays for what `agent` signs; `network` owns the pricing and settings aggregates."""


# The same everywhere, so that a daemon finds the prices of any devnet with `NETWORK=devnet` alone.
_NETWORK_SECRET = hashlib.sha256(b"aleph-devnet: the network's own account").digest()


@dataclass(frozen=True)
class Account:
    """A key that the network made, and where it lies."""

    role: str
    address: str
    key_file: Path

    def signed(self, kind: str, content: dict[str, Any], now: float) -> dict[str, Any]:
        """A message with this content, as the SDK would send it."""
        content = {"address": self.address, "time": now, **content}
        item_content = json.dumps(content, separators=(",", ":"))
        item_hash = hashlib.sha256(item_content.encode()).hexdigest()
        text = encode_defunct(text=f"ETH\n{self.address}\n{kind}\n{item_hash}")
        signature = EthAccount.sign_message(text, self.key_file.read_bytes()).signature
        return {
            "sender": self.address,
            "chain": "ETH",
            "type": kind,
            "channel": "ALEPH-CLOUDSOLUTIONS",
            "signature": "0x" + bytes(signature).hex(),
            "time": now,
            "item_type": "inline",
            "item_content": item_content,
            "item_hash": item_hash,
        }


def open_accounts(folder: Path) -> dict[str, Account]:
    """Make the accounts on first use; later return the same ones."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {role: _open(role, folder / f"{role}.key") for role in ROLES}


def _open(role: str, key_file: Path) -> Account:
    if not key_file.exists():
        fresh = key_file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(_NETWORK_SECRET if role == "network" else secrets.token_bytes(32))
        fresh.replace(key_file)
    return Account(role, EthAccount.from_key(key_file.read_bytes()).address, key_file)
