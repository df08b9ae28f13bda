"""Compute resource nodes: notify, signed operations, the pool, and the monitor."""

import pytest
from aleph.sdk.client.services.crn import GPU
from aleph_message.models import ItemHash
from aleph_message.models.execution.environment import HostRequirements, NodeRequirements
from pydantic import ValidationError

from aleph_devnet.crn import RefusedError
from aleph_devnet.vm import Vm
from support.local_network import UNKNOWN, LocalNetwork

MINUTE = 60


async def test_the_crn_list_is_read_by_the_sdk(net: LocalNetwork) -> None:
    """CRN list: one JSON document, fields hash, name, address, score, version, …, system_usage{…}."""
    crns = (await (await net.sdk()).crn.get_crns_list()).crns
    assert [crn.hash for crn in crns] == [net.crn_hash(n) for n in range(3)]
    assert crns[0].system_usage is not None
    assert crns[0].system_usage.mem.available_kB == 256 * 2**20
    assert len({crn["score"] for crn in crns}) == 3
    assert all(crn.address.startswith("http://127.") for crn in crns)
    _, raw = await net.get("/crns.json")
    assert set(raw) == {"last_refresh", "crns"}


async def test_one_crn_has_a_gpu(net: LocalNetwork) -> None:
    """gpu_support, compatible_available_gpus."""
    crns = await (await net.sdk()).crn.get_crns_list()
    (crn,) = crns.filter_crn(gpu=True)
    [gpu] = [GPU.model_validate(gpu) for gpu in crn["compatible_available_gpus"]]
    assert (crn["gpu_support"], gpu.compatible, bool(gpu.model)) == (True, True, True)


async def test_notify_starts_a_vm_and_is_idempotent(net: LocalNetwork) -> None:
    """[obs] unauthenticated and idempotent: 200 `{"success":true,"successful":true,"failing":[],…}`."""
    item_hash = await net.create(requirements=net.on_crn())
    for _ in range(2):
        status, body = await net.notify(item_hash)
        assert (status, body) == (200, {"success": True, "successful": True, "failing": [], "errors": {}})
    assert list(await net.executions()) == [item_hash]


async def test_networking_is_empty_while_starting_and_breaks_the_sdks_model(net: LocalNetwork) -> None:
    """[obs] `networking` is `{}` while starting, and then the SDK's model rejects the **whole** list."""
    item_hash = await net.create()
    await net.notify(item_hash)
    entry = (await net.executions())[item_hash]
    assert (entry["networking"], entry["running"]) == ({}, False)
    crn = (await net.sdk()).crn
    with pytest.raises(ValidationError):
        await crn.get_active_vms(net.crn_url())
    await net.advance(30)
    vm = await crn.get_vm(net.crn_url(), ItemHash(item_hash))
    assert vm is not None
    assert vm.networking.mapped_ports["22"].host == 24_000
    assert vm.networking.host_ipv4 in net.crn_url()


async def test_host_ports_start_at_24000_on_every_crn(net: LocalNetwork) -> None:
    """Port 22 is always forwarded; mapped_ports: {"22": {host: 24000, tcp, udp}}."""
    ports = []
    for crn in (0, 0, 1):
        entry = await net.running(await net.create(), crn)
        ports.append(entry["networking"]["mapped_ports"]["22"])
    assert ports == [{"host": host, "tcp": True, "udp": False} for host in (24_000, 24_001, 24_000)]


async def test_notify_of_what_the_node_does_not_know_is_500(net: LocalNetwork) -> None:
    """[obs] 500 `Aleph message not found` while the message is pending or unknown to that node."""
    pending = await net.signed_instance(rootfs=UNKNOWN)
    await net.post(pending)
    for item_hash in (UNKNOWN, pending["item_hash"]):
        assert await net.notify(item_hash) == (500, "Aleph message not found")


async def test_notify_of_another_nodes_vm_is_400(net: LocalNetwork) -> None:
    """[obs] 400 other node's `node_hash`."""
    item_hash = await net.create(requirements=net.on_crn(1))
    assert (await net.notify(item_hash, 0))[0] == 400
    assert (await net.notify(item_hash, 1))[0] == 200


async def test_notify_without_an_hour_of_credits_is_402(net: LocalNetwork) -> None:
    """[obs] A CRN refuses `notify` with 402 (text) when the balance is under one hour of cost."""
    item_hash = await net.create()
    await net.control("credits", {"address": net.address(), "units": 14_000 - 100_000_000})
    status, body = await net.notify(item_hash)
    assert status == 402
    assert isinstance(body, str)


async def test_notify_of_what_does_not_fit_is_503(net: LocalNetwork) -> None:
    """[obs] 503 "This CRN cannot host the requested instance at this time."."""
    await net.control("credits", {"address": net.address(), "units": 10**10})
    large = {"memory": 160 * 1024, "vcpus": 1, "rootfs_size": 20_480}
    assert (await net.notify(await net.create(**large)))[0] == 200
    status, body = await net.notify(await net.create(**large))
    assert (status, body) == (503, "This CRN cannot host the requested instance at this time.")


