"""Kill switches that the daemon keeps: one per VM that may be billed, none for one that is not."""

from pathlib import Path

import pytest

from aleph_agentd.adapters.escrow_dir import EscrowDir
from aleph_agentd.domain import escrow
from aleph_agentd.domain.model import SignedMessage, Vm
from aleph_agentd.services import escrow as service
from aleph_agentd.services.escrow import Escrow
from support.world import ALICE, World

HOSTS = ("https://api.example",)


class Broken(EscrowDir):
    """A directory on a disk that fails while a test says so."""

    full = True

    async def write(self, name: str, text: str) -> None:
        """A file, or no room."""
        if self.full:
            raise OSError(28, "No space left on device")
        await super().write(name, text)


@pytest.fixture(autouse=True)
def bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake network's FORGETs are not the real one's; what is put into files is tested elsewhere."""
    monkeypatch.setattr(escrow, "write", lambda switch: repr(switch))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the files go."""
    return tmp_path / "escrow"


def keeper(world: World, directory: Path, files: EscrowDir | None = None) -> Escrow:
    """Follows the world's inventory, as app.py lets it."""
    kept = Escrow(world.inventory, world.network, world.services.jobs, HOSTS, files or EscrowDir(directory))
    world.inventory.on_change = kept.changed
    return kept


def names(directory: Path) -> list[str]:
    """What is there."""
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def name_of(vm: Vm) -> str:
    """The file of a VM."""
    return escrow.file_name(vm.name, vm.item_hash)


async def test_a_create_brings_a_file_an_extend_a_later_end_and_the_end_takes_it_away(
    world: World, directory: Path
) -> None:
    """By the inventory's own events: nobody has to think of it."""
    keeper(world, directory)
    vm = await world.create()
    await world.quiet()
    assert names(directory) == [name_of(vm)]
    extended = await world.services.extender.extend(vm, 1, ALICE)
    await world.quiet()
    assert repr(extended.expires_at) in (directory / name_of(vm)).read_text()
    await world.end(vm)
    await world.quiet()
    assert names(directory) == []


async def test_a_start_writes_what_is_missing_and_takes_away_what_has_ended(
    world: World, directory: Path
) -> None:
    """And leaves files of VMs that this inventory does not know: they are somebody else's."""
    live, ended = await world.create(name="live"), await world.create(name="ended")
    await world.end(ended)
    directory.mkdir()
    theirs = escrow.file_name("theirs", "f" * 64)
    for name in (name_of(ended), theirs):
        (directory / name).touch()
    await keeper(world, directory).run()
    assert names(directory) == sorted([name_of(live), theirs])


async def test_a_start_looks_up_only_the_files_of_vms_that_do_not_live(
    world: World, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ten thousand files one look at each would keep the inventory busy for half a minute."""
    live, ended = await world.create(name="live"), await world.create(name="ended")
    await world.end(ended)
    directory.mkdir()
    for vm in (live, ended):
        (directory / name_of(vm)).touch()
    looked_up, find = [], world.inventory.find

    async def recorded(reference: str, limit: int = 10) -> list[Vm]:
        looked_up.append(reference)
        return await find(reference, limit)

    monkeypatch.setattr(world.inventory, "find", recorded)
    await keeper(world, directory).run()
    assert looked_up == [ended.item_hash[:12]]
    assert names(directory) == [name_of(live)]


async def test_a_failing_disk_is_told_and_what_is_missing_is_written_later(
    world: World, directory: Path
) -> None:
    """The create goes on as if nothing were."""
    disk = Broken(directory)
    kept = keeper(world, directory, disk)
    vm = await world.create()
    await world.quiet()
    assert kept.alerts() == ["Kill switches cannot be put into ESCROW_DIR: No space left on device"]
    disk.full = False
    await kept.run()
    assert (kept.alerts(), names(directory)) == ([], [name_of(vm)])


async def test_burnt_forgets_are_left_out_and_a_vm_without_any_gets_fresh_ones(
    world: World, directory: Path
) -> None:
    """An adopted VM has none yet; without a key it has no file."""
    kept = keeper(world, directory)
    vm = await world.create()
    first, *others = await world.inventory.forgets(vm.item_hash)
    await world.inventory.burn_forget(vm.item_hash, first.item_hash, world.clock.now())
    ((_, text),), _ = await kept.page("")
    assert first.item_hash not in text
    assert all(forget.item_hash in text for forget in others)
    for forget in others:
        await world.inventory.burn_forget(vm.item_hash, forget.item_hash, world.clock.now())
    world.network.key_trouble = "locked"
    assert await kept.page("") == ([], "")
    world.network.key_trouble = ""
    ((_, text),), _ = await kept.page("")
    fresh: tuple[SignedMessage, ...] = await world.inventory.forgets(vm.item_hash)
    assert len(fresh) == 8
    assert all(forget.item_hash in text for forget in fresh)


async def test_an_export_comes_in_pages(
    world: World, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame has a limit, the number of VMs has none."""
    monkeypatch.setattr(service, "PAGE", 2)
    kept = keeper(world, directory)
    boxes = [await world.create(name=f"box-{n}") for n in range(3)]
    found, after = await kept.page("")
    more, end = await kept.page(after)
    assert {name for name, _ in (*found, *more)} == {name_of(vm) for vm in boxes}
    assert (len(found), len(more), end) == (2, 1, "")
