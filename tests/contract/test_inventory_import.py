"""A predecessor's inventory is taken over once: all that can be read, and a word about what cannot."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aleph_agentd.adapters.store import Defaults, Imported, SqlInventory
from aleph_agentd.adapters.store.predecessor import read
from aleph_agentd.domain.model import VmState
from aleph_agentd.ports import StoreTrouble
from support.inventory import HOUR, NOW, a_hash, a_vm, allow, an_intent

pytest_plugins = ["support.store_fixtures"]

DEFAULTS = Defaults(NOW, timedelta(hours=24), payer="0xHuman", signer="0xOurs")


def entry(seed: object = 1, **fields: Any) -> dict[str, Any]:
    """One VM as the predecessor wrote it."""
    return {
        "item_hash": a_hash(seed),
        "name": f"old-{seed}",
        "crn_hash": "c" * 64,
        "crn_url": "https://crn.example",
        "compute_units": 2,
        "created_at": "2026-11-23T11:00:00+00:00",
        "ttl_expires_at": "2026-11-23T15:00:00Z",
        "hourly_cost": 2.85,
        "signing_address": "0xSigner",
        "purpose": "build",
        "ssh_user": "root",
        "ipv4_host": "203.0.113.7",
        "ssh_port": 24001,
        "ipv6": "2001:db8::1",
    } | fields


async def test_vms_are_imported_as_running_with_their_leases_and_money(
    inventory: SqlInventory, tmp_path: Path
) -> None:
    """Due when their lease ends, billed since they began, reserved to their end; the file stays."""
    file = tmp_path / "old.json"
    file.write_text(json.dumps([entry()], indent=2))
    before = file.read_bytes()
    imported = await inventory.import_predecessor(file, DEFAULTS)
    vm = await inventory.get(a_hash(1))
    assert vm and imported == Imported((vm,), ())
    assert (vm.state, vm.name, vm.signer, vm.payer) == (VmState.RUNNING, "old-1", "0xSigner", "0xHuman")
    assert (vm.host_ipv4, vm.ssh_port, vm.vcpus, vm.memory_mib) == ("203.0.113.7", 24001, 2, 4096)
    assert vm.lease_id.startswith("import-")
    assert vm.hourly_units == 28_500
    assert vm.cost_units(NOW) > 28_500
    assert await inventory.next_due_at() == vm.expires_at == NOW.replace(hour=15, microsecond=0)
    exposure = await inventory.exposure("", NOW)
    assert exposure.live_vms == 1
    assert exposure.reserved_units >= 4 * 28_500
    assert await inventory.next_forget(a_hash(1)) is None
    assert file.read_bytes() == before


async def test_a_file_is_taken_over_once(inventory: SqlInventory, tmp_path: Path) -> None:
    """Not again after a restart, when its VMs may be gone."""
    file = tmp_path / "old.json"
    assert await inventory.import_predecessor(file, DEFAULTS) is None
    file.write_text(json.dumps([entry(1)]))
    assert await inventory.import_predecessor(file, DEFAULTS) is not None
    file.write_text(json.dumps([entry(1), entry(2)]))
    assert await inventory.import_predecessor(file, DEFAULTS) is None
    assert await inventory.count([VmState.RUNNING]) == 1


async def test_a_vm_that_is_known_keeps_its_row(inventory: SqlInventory, tmp_path: Path) -> None:
    """Ours says more than the predecessor's."""
    await inventory.admit(an_intent(a_vm(1)), allow, NOW)
    file = tmp_path / "old.json"
    file.write_text(json.dumps([entry(1), entry(2)]))
    imported = await inventory.import_predecessor(file, DEFAULTS)
    assert imported and [vm.name for vm in imported.vms] == ["old-2"]
    assert await inventory.get(a_hash(1)) == a_vm(1)


