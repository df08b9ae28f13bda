"""Kill switches as the network would take them, and as somebody hostile would write them."""

import hashlib
import json
from datetime import datetime, timedelta
from typing import Any

from aleph_agentd.domain.escrow import KillSwitch, write
from aleph_agentd.domain.model import SignedMessage
from support.clock import NOON
from support.inventory import a_hash

VM = a_hash("vm")
SENDER = "0x6370eF2f4Db3611D657b90667De398a2Cc2a370C"
HOSTS = ("https://api.example", "https://api2.example")


def a_forget(n: int = 1, target: str = VM, sender: str = SENDER, **content: Any) -> SignedMessage:
    """A FORGET; nobody checks its signature here."""
    says = {"address": sender, "time": 1.0, "hashes": [target], "reason": f"lease ended {n}"} | content
    text = json.dumps(says)
    message = {
        "sender": sender,
        "chain": "ETH",
        "signature": "0x00",
        "type": "FORGET",
        "item_type": "inline",
        "item_content": text,
        "item_hash": hashlib.sha256(text.encode()).hexdigest(),
        "time": 1.0,
        "channel": "c",
    }
    return SignedMessage(str(message["item_hash"]), json.dumps(message, separators=(",", ":")))


def a_switch(*, ends: datetime | timedelta = NOON, forgets: int = 3, **changes: Any) -> KillSwitch:
    """The kill switch of one VM."""
    facts: dict[str, Any] = {
        "name": "box",
        "item_hash": VM,
        "sender": SENDER,
        "crn_url": "https://crn.example",
        "expires_at": NOON + ends if isinstance(ends, timedelta) else ends,
        "api_hosts": HOSTS,
        "forgets": tuple(a_forget(n) for n in range(forgets)),
    }
    return KillSwitch(**(facts | changes))


def a_document(**changes: Any) -> dict[str, Any]:
    """What its file says, with some of it changed; None takes a field away."""
    document = json.loads(write(a_switch())) | changes
    return {name: value for name, value in document.items() if value is not None}
