"""What somebody else does with our key, or to the network, behind the daemon's back."""

import hashlib
import json
import time
import urllib.request
from datetime import UTC, datetime
from typing import Any

from eth_account import Account
from eth_account.messages import encode_defunct

from aleph_agentd.adapters.aleph.stamps import TAG
from crash.tenant import Tenant

Message = dict[str, Any]
GIVES_UP_S = 600
"""Longer than the network tries to process a message whose target it does not know."""


def instance(tenant: Tenant, **changes: Any) -> str:
    """Post a copy of our only INSTANCE with other contents, as another machine with our key would; its hash."""
    (kept,) = tenant.read("SELECT body FROM signed_messages")
    content = json.loads(json.loads(kept["body"])["item_content"])
    return _post(tenant, "INSTANCE", {**content, "time": time.time(), **changes})


def stamp(ends_at: float) -> Message:
    """The metadata of another installation."""
    end = datetime.fromtimestamp(ends_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {TAG: "elsewhere", "lease": "f" * 32, "expires_at": end, "tags": [TAG]}


def burn_first_forget(tenant: Tenant, item_hash: str) -> None:
    """Post the VM's first kill switch while the network refuses it: the same bytes are dropped from then on."""
    first = tenant.read("SELECT body FROM forgets WHERE item_hash = ? ORDER BY n LIMIT 1", item_hash)[0]
    tenant.net.set_status(item_hash, "removed")
    _send(tenant, json.loads(first["body"]))
    tenant.net.advance(GIVES_UP_S)
    tenant.net.set_clock(0)
    tenant.net.set_status(item_hash, "processed")


def _post(tenant: Tenant, kind: str, content: Message) -> str:
    text = json.dumps(content, separators=(",", ":"))
    item_hash, sender = hashlib.sha256(text.encode()).hexdigest(), tenant.daemon.address
    signed = encode_defunct(text="\n".join(["ETH", sender, kind, item_hash]))
    signature = Account.sign_message(signed, tenant.daemon.key_file.read_bytes()).signature.hex()
    message = {
        "sender": sender,
        "chain": "ETH",
        "signature": "0x" + signature.removeprefix("0x"),
        "type": kind,
        "item_type": "inline",
        "item_content": text,
        "item_hash": item_hash,
        "time": content["time"],
        "channel": "elsewhere",
    }
    _send(tenant, message)
    return item_hash


def _send(tenant: Tenant, message: Message) -> None:
    body = json.dumps({"sync": True, "message": message}).encode()
    headers = {"Content-Type": "application/json"}
    url = f"{tenant.net.api_host}/api/v0/messages"
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        urllib.request.urlopen(request, timeout=30).close()
    except urllib.error.HTTPError as refused:
        refused.close()  # 422: it is known, and refused, which is what was wanted