async def test_what_could_not_be_read_is_an_event(inventory: SqlInventory, tmp_path: Path) -> None:
    """So that a human sees it later, too."""
    file = tmp_path / "old.json"
    file.write_text(json.dumps([entry(1)])[:-20])
    imported = await inventory.import_predecessor(file, DEFAULTS)
    assert imported and imported.vms == ()
    assert {event.kind for event in await inventory.events(0, 10)} == {"import_problem"}


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"x" * (9 * 2**20)], ids=["not text", "too large"])
async def test_files_that_are_no_inventory_do_not_stop_the_daemon_by_surprise(
    inventory: SqlInventory, tmp_path: Path, content: bytes
) -> None:
    """Either a report or StoreTrouble."""
    file = tmp_path / "old.json"
    file.write_bytes(content)
    try:
        imported = await inventory.import_predecessor(file, DEFAULTS)
    except StoreTrouble as trouble:
        assert "larger than" in str(trouble)
    else:
        assert imported and imported.problems == ("holds no VM that can be read",)
    with pytest.raises(StoreTrouble, match="cannot be read"):
        await inventory.import_predecessor(tmp_path, DEFAULTS)


def test_a_lease_without_an_end_gets_the_longest_one() -> None:
    """A VM must not run for ever because its file says null; odd names of fields are understood."""
    old = entry(ttl_expires_at=None, estimated_hourly_cost=1.425, ssh_port_mapped=24005, name=None)
    del old["hourly_cost"], old["ssh_port"]
    (vm,) = read(json.dumps([old]), DEFAULTS).vms
    assert vm.expires_at == NOW + timedelta(hours=24)
    assert (vm.hourly_units, vm.ssh_port, vm.name) == (14_250, 24005, f"imported-{a_hash(1)[:8]}")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ttl_expires_at", "soon"),
        ("ttl_expires_at", 5),
        ("ttl_expires_at", "0001-01-01T00:00:00+23:59"),
        ("created_at", {}),
        ("hourly_cost", "NaN"),
        ("hourly_cost", float("inf")),
        ("hourly_cost", -1),
        ("hourly_cost", None),
        ("compute_units", True),
        ("compute_units", 10**9),
        ("ssh_port", 70_000),
        ("ipv4_host", "1.2.3.4;curl x|sh"),
        ("name", "a\nb"),
        ("crn_url", ["x"]),
        ("purpose", "x" * 1000),
    ],
)
def test_a_field_that_does_not_fit_is_named_and_the_vm_kept(field: str, value: Any) -> None:
    """No VM is lost because of a bad field."""
    found = read(json.dumps([entry(**{field: value}), entry(2)]), DEFAULTS)
    assert [vm.item_hash for vm in found.vms] == [a_hash(1), a_hash(2)]
    assert len(found.problems) == 1
    assert field in found.problems[0]
    vm = found.vms[0]
    assert vm.expires_at <= NOW + timedelta(hours=24)
    assert 0 < vm.hourly_units < 100_000
    assert vm.host_ipv4 in ("", "203.0.113.7")


def test_entries_without_an_identity_are_reported_and_skipped() -> None:
    """And the second entry of one hash is ignored."""
    found = read(json.dumps([{}, {"item_hash": "xyz"}, entry(1), entry(1, name="again"), 7]), DEFAULTS)
    assert [vm.name for vm in found.vms] == ["old-1"]
    assert len(found.problems) == 2


def test_reading_goes_on_behind_a_broken_entry() -> None:
    """A hole in the middle costs the entry that it hits."""
    parts = [json.dumps(entry(n)) for n in range(3)]
    parts[1] = parts[1].replace('"name"', '"na')
    found = read("[" + ", ".join(parts) + "]", DEFAULTS)
    assert [vm.name for vm in found.vms] == ["old-0", "old-2"]
    assert found.problems


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4000))
def test_a_file_cut_anywhere_gives_every_complete_vm_before_the_cut(at: int) -> None:
    """As a crash of the predecessor leaves it."""
    text = json.dumps([entry(n) for n in range(4)])
    whole = text[:at].count("}")
    assert [vm.name for vm in read(text[:at], DEFAULTS).vms] == [f"old-{n}" for n in range(whole)]


@pytest.mark.parametrize("text", ["", "[]", " [ ] ", "null", "{" * 100_000, "[" * 100_000, '{"a":' * 50_000])
def test_nothing_to_read_is_no_error(text: str) -> None:
    """However deep it is nested."""
    found = read(text, DEFAULTS)
    assert found.vms == ()
    assert len(found.problems) <= 101


def test_a_lease_that_has_ended_is_due_at_once() -> None:
    """The reaper takes it first thing."""
    (vm,) = read(json.dumps([entry(ttl_expires_at="2026-11-01T00:00:00")]), DEFAULTS).vms
    assert vm.expires_at < NOW - HOUR
