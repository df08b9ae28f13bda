"""The CRN list, as facts: every field is its owner's claim (rules.md 18)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...domain.crn import Gpu
from ...domain.model import Crn
from .checked import clean, instant, is_item_hash, listing, mapping, node_url, number, sha256

MAX_CRNS = 5000
MAX_GPUS = 32
_DEVICE_ID = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")
_DEVICE_CLASSES = ("0300", "0302")
_MAX_NUMBER = 10**15


@dataclass(frozen=True)
class ParsedList:
    """The sound entries, how many were left out, and when the list says that it was made."""

    crns: tuple[Crn, ...]
    malformed: int
    made_at: datetime | None


def parse_list(document: Any, allow_local: bool) -> ParsedList:
    """Read the document. Raises ValueError when it is no CRN list at all."""
    said = mapping(document)
    entries = listing(said["crns"])
    crns: dict[str, Crn] = {}
    for entry in entries[:MAX_CRNS]:
        try:
            crn = _crn(mapping(entry), allow_local)
        except (ValueError, KeyError):
            continue
        # The first one counts: a later entry could claim another CRN's hash.
        crns.setdefault(crn.hash, crn)
    return ParsedList(tuple(crns.values()), len(entries) - len(crns), _made_at(said))


def _made_at(said: dict[str, Any]) -> datetime | None:
    try:
        return instant(said.get("last_refresh"))
    except ValueError:
        return None


def _crn(entry: dict[str, Any], allow_local: bool) -> Crn:
    usage = _part(entry, "system_usage")
    terms = entry.get("terms_and_conditions") or ""
    if not isinstance(terms, str) or (terms and not is_item_hash(terms)):
        raise ValueError("terms that are not a hash")
    return Crn(
        hash=sha256(entry["hash"]),
        name=clean(entry["name"]),
        url=node_url(entry["address"], allow_local),
        score=float(_number(entry.get("score"), 1)),
        version=clean(entry.get("version") or "", 20),
        has_gpu=entry.get("gpu_support") is True and bool(entry.get("compatible_available_gpus")),
        terms_and_conditions=terms,
        qemu=entry.get("qemu_support") is True,
        ipv6=set(_part(entry, "ipv6_check").values()) == {True},
        active=usage.get("active") is True and not entry.get("inactive_since"),
        cpu_count=_number(_part(usage, "cpu").get("count")),
        free_memory_mib=_mib(_part(usage, "mem")),
        free_disk_mib=_mib(_part(usage, "disk")),
        gpus=tuple(_gpus(entry)) if entry.get("gpu_support") is True else (),
    )


def _gpus(entry: dict[str, Any]) -> Iterator[Gpu]:
    """The free GPUs; one that is not described soundly is none."""
    claimed = entry.get("compatible_available_gpus")
    for gpu in claimed[:MAX_GPUS] if isinstance(claimed, list) else ():
        if not isinstance(gpu, dict):
            continue
        device = clean(gpu.get("device_id") or "", 20)
        model = clean(gpu.get("model") or "", 40)
        kind = clean(gpu.get("device_class") or "", 4)
        if _DEVICE_ID.fullmatch(device) and model and kind in _DEVICE_CLASSES:
            name = clean(gpu.get("device_name") or model, 80)
            yield Gpu(model, clean(gpu.get("vendor") or "", 20), name, kind, device)


def _part(entry: dict[str, Any], key: str) -> dict[str, Any]:
    part = entry.get(key)
    return part if isinstance(part, dict) else {}


def _number(value: Any, at_most: int = _MAX_NUMBER) -> Any:
    """What is missing or unsound counts as nothing: such a CRN then fits no VM."""
    try:
        found = number(value, at_most=at_most)
    except ValueError:
        return 0
    return found if at_most == 1 else int(found)


def _mib(part: dict[str, Any]) -> int:
    # The CRNs' kB are thousands of bytes.
    return int(_number(part.get("available_kB"))) * 1000 // 2**20
