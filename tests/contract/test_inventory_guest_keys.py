"""The SSH keys of VMs in the inventory."""

from datetime import timedelta

import pytest

from aleph_agentd.adapters.store import SqlInventory
from aleph_agentd.domain.errors import NotFound
from aleph_agentd.domain.model import VmState
from aleph_agentd.ports import GuestKey, SetupResult, SetupScript
from support.inventory import HOUR, NOW, Query, a_vm, allow, an_intent

pytest_plugins = ["support.store_fixtures"]


async def admitted(inventory: SqlInventory, seed: str, key: str = "PRIVATE") -> str:
    vm = await inventory.admit(an_intent(a_vm(seed), guest_key=key), allow, NOW)
    return vm.item_hash


async def test_a_vm_s_key_is_written_with_its_row_and_shown_nowhere(inventory: SqlInventory) -> None:
    """Before it is broadcast; neither the intent nor the key show it in a traceback."""
    item_hash = await admitted(inventory, "a")
    key = await inventory.guest_key(item_hash)
    assert key == GuestKey("PRIVATE")
    assert "PRIVATE" not in repr(key)
    assert "PRIVATE" not in repr(an_intent(a_vm("b"), guest_key="PRIVATE"))


async def test_the_host_key_of_the_first_contact_stays(inventory: SqlInventory) -> None:
    """Whoever comes second is compared with the first."""
    item_hash = await admitted(inventory, "a")
    assert await inventory.pin_host_key(item_hash, "first") == "first"
    assert await inventory.pin_host_key(item_hash, "second") == "first"
    assert await inventory.guest_key(item_hash) == GuestKey("PRIVATE", "first")


async def test_after_a_reinstall_the_next_host_key_is_the_first(inventory: SqlInventory) -> None:
    """Of that VM alone; our own key stays."""
    item_hash, other = await admitted(inventory, "a"), await admitted(inventory, "b")
    for each in (item_hash, other):
        await inventory.pin_host_key(each, "first")
    await inventory.new_disk(item_hash)
    assert await inventory.guest_key(item_hash) == GuestKey("PRIVATE")
    assert await inventory.pin_host_key(item_hash, "second") == "second"
    assert await inventory.pin_host_key(other, "second") == "first"
    await inventory.new_disk("f" * 64)  # one without a key: nothing to forget


async def test_a_vm_without_a_key_of_ours_has_none(inventory: SqlInventory) -> None:
    """Made by an older version, adopted, or unknown."""
    for item_hash in (await admitted(inventory, "a", key=""), "f" * 64):
        assert await inventory.guest_key(item_hash) is None
        with pytest.raises(NotFound):
            await inventory.pin_host_key(item_hash, "host")


@pytest.mark.parametrize("end", [VmState.GONE, VmState.FAILED])
async def test_the_key_is_gone_when_the_vm_is(inventory: SqlInventory, query: Query, end: VmState) -> None:
    """The row stays as a tombstone, without it; nothing of it is left in the table. Another VM's stays."""
    item_hash, other = await admitted(inventory, "a"), await admitted(inventory, "b")
    await inventory.move(item_hash, VmState.DESTROYING, "test", NOW)
    await inventory.settle(item_hash, "test", NOW + HOUR, forgotten_at=NOW + HOUR)
    assert await inventory.guest_key(item_hash) == GuestKey("PRIVATE")
    await inventory.move(item_hash, end, "test", NOW, ended_at=NOW, verified_at=NOW)
    assert await inventory.guest_key(item_hash) is None
    assert query("SELECT item_hash FROM guest_keys") == [(other,)]


async def test_a_setup_script_is_written_with_the_row_and_its_first_result_stays(
    inventory: SqlInventory,
) -> None:
    """Shown nowhere; one of a VM that ends is no longer open, and one of a VM that is gone is not kept."""
    ids = []
    for seed in "abc":
        intent = an_intent(a_vm(seed), guest_key="PRIVATE", setup="" if seed == "c" else "SCRIPT")
        assert "SCRIPT" not in repr(intent)
        ids.append((await inventory.admit(intent, allow, NOW)).item_hash)
    first, second, without = ids
    assert await inventory.setup_of(first) == SetupScript("SCRIPT")
    assert await inventory.setup_of(without) is None
    assert set(await inventory.open_setups()) == {first, second}
    for result in (SetupResult("failed", 7, "out"), SetupResult("done", 0, "")):
        await inventory.end_setup(first, result)
    assert await inventory.setup_of(first) == SetupScript("SCRIPT", SetupResult("failed", 7, "out"))
    assert await inventory.open_setups() == [second]
    await inventory.move(second, VmState.DESTROYING, "test", NOW)
    assert await inventory.open_setups() == []
    await inventory.settle(second, "test", NOW + HOUR, forgotten_at=NOW + HOUR)
    await inventory.move(second, VmState.GONE, "test", NOW, ended_at=NOW, verified_at=NOW)
    await inventory.end_setup(second, SetupResult("done", 0, ""))
    assert await inventory.setup_of(second) is None


async def test_on_a_new_disk_a_script_is_open_again(inventory: SqlInventory) -> None:
    """Of that VM alone; how it ends there is recorded as on the first disk."""
    intents = [an_intent(a_vm(seed), guest_key="PRIVATE", setup="SCRIPT") for seed in "ab"]
    item_hash, other = [(await inventory.admit(intent, allow, NOW)).item_hash for intent in intents]
    failed, done = SetupResult("failed", 7, "out"), SetupResult("done", 0, "")
    for each in (item_hash, other):
        await inventory.end_setup(each, failed)
    await inventory.new_disk(item_hash)
    assert await inventory.open_setups() == [item_hash]
    await inventory.end_setup(item_hash, done)
    assert await inventory.setup_of(item_hash) == SetupScript("SCRIPT", done)
    assert await inventory.setup_of(other) == SetupScript("SCRIPT", failed)


async def test_what_was_known_of_a_disk_that_stays_is_put_back(inventory: SqlInventory) -> None:
    """Whatever was pinned and recorded meanwhile."""
    intent = an_intent(a_vm("a"), guest_key="PRIVATE", setup="SCRIPT")
    item_hash = (await inventory.admit(intent, allow, NOW)).item_hash
    done, failed = SetupResult("done", 0, ""), SetupResult("failed", None, "another machine")
    for host_key, result in (("first", done), ("", None)):
        await inventory.new_disk(item_hash)
        await inventory.pin_host_key(item_hash, "second")
        await inventory.end_setup(item_hash, failed)
        await inventory.same_disk(item_hash, host_key, result)
        assert await inventory.guest_key(item_hash) == GuestKey("PRIVATE", host_key)
        assert await inventory.setup_of(item_hash) == SetupScript("SCRIPT", result)
    await inventory.same_disk("f" * 64, "", None)  # one without a key: nothing to put back
    assert await inventory.guest_key("f" * 64) is None


async def test_a_removed_row_leaves_no_key(inventory: SqlInventory) -> None:
    """As before: retention takes the row."""
    item_hash = await admitted(inventory, "a")
    await inventory.move(item_hash, VmState.DESTROYING, "test", NOW)
    await inventory.settle(item_hash, "test", NOW + HOUR, forgotten_at=NOW + HOUR)
    await inventory.move(item_hash, VmState.GONE, "test", NOW, ended_at=NOW, verified_at=NOW)
    assert await inventory.remove([item_hash], NOW + timedelta(days=31)) == 1
    assert await inventory.guest_key(item_hash) is None
