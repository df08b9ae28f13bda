"""Archives of saved files: whose names are ours, whole or not at all, and not for ever."""

import json
import os
import stat
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aleph_agentd.adapters.saved_dir import SavedDir
from aleph_agentd.domain.guest_saves import Taken

HASH, OTHER = "a" * 64, "b" * 64
TAKEN = {"/etc/../../x": Taken("file", b"1"), "/root/out": Taken("directory", b"tar")}
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


async def test_every_name_in_it_is_ours_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    """The daemon opens no path that an agent names (rules.md 25)."""
    saved = SavedDir(tmp_path / "saved")
    assert await saved.place(HASH) == ""
    size = await saved.write(HASH, TAKEN)
    place = Path(await saved.place(HASH))
    assert place == tmp_path / "saved" / f"{HASH}.tar"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    with tarfile.open(place) as tar:
        assert tar.getnames() == ["README.txt", "contents.json", "1", "2.tar"]
        contents = tar.extractfile("contents.json")
        assert contents is not None
        assert json.load(contents)["1"] == {"path": "/etc/../../x", "kind": "file"}
    assert await saved.used() == size
    assert await saved.used(besides=HASH) == 0


@pytest.mark.parametrize("name", ["../x", "", "A" * 64, "a" * 63, f"{HASH}/.."])
async def test_a_name_that_is_no_hash_is_refused(tmp_path: Path, name: str) -> None:
    """Whoever may have made it up."""
    with pytest.raises(ValueError, match="no hash"):
        await SavedDir(tmp_path).write(name, TAKEN)


async def test_one_that_cannot_be_written_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Death in the middle is the same: the final name is given at the end."""
    saved = SavedDir(tmp_path)
    await saved.write(HASH, TAKEN)
    before = Path(await saved.place(HASH)).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        await saved.write(HASH, {"/other": Taken("file", b"2")})
    assert Path(await saved.place(HASH)).read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


async def test_old_ones_go_and_what_a_death_left_half_written(tmp_path: Path) -> None:
    """Nothing else in there is touched."""
    saved = SavedDir(tmp_path)
    for item_hash, age in ((HASH, 31), (OTHER, 29)):
        await saved.write(item_hash, TAKEN)
        at = (NOW - timedelta(days=age)).timestamp()
        os.utime(await saved.place(item_hash), (at, at))
    half, other = tmp_path / f".{HASH}.tar.0123.new", tmp_path / "notes"
    half.write_bytes(b"half")
    other.write_bytes(b"mine")
    before = NOW - timedelta(days=30)
    assert await saved.drop(before, halves=False) == 1
    assert half.exists()
    assert await saved.drop(before, halves=True) == 0
    assert {file.name for file in tmp_path.iterdir()} == {f"{OTHER}.tar", "notes"}
