"""The dead-man's switch as a file: what one says, and what is believed of one that anybody may have written.

A file ends exactly one VM, at exactly one instant or later, and holds nothing else of use: its FORGETs are
signed, name that one VM, and cannot be changed.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from .model import SignedMessage, Vm

SUFFIX = ".kill-switch.json"
MAX_BYTES = 256 * 1024
_FORMAT, _VERSION = "aleph-agentd kill switch", 1
_MOST_FORGETS, _MOST_HOSTS, _LONGEST = 64, 16, 256
_HASH = re.compile(r"[0-9a-f]{64}")
_MESSAGE = frozenset(
    {"sender", "chain", "signature", "type", "item_type", "item_content", "item_hash", "time", "channel"}
)
_CONTENT = frozenset({"address", "time", "hashes", "aggregates", "reason"})


class NotOurs(ValueError):
    """Not a kill switch as we write them; the message says what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class KillSwitch:
    """What it takes to end one VM without the daemon, its key and its inventory."""

    name: str
    item_hash: str
    sender: str
    """Whose key signed; its AGGREGATE says whether the lease was extended."""
    crn_url: str
    expires_at: datetime
    api_hosts: tuple[str, ...]
    forgets: tuple[SignedMessage, ...]


def file_name(name: str, item_hash: str) -> str:
    """Named for what it holds (rules.md 23)."""
    return f"{re.sub('[^A-Za-z0-9._-]', '_', name)[:64]}-{item_hash[:12]}{SUFFIX}"


def of(vm: Vm, forgets: Sequence[SignedMessage], api_hosts: Sequence[str]) -> KillSwitch:
    """The kill switch of a row."""
    return KillSwitch(
        name=vm.name,
        item_hash=vm.item_hash,
        sender=vm.signer,
        crn_url=vm.crn_url,
        expires_at=vm.expires_at,
        api_hosts=tuple(api_hosts),
        forgets=tuple(forgets),
    )


def write(switch: KillSwitch) -> str:
    """The content of its file."""
    document = {
        "format": _FORMAT,
        "version": _VERSION,
        "what": "Whoever has this file can end this VM, and nothing else: aleph-agentd reap-escrow DIR",
        "name": switch.name,
        "item_hash": switch.item_hash,
        "expires_at": switch.expires_at.isoformat(),
        "sender": switch.sender,
        "crn_url": switch.crn_url,
        "api_hosts": list(switch.api_hosts),
        "forgets": [json.loads(forget.body) for forget in switch.forgets],
    }
    return json.dumps(document, indent=1) + "\n"


def read(text: str) -> KillSwitch:
    """The kill switch in a file. Raises NotOurs for everything that is not exactly one."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise NotOurs("not JSON") from None
    if not isinstance(found, dict) or (found.get("format"), found.get("version")) != (_FORMAT, _VERSION):
        raise NotOurs("not a kill switch of aleph-agentd, or of another version")
    item_hash, sender = _word(found, "item_hash"), _word(found, "sender")
    if not _HASH.fullmatch(item_hash):
        raise NotOurs("item_hash is no hash")
    return KillSwitch(
        name=_word(found, "name"),
        item_hash=item_hash,
        sender=sender,
        crn_url=_word(found, "crn_url"),
        expires_at=_instant(_word(found, "expires_at")),
        api_hosts=tuple(_host(host) for host in _list(found, "api_hosts", _MOST_HOSTS)),
        forgets=tuple(_forget(item, item_hash, sender) for item in _list(found, "forgets", _MOST_FORGETS)),
    )


def is_loopback(url: str) -> bool:
    """Whether a URL names this very machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _word(found: dict[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable():
        raise NotOurs(f"{name} is no word")
    return value


def _list(found: dict[str, Any], name: str, most: int) -> list[Any]:
    value = found.get(name)
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        raise NotOurs(f"{name} is no list of 1 to {most}")
    return value


def _instant(value: str) -> datetime:
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise NotOurs("expires_at is no instant") from None
    if at.tzinfo is None:
        raise NotOurs("expires_at has no time zone")
    return at


def _host(url: Any) -> str:
    """https anywhere; http to this machine only, where a devnet may listen."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        sound = bool(parts.hostname) and url.isprintable() and len(url) <= _LONGEST and (parts.port, True)[1]
        plain = parts.scheme == "http" and sound and is_loopback(url)
    except ValueError:
        raise NotOurs("an API host is no URL") from None
    if not sound or not (parts.scheme == "https" or plain) or parts.query or parts.fragment or parts.username:
        raise NotOurs("an API host is no https URL")
    return str(url)


def _forget(message: Any, item_hash: str, sender: str) -> SignedMessage:
    """A FORGET of exactly this VM, by exactly this key, unchanged since it was signed."""
    if not isinstance(message, dict) or not message.keys() <= _MESSAGE:
        raise NotOurs("a message has other fields than a FORGET")
    if (message.get("type"), message.get("item_type"), message.get("sender")) != ("FORGET", "inline", sender):
        raise NotOurs("a message is no FORGET of this sender")
    text, own_hash = message.get("item_content"), message.get("item_hash")
    if not isinstance(text, str) or hashlib.sha256(text.encode()).hexdigest() != own_hash:
        raise NotOurs("a FORGET is not what was signed")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise NotOurs("a FORGET has no content") from None
    if not isinstance(content, dict) or not content.keys() <= _CONTENT:
        raise NotOurs("a FORGET says more than it should")
    if content.get("hashes") != [item_hash] or content.get("aggregates"):
        raise NotOurs("a FORGET would end something else")
    return SignedMessage(str(own_hash), json.dumps(message, separators=(",", ":")))