async def test_erase_takes_the_vm_off_and_a_second_erase_is_404(net: LocalNetwork) -> None:
    """[obs] erase 200 text; **404 = not in the pool, which is also the answer to a second erase**."""
    item_hash = await net.create()
    await net.running(item_hash)
    client = await net.vm_client()
    assert await client.erase_instance(item_hash) == (200, f"Erased VM with ref {item_hash}")
    assert await net.executions() == {}
    assert (await client.erase_instance(item_hash))[0] == 404


async def test_an_erase_after_stop_is_404(net: LocalNetwork) -> None:
    """[obs] or to an erase after `stop` (then its volumes stay: never stop before erase)."""
    item_hash = await net.create()
    await net.running(item_hash)
    client = await net.vm_client()
    assert (await client.stop_instance(item_hash))[0] == 200
    assert (await client.erase_instance(item_hash))[0] == 404


async def test_erase_works_after_forget(net: LocalNetwork) -> None:
    """[obs] erase … works before and after FORGET."""
    item_hash = await net.create()
    await net.running(item_hash)
    await net.post(await net.signed_forget(item_hash))
    assert (await (await net.vm_client()).erase_instance(item_hash))[0] == 200


async def test_notify_resurrects_what_was_forgotten_and_erased(net: LocalNetwork) -> None:
    """[obs] after FORGET + erase, a notify starts the VM again until the 3-strike monitor stops it."""
    item_hash = await net.create()
    await net.running(item_hash)
    await net.post(await net.signed_forget(item_hash))
    await (await net.vm_client()).erase_instance(item_hash)
    assert (await net.running(item_hash))["running"]
    await net.advance(4 * MINUTE)
    assert await net.executions() == {}


async def test_a_forgotten_vm_cannot_be_started_where_it_never_ran(net: LocalNetwork) -> None:
    """[obs] … from the CRN's caches: another CRN has none."""
    item_hash = await net.create()
    await net.running(item_hash, 0)
    await net.post(await net.signed_forget(item_hash))
    assert (await net.notify(item_hash, 1))[0] == 500


async def test_a_forgotten_vm_is_stopped_after_three_polls(net: LocalNetwork) -> None:
    """[obs] After FORGET the CRN polls every 60 s and stops the VM after 3 terminal answers."""
    item_hash = await net.create()
    await net.running(item_hash)
    await net.post(await net.signed_forget(item_hash))
    await net.advance(2 * MINUTE)
    assert item_hash in await net.executions()
    await net.advance(MINUTE)
    assert item_hash not in await net.executions()


async def test_the_monitor_stops_nothing_while_the_ccn_is_away(net: LocalNetwork) -> None:
    """[obs] never while it cannot reach a CCN."""
    item_hash = await net.create()
    await net.running(item_hash)
    await net.post(await net.signed_forget(item_hash))
    await net.fault({"drop": "before"}, node="ccn")
    await net.advance(10 * MINUTE)
    assert item_hash in await net.executions()


async def test_the_wrong_key_is_403(net: LocalNetwork) -> None:
    """[obs] 403 "Unauthorized sender" (wrong key)."""
    item_hash = await net.create()
    await net.running(item_hash)
    answer = await (await net.vm_client(role="unfunded")).erase_instance(item_hash)
    assert answer == (403, "Unauthorized sender")
    assert item_hash in await net.executions()


async def test_another_nodes_signature_is_401_and_none_is_400(net: LocalNetwork) -> None:
    """[obs] 401 token/signature/domain, 400 missing header."""
    item_hash = await net.create()
    await net.running(item_hash)
    elsewhere = await net.vm_client(1)
    _, headers = await elsewhere._generate_header(ItemHash(item_hash), "erase", "POST")
    url = f"{net.crn_url(0)}/control/machine/{item_hash}/erase"
    assert await net.ask("POST", url, headers=headers) == (401, {"error": "Invalid domain"})
    assert await net.ask("POST", url) == (400, {"error": "Missing X-SignedPubKey header"})


async def test_a_signature_is_for_one_path_and_not_forged(net: LocalNetwork) -> None:
    """[obs] 401 token/signature: a signed reboot is no erase, and another ephemeral key's mark is no mark."""
    item_hash = await net.create()
    await net.running(item_hash)
    mine, other = await net.vm_client(), await net.vm_client()
    _, headers = await mine._generate_header(ItemHash(item_hash), "reboot", "POST")
    url = f"{net.crn_url()}/control/machine/{item_hash}"
    assert (await net.ask("POST", f"{url}/erase", headers=headers))[0] == 401
    _, theirs = await other._generate_header(ItemHash(item_hash), "reboot", "POST")
    mixed = {**headers, "X-SignedPubKey": theirs["X-SignedPubKey"]}
    assert (await net.ask("POST", f"{url}/reboot", headers=mixed))[0] == 401


async def test_operations_are_valid_for_two_minutes(net: LocalNetwork) -> None:
    """Operations are signed … clock window ± 2 min, key header valid 24 h."""
    item_hash = await net.create()
    await net.running(item_hash)
    for skew, status in ((-60, 200), (150, 400), (-150, 400), (86_500, 401)):
        # The SDK signs with real time; the CRN's clock is what moves.
        await net.control("clock", {"set_offset_s": 0})
        await net.control("faults", {"crn": net.crn_hash(), "clock_skew_s": skew})
        assert (await (await net.vm_client()).reboot_instance(item_hash))[0] == status


