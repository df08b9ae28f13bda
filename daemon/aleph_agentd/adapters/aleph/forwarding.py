"""The payer's AGGREGATE that opens ports of VMs: what is signed into it, and what is read from it.

It merges per VM, and the last writer by content time wins: a message is all that is open of one VM.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from ...domain.delegation import PORTS
from ...domain.forwards import SSH_PORT, Forwarded, Forwards, Protocols, check_forwards
from .ccn import Ccn
from .checked import making_sense, mapping, sha256

_PORT = re.compile(r"[1-9][0-9]{0,4}")
_MOST_SHOWN = 64


def ports_content(item_hash: str, payer: str, forwards: Forwards, at: datetime) -> dict[str, Any]:
    """The content of an AGGREGATE that says what is open of one VM, and nothing else; of none: null."""
    check_forwards(forwards)
    ports = {str(port): {"tcp": protocols.tcp, "udp": protocols.udp} for port, protocols in forwards.items()}
    content = {sha256(item_hash): {"ports": ports} if ports else None}
    return {"key": PORTS, "address": payer, "time": at.timestamp(), "content": content}


async def published_forwards(ccn: Ccn, owner: str) -> dict[str, Forwards]:
    """By hash, what this address asks for, also if it is nothing; an aggregate that is not there asks for none."""

    async def question(host: str) -> dict[str, Forwards]:
        path = f"/api/v0/aggregates/{quote(owner, safe='')}.json"
        answer = await ccn.get(host, path, {"keys": PORTS}, expect=(200, 404))
        if answer.status == 404:
            return {}
        with making_sense(answer.endpoint):
            entries = mapping(mapping(mapping(answer.json())["data"]).get(PORTS) or {})
            return {item_hash: _forwards(entry) for item_hash, entry in entries.items() if entry is not None}

    return await ccn.ask(question)


def mapped_ports(said: Any) -> dict[int, Forwarded]:
    """The ports that a CRN says it forwards; what makes no sense is left out (rules.md 18)."""
    found: dict[int, Forwarded] = {}
    for name, entry in said.items() if isinstance(said, dict) else ():
        port, host = _port(name), entry.get("host") if isinstance(entry, dict) else None
        if port and isinstance(host, int) and not isinstance(host, bool) and 1 <= host <= 65535:
            protocols = _protocols(entry)
            found[port] = Forwarded(protocols.tcp, protocols.udp, host)
        if len(found) >= _MOST_SHOWN:
            break
    return found


def _forwards(entry: Any) -> Forwards:
    """Others write here, too: a port that makes no sense forwards nothing."""
    ports = entry.get("ports") if isinstance(entry, dict) else None
    found = {
        _port(name): _protocols(flags) for name, flags in (ports.items() if isinstance(ports, dict) else ())
    }
    return {
        port: protocols
        for port, protocols in found.items()
        if port and port != SSH_PORT and (protocols.tcp or protocols.udp)
    }


def _port(name: Any) -> int:
    """0 when it is none."""
    port = int(name) if isinstance(name, str) and _PORT.fullmatch(name) else 0
    return port if port <= 65535 else 0


def _protocols(flags: Any) -> Protocols:
    said: Mapping[str, Any] = flags if isinstance(flags, dict) else {}
    return Protocols(said.get("tcp") is True, said.get("udp") is True)
