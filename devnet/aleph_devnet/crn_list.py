"""The list of CRNs, as the network's list VM publishes it."""

from typing import Any

from aleph_devnet.clock import iso
from aleph_devnet.crn import Crn

DROPPED_AFTER_S = 600
"""A node that is down for so long leaves the list of active nodes."""


def document(crns: list[Crn], now: float, *, filter_inactive: bool) -> dict[str, Any]:
    """The whole document; `filter_inactive` leaves out nodes that have been down for a while."""
    shown = [crn for crn in crns if not (filter_inactive and _is_inactive(crn, now))]
    return {"last_refresh": iso(now), "crns": [_entry(crn, now) for crn in shown]}


def _is_inactive(crn: Crn, now: float) -> bool:
    return crn.down_since is not None and now - crn.down_since > DROPPED_AFTER_S


def _entry(crn: Crn, now: float) -> dict[str, Any]:
    node = crn.node
    return {
        "hash": node.hash,
        "name": node.name,
        "time": now,
        "type": "compute",
        "owner": node.owner,
        "score": node.score,
        "score_updated": True,
        "decentralization": 0.93,
        "performance": 0.97,
        "reward": node.owner,
        "locked": False,
        "status": "linked",
        "address": node.url,
        "picture": "",
        "banner": "",
        "description": "A node of a local network",
        "parent": None,
        "manager": "",
        "authorized": "",
        "registration_url": "",
        "stream_reward": node.owner,
        "payment_receiver_address": node.owner,
        "terms_and_conditions": node.terms,
        "version": node.version,
        "inactive_since": None if crn.down_since is None else iso(crn.down_since),
        "ipv6_check": {"host": True, "vm": True},
        "gpu_support": bool(node.gpus),
        "confidential_support": False,
        "qemu_support": True,
        "compatible_gpus": node.gpus,
        "compatible_available_gpus": crn.free_gpus,
        "system_usage": None if _is_inactive(crn, now) else system_usage(crn, now),
    }


def system_usage(crn: Crn, now: float) -> dict[str, Any]:
    """What a node has and what is left."""
    node = crn.node
    taken_disk = sum(int(vm.content["rootfs"]["size_mib"]) for vm in crn.vms.values())
    load = round(len(crn.vms) * 0.2, 2)
    return {
        "cpu": {
            "count": node.vcpus,
            "load_average": {"load1": load, "load5": load, "load15": load},
            "core_frequencies": {"min": 1500.0, "max": 3700.0},
        },
        "mem": {"total_kB": node.memory_mib * 1024, "available_kB": crn.free_memory_mib * 1024},
        "disk": {"total_kB": node.disk_mib * 1024, "available_kB": max(0, node.disk_mib - taken_disk) * 1024},
        "period": {"start_timestamp": iso(now // 60 * 60), "duration_seconds": 60},
        "properties": {"cpu": {"architecture": "x86_64", "vendor": "AuthenticAMD", "features": []}},
        "gpu": {"devices": node.gpus, "available_devices": crn.free_gpus},
        "active": True,
    }
