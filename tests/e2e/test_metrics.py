"""The figures of a real daemon, as Prometheus reads them over HTTP and the owner over control.sock."""

import asyncio
import socket
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from support.daemon import DaemonProcess
from support.devnet import DevnetProcess

SECRETIVE = ("item_hash", "name", "session", "address", "project")


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as page:
        return page.read().decode()


async def test_prometheus_reads_what_the_daemon_does(net: DevnetProcess) -> None:
    """VMs, money, calls of clients and calls to the network; and neither names nor hashes."""
    port = _free_port()
    with DaemonProcess(net, environment={"ALEPH_AGENT_METRICS_PORT": str(port)}) as daemon:
        vm = await daemon.call("aleph_create_vm", {"name": "box-of-secrets", "ttl_hours": 1})
        text = await asyncio.to_thread(_scrape, port)
        told = (await daemon.control("metrics"))["text"]
        await daemon.call("aleph_destroy_vm", {"item_hash": vm["item_hash"]})
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    values = {
        (sample.name.removeprefix("aleph_agentd_"), *sample.labels.values()): sample.value
        for sample in samples
    }
    assert values["vms", "running"] == 1
    assert values["next_deadline_seconds",] > 0
    assert values["reserved_credits",] > 0
    assert values["balance_credits",] > 0
    assert values["oldest_overdue_seconds",] == 0
    assert values["rpc_seconds_count", "tools.call", "aleph_create_vm"] == 1
    assert values["network_calls_total", "messages.post"] >= 1
    assert values["network_errors_total", "messages.post"] == 0
    for word in ("box-of-secrets", vm["item_hash"][:12], daemon.address):
        assert word not in text
    assert not {name for sample in samples for name in sample.labels} & set(SECRETIVE)
    assert {line for line in told.splitlines() if line[0] == "#"} == {
        line for line in text.splitlines() if line[0] == "#"
    }
