"""`install`, `uninstall`: what is written, what is recorded, and what is left alone. With a real manager: tests/systemd."""

import json
from pathlib import Path

import pytest

from aleph_agentd.control import install, installing
from aleph_agentd.control.installing import Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A user's place, whose manager does whatever it is told."""
    told = {"human_address": None, "database_path": f"{tmp_path}/state/i.db", "escrow_dir": None}
    told |= {"private_key_path": "/k/e.key", "ssh_pubkey_path": "/s/id.pub", "predecessor_path": "/p"}
    examined = {"settings": told, "state": f"{tmp_path}/state", "config": f"{tmp_path}/c/config.toml"}
    monkeypatch.setattr(install.gather_machine, "examine", lambda: examined | {"inventory": None})
    monkeypatch.setattr(install.gather_machine, "lingering", lambda: True)
    monkeypatch.setattr(install, "works", lambda *_: True)
    monkeypatch.setattr(installing, "run", lambda *_: None)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return Place(kind="user", folder=tmp_path / "config/systemd/user", state=tmp_path / "state")


def test_a_dry_run_changes_nothing(cli, place):
    """It shows the texts."""
    assert cli.run("install", "--dry-run", "--json") == 0
    assert any("ExecStart=" in text for text in cli.json["files"].values())
    assert not place.folder.exists() and not place.state.exists()


def test_what_is_written_is_recorded_and_exactly_that_is_removed(cli, place, daemon):
    """A unit of the owner's own stays."""
    daemon.says("vms.list", {"total": 0})
    assert cli.run("install") == 0
    (place.folder / "mine.service").write_text("mine")
    recorded = json.loads(place.record.read_text())["files"]
    assert set(recorded) == {str(path) for path in place.folder.glob("aleph*")}
    assert cli.run("uninstall") == 0
    assert [path.name for path in place.folder.iterdir()] == ["mine.service"]
    assert not place.record.exists() and place.state.is_dir()


def test_a_unit_that_was_changed_by_hand_is_neither_replaced_nor_removed(cli, place, daemon):
    """Only `--replace` says otherwise."""
    daemon.says("vms.list", {"total": 0})
    cli.run("install")
    unit = place.folder / "aleph-agentd.service"
    unit.write_text(unit.read_text() + "# mine\n")
    assert cli.run("install") == 1
    assert "--replace" in cli.err and unit.read_text().endswith("# mine\n")
    assert cli.run("uninstall") == 0
    assert [path.name for path in place.folder.iterdir()] == [unit.name]


def test_it_is_not_uninstalled_while_vms_live(cli, place, daemon):
    """The way out is printed."""
    daemon.says("vms.list", {"total": 2})
    cli.run("install")
    assert cli.run("uninstall") == 1
    assert "2 VMs live" in cli.err and "uninstall --panic" in cli.err
    assert (place.folder / "aleph-agentd.service").exists()


def test_a_daemon_that_does_not_answer_is_not_one_without_vms(cli, place):
    """Unknown is not none."""
    cli.run("install")
    assert cli.run("uninstall", "--json") == 1
    assert cli.json["error"]["code"] == "vms_unknown"
    assert (place.folder / "aleph-agentd.service").exists()


def test_nothing_installed_is_told(cli, place):
    """Nothing is guessed at."""
    assert cli.run("uninstall") == 1
    assert "nothing is installed" in cli.err
