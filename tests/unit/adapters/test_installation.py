"""Who we are on this machine, and that we are the only one."""

import json
import os
from pathlib import Path

import pytest

from aleph_agentd.adapters import installation
from aleph_agentd.adapters.installation import Taken, installation_id, only_one


def test_the_id_is_made_once_and_kept(tmp_path: Path) -> None:
    """For its owner's eyes."""
    first = installation_id(tmp_path)
    assert installation_id(tmp_path) == first
    assert len(first) >= 16
    assert (tmp_path / "installation.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["installation.json"]


def test_a_copied_home_is_another_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """rules.md 8: two daemons must not take each other's VMs for their own."""
    first = installation_id(tmp_path)
    monkeypatch.setattr(installation, "_machine", lambda: "another machine")
    second = installation_id(tmp_path)
    assert second != first
    assert installation_id(tmp_path) == second


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"id": 1}', '"text"'])
def test_a_damaged_file_gives_a_new_id_not_a_crash(tmp_path: Path, content: str) -> None:
    """Its VMs are then another installation's: reported, not touched."""
    (tmp_path / "installation.json").write_text(content)
    fresh = installation_id(tmp_path)
    assert json.loads((tmp_path / "installation.json").read_text())["id"] == fresh


def test_the_machine_s_own_id_is_not_told(tmp_path: Path) -> None:
    """It is nobody else's business."""
    installation_id(tmp_path)
    machine = Path("/etc/machine-id")
    if machine.exists() and (secret := machine.read_text().strip()):
        assert secret not in (tmp_path / "installation.json").read_text()


def test_a_second_one_is_told_who_holds_it(tmp_path: Path) -> None:
    """By pid; another name is free."""
    with only_one(tmp_path, "inventory", "a.db"):
        told = rf"pid {os.getpid()}\) already works with the inventory a.db"
        with pytest.raises(Taken, match=told), only_one(tmp_path, "inventory", "a.db"):
            pass
        with only_one(tmp_path, "inventory", "b.db"), only_one(tmp_path, "key", "a.db"):
            pass


def test_the_lock_is_free_again_after_its_holder(tmp_path: Path) -> None:
    """Also after an error, and over what a dead holder left in the file."""
    with pytest.raises(RuntimeError), only_one(tmp_path, "key", "0xUs"):
        raise RuntimeError
    [lock] = tmp_path.iterdir()
    lock.write_text("99999999999\n")
    with only_one(tmp_path, "key", "0xUs"):
        assert lock.read_text() == f"{os.getpid()}\n"
