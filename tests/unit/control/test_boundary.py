"""Whose the code of a system installation is: whoever may change it, has the key."""

import os
import sys
from pathlib import Path

import pytest

from aleph_agentd.control import boundary, install, installing, units
from aleph_agentd.control.boundary import open_to_others


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that only its owner may write: root, where root runs the tests."""
    made = tmp_path / "venv"
    made.mkdir(mode=0o755)
    return made


def test_what_only_root_may_change_is_closed():
    """With all that lies above it, and what it links to."""
    assert open_to_others([Path("/usr/bin/env")]) == []


def test_what_another_account_owns_is_open_with_all_below(folder):
    """A parent's owner can put another folder in its place."""
    assert (folder in open_to_others([folder])) == bool(os.getuid())
    if not os.getuid():
        os.chown(folder, 1, 1)
    (folder / "bin").mkdir(mode=0o755)
    assert folder in open_to_others([folder / "bin/python"])


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_what_a_group_or_everybody_may_write_is_open(folder, mode):
    """Root's or not."""
    folder.chmod(mode)
    assert folder in open_to_others([folder / "bin"])


def test_who_may_change_a_link_in_the_middle_decides_what_is_run(folder, tmp_path):
    """The interpreter of an environment is one; its two ends are root's."""
    middle = tmp_path / "middle"
    middle.mkdir()
    middle.chmod(0o777)
    (middle / "python").symlink_to("/usr/bin/env")
    (folder / "python").symlink_to("../middle/python")
    found = [path.resolve() for path in open_to_others([folder / "python"])]
    assert middle.resolve() in found


def test_what_is_not_there_is_open_and_a_circle_ends(folder):
    """Nobody vouches for it."""
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    found = open_to_others([folder / "a", folder / "gone"])
    assert {folder / "a", folder / "b", folder / "gone"} <= set(found)


@pytest.fixture
def nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests may run as root: nothing is written, nobody is asked."""

    def fail(*_: object) -> None:
        pytest.fail("it went on")

    monkeypatch.setattr(installing, "write", fail)
    monkeypatch.setattr(installing, "run", fail)


def test_a_system_install_of_code_that_others_may_change_is_refused(cli, nothing_is_done, monkeypatch):
    """Before anything else, also before it is said to take root. What makes one that is root's is printed in full."""
    monkeypatch.setattr(boundary, "open_to_others", lambda paths: [Path("/home/me/venv")])
    monkeypatch.setattr(install.os, "getuid", lambda: 1000)
    assert cli.run("install", "--system", "--json") == 1
    refused = cli.json["error"]
    assert refused["code"] == "open_to_others" and refused["message"].endswith(": /home/me/venv")
    assert refused["hint"] == (
        "sudo python3 -m venv /opt/aleph-agentd"
        " && sudo /opt/aleph-agentd/bin/pip install -c constraints.txt ."
        " && sudo /opt/aleph-agentd/bin/aleph-agentctl install --system"
    )


def test_its_own_environment_interpreter_and_packages_are_looked_at(cli, nothing_is_done, monkeypatch):
    """Where all are root's, only root is missing; its PATH has no program of ours."""
    looked: list[Path] = []
    monkeypatch.setattr(boundary, "open_to_others", lambda paths: looked.extend(paths) or [])
    monkeypatch.setattr(install.os, "getuid", lambda: 1000)
    assert cli.run("install", "--system") == 1
    program = Path(sys.executable).with_name("aleph-agentctl")
    assert f"next: sudo {program} install --system" in cli.err
    expected = {Path(sys.executable), Path(boundary.__file__).parents[1], Path(os.__file__).parent}
    assert expected | set(units.code_of_this_process()) == set(looked)


def test_a_dry_run_says_that_it_would_be_refused(cli, monkeypatch):
    """The units are shown all the same."""
    monkeypatch.setattr(boundary, "open_to_others", lambda paths: [Path("/home/me/venv")])
    assert cli.run("install", "--system", "--dry-run") == 0
    assert "it would be refused" in cli.out and "sudo python3 -m venv /opt" in cli.out
