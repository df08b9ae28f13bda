"""Where a key file may lie: nobody else can read it, replace it, or lead us elsewhere. A fix that is told mends it."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aleph_agentd.adapters.aleph.keys import load_secret
from aleph_agentd.ports import KeyMissing

SECRET = bytes(range(1, 33))
_STRANGER = 65534
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


def _key(folder: Path) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "it's a key"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    return path


def _open_directory(folder: Path) -> Path:
    path = _key(folder)
    folder.chmod(0o770)
    return path


def _link_through_an_open_directory(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    real, door = _key(folder / "real"), folder / "open"
    door.mkdir()
    door.chmod(0o777)
    (door / "link").symlink_to(real)
    link = folder / "link"
    link.symlink_to("open/link")
    return link


def _open_file(folder: Path) -> Path:
    path = _key(folder)
    path.chmod(0o644)
    return path


def _foreign_file(folder: Path) -> Path:
    path = _key(folder)
    os.chown(path, _STRANGER, _STRANGER)
    return path


def _foreign_link_in_a_sticky_directory(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    real, shared = _key(folder / "real"), folder / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "key").symlink_to(real)
    os.chown(shared / "key", _STRANGER, _STRANGER, follow_symlinks=False)
    return shared / "key"


@pytest.mark.parametrize(
    "plant",
    [
        _open_directory,
        _link_through_an_open_directory,
        _open_file,
        pytest.param(_foreign_file, marks=as_root),
        pytest.param(_foreign_link_in_a_sticky_directory, marks=as_root),
    ],
)
def test_a_key_within_others_reach_is_refused_and_the_command_that_is_told_mends_it(
    tmp_path: Path, plant: Callable[[Path], Path]
) -> None:
    """One line: the reason, then `run:` and what to type."""
    path = plant(tmp_path / "place")
    with pytest.raises(KeyMissing) as refused:
        load_secret(path)
    told = re.search(r"; run: (?:sudo )?(.+)$", str(refused.value))
    assert told, refused.value
    subprocess.run(["/bin/sh", "-c", told[1]], check=True)
    assert load_secret(path) == SECRET


def test_a_link_through_places_of_our_own_is_followed(tmp_path: Path) -> None:
    """People keep keys on other disks."""
    real = _key(tmp_path / "real")
    (tmp_path / "link").symlink_to(real.parent)
    (tmp_path / "again").symlink_to("real/../link")
    assert load_secret(tmp_path / "again" / real.name) == SECRET


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    """A circle must not hang the daemon."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(KeyMissing, match="too many links"):
        load_secret(tmp_path / "a")