async def test_expire_is_always_400(net: LocalNetwork) -> None:
    """`expire` always answers 400: **there is no CRN-side TTL**."""
    item_hash = await net.create()
    await net.running(item_hash)
    assert (await (await net.vm_client()).expire_instance(item_hash))[0] == 400


async def test_a_rebooting_vm_is_in_the_pool_and_not_running(net: LocalNetwork) -> None:
    """Absent = not in the pool; `running: false` = rebooting."""
    item_hash = await net.create()
    await net.running(item_hash)
    assert (await (await net.vm_client()).reboot_instance(item_hash))[0] == 200
    assert not (await net.executions())[item_hash]["running"]
    await net.advance(30)
    entry = (await net.executions())[item_hash]
    assert entry["running"]
    assert entry["networking"]["mapped_ports"]["22"]["host"] == 24_000


async def test_old_clients_read_the_old_list(net: LocalNetwork) -> None:
    """404 on old nodes → `/about/executions/list`, without ports."""
    item_hash = await net.create()
    await net.running(item_hash)
    await net.fault({"status": 404, "body": "404: Not Found"}, node=net.crn_hash(), path="/v2/*")
    vms = await (await net.sdk()).crn.get_active_vms(net.crn_url())
    assert not hasattr(vms.root[item_hash].networking, "mapped_ports")


async def test_forwarded_ports_follow_the_owners_aggregate(net: LocalNetwork) -> None:
    """[obs] Other ports: AGGREGATE key `port-forwarding` …; picked up in < 0.5 s; delete with `{h: null}`."""
    item_hash = await net.create()
    await net.running(item_hash)
    client = await net.sdk()
    content = {item_hash: {"ports": {"80": {"tcp": True, "udp": False}}}}
    await client.create_aggregate("port-forwarding", content, sync=True)
    mapped = (await net.executions())[item_hash]["networking"]["mapped_ports"]
    assert mapped["80"] == {"host": 24_001, "tcp": True, "udp": False}
    await client.create_aggregate("port-forwarding", {item_hash: None}, sync=True)
    assert list((await net.executions())[item_hash]["networking"]["mapped_ports"]) == ["22"]


async def test_a_vm_forgotten_while_its_crn_was_down_comes_back_and_can_be_erased(net: LocalNetwork) -> None:
    """[obs] A CRN restart keeps its VMs; a VM forgotten while the CRN was down comes back …"""
    item_hash = await net.create()
    await net.running(item_hash)
    await net.control("faults", {"crn": net.crn_hash(), "down": True})
    await net.post(await net.signed_forget(item_hash))
    client = await net.vm_client()
    assert (await client.erase_instance(item_hash))[0] is None
    await net.advance(10 * MINUTE)
    await net.control("faults", {"crn": net.crn_hash(), "down": False})
    assert item_hash in await net.executions()
    # The SDK signs with real time, which the network has left behind.
    await net.control("clock", {"set_offset_s": 0})
    assert (await client.erase_instance(item_hash))[0] == 200


async def test_reserve_resources_is_an_admission_check(net: LocalNetwork) -> None:
    """`reserve_resources` (signed): for CPU VMs it is an admission check."""
    client = await net.vm_client()
    small = {"resources": {"memory": 2048}, "requirements": None}
    assert (await client.reserve_resources(small))[0] == 200
    assert (await client.reserve_resources({"resources": {"memory": 2**30}}))[0] == 503
    assert await net.executions() == {}


async def test_a_gpu_is_kept_for_who_signs_and_given_to_who_pays(net: LocalNetwork) -> None:
    """`reserve_resources` reserves only GPUs (60 s), and again for the same one."""
    crn = next(crn for crn in net.network.crns if crn.node.gpus)
    wanted = {"gpu": [{"device_id": crn.node.gpus[0]["device_id"]}]}
    content = {"resources": {"memory": 2048}, "requirements": wanted}
    for _ in range(2):
        crn.reserve(content, "0xA")
    with pytest.raises(RefusedError, match="cannot host"):
        crn.reserve(content, "0xB")
    vm = Vm("", 0, content, 0, 0)
    crn.check_room(vm, "0xA")
    with pytest.raises(RefusedError, match="cannot host"):
        crn.check_room(vm, "0xB")
    await net.advance(61)
    crn.check_room(vm, "0xB")


async def test_terms_must_be_accepted(net: LocalNetwork) -> None:
    """Terms hash into `NodeRequirements.terms_and_conditions`."""
    crn = net.network.crns[0]
    crn.node.terms = UNKNOWN
    assert (await net.notify(await net.create(requirements=net.on_crn())))[0] == 403
    node = NodeRequirements(node_hash=net.crn_hash(), terms_and_conditions=UNKNOWN)
    assert (await net.notify(await net.create(requirements=HostRequirements(node=node))))[0] == 200
