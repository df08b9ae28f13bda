"""`install`, `uninstall`: what is written, recorded and left alone. With a real manager: tests/systemd/install."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aleph_agentd.control import boundary, install, installing, living, uninstall
from aleph_agentd.control.doctor import gather_machine
from aleph_agentd.control.installing import Place, place_of
from aleph_agentd.domain.errors import Refusal

STEPS: list[tuple[str, ...]] = []
"""What the manager was told."""
GIVEN: dict[str, str] = {}
"""The environment in which the settings and the inventory were examined last."""


@pytest.fixture
def examined(tmp_path: Path) -> dict[str, Any]:
    """What the examination of settings, key and inventory says; a test may change it."""
    told = {"human_address": None, "database_path": f"{tmp_path}/state/i.db", "escrow_dir": None}
    told |= {
        "private_key_path": f"{tmp_path}/k/e.key",
        "ssh_pubkey_path": "/s/id.pub",
        "predecessor_path": "/p",
    }
    return {
        "settings": told,
        "state": f"{tmp_path}/state/aleph-agentd",
        "config": f"{tmp_path}/c/config.toml",
        "inventory": None,
    }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: dict[str, Any]) -> Place:
    """A user's place, whose manager does whatever it is told."""
    STEPS.clear()
    GIVEN.clear()

    def works(*words: str) -> bool:
        STEPS.append(words)
        return True

    monkeypatch.setattr(gather_machine, "examine", lambda given: GIVEN.update(given) or examined)
    monkeypatch.setattr(gather_machine, "lingering", lambda: True)
    monkeypatch.setattr(install, "works", works)
    monkeypatch.setattr(uninstall, "works", works)
    monkeypatch.setattr(living, "works", works)
    monkeypatch.setattr(installing, "run", lambda *words: STEPS.append(words))
    folders = {"XDG_CONFIG_HOME": "config", "XDG_STATE_HOME": "state", "XDG_RUNTIME_DIR": "run"}
    environ = {name: str(tmp_path / folder) for name, folder in folders.items()}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return place_of("user", environ)


@pytest.fixture
def daemon(place: Place, daemon_at: Any) -> Any:
    """The installed daemon. The shell's ALEPH_AGENT_RUNTIME_DIR points elsewhere."""
    return daemon_at(place.control_socket)


@pytest.fixture
def unit(place: Place) -> Path:
    """The service's unit."""
    return place.folder / "aleph-agentd.service"


def test_a_dry_run_changes_nothing(cli, place):
    """It shows the texts."""
    assert cli.run("install", "--dry-run", "--json") == 0
    assert any("ExecStart=" in text for text in cli.json["files"].values())
    assert not place.folder.exists() and not place.state.exists()


@pytest.fixture
def unmanaged(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Takes the manager away."""

    def refuse(*words: str) -> None:
        STEPS.append(words)
        raise Refusal(f"{' '.join(words)} failed (1): Failed to connect to bus", code="failed")

    def take_away() -> None:
        monkeypatch.setattr(installing, "run", refuse)
        for module in (install, uninstall, living):
            monkeypatch.setattr(module, "works", lambda *words: bool(STEPS.append(words)))

    return take_away


def test_without_a_manager_nothing_is_written_and_the_way_without_systemd_is_named(cli, place, unmanaged):
    """A dry run shows the units all the same."""
    unmanaged()
    assert cli.run("install") == 1
    assert "Failed to connect to bus" in cli.err and "aleph-agentd run" in cli.err
    assert not place.folder.exists() and not place.state.exists()
    assert cli.run("install", "--dry-run") == 0


def test_what_an_install_left_is_removed_without_a_manager_too(cli, place, unit, unmanaged, examined):
    """By the inventory nobody lives; no step is tried that only a manager could take, and no link is left."""
    cli.run("install")
    examined["inventory"] = {"exists": True, "live": 1}
    wants = place.folder / "default.target.wants"
    wants.mkdir()
    (wants / unit.name).symlink_to(unit)
    unmanaged()
    assert cli.run("uninstall") == 1 and unit.exists()
    assert "1 VM lives" in cli.err and "aleph-agentd run; then" in cli.err and "systemctl" not in cli.err
    examined["inventory"] = {"exists": False}
    STEPS.clear()
    assert cli.run("uninstall") == 0
    assert not place.record.exists() and not any(path.is_file() for path in place.folder.iterdir())
    assert not (wants / unit.name).is_symlink()
    assert {step[2] for step in STEPS} <= {"is-active", "show-environment"}


def test_a_daemon_that_runs_without_a_manager_keeps_its_units(cli, place, unit, unmanaged, examined, daemon):
    """It could not be stopped: who came by `su` has its manager elsewhere, and is told how to reach it."""
    daemon.says("hello", {})
    cli.run("install")
    examined["inventory"] = {"exists": True, "live": 0}
    unmanaged()
    assert cli.run("uninstall") == 1 and unit.exists() and place.record.exists()
    assert f"next: XDG_RUNTIME_DIR=/run/user/{os.getuid()} aleph-agentctl uninstall" in cli.err.replace(
        str(Path(sys.executable).parent) + "/", ""
    )


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


def test_a_unit_that_was_changed_by_hand_is_neither_replaced_nor_removed(cli, place, unit, daemon):
    """The exact command that replaces it is printed."""
    daemon.says("vms.list", {"total": 0})
    cli.run("install")
    unit.write_text(unit.read_text() + "# mine\n")
    assert cli.run("install") == 1
    assert "install --replace" in cli.err and unit.read_text().endswith("# mine\n")
    assert cli.run("uninstall") == 0
    assert [path.name for path in place.folder.iterdir()] == [unit.name]


def test_what_is_replaced_is_kept_beside_and_told(cli, place, unit):
    """As .bak, which systemd does not read; a link that masks the unit too."""
    cli.run("install")
    unit.write_text("mine")
    unit.with_name("aleph-agentd.timer").unlink()
    unit.with_name("aleph-agentd.timer").symlink_to("/dev/null")
    assert cli.run("install", "--replace") == 0
    copy = unit.with_name(f"{unit.name}.bak")
    assert copy.read_text() == "mine" and str(copy) in cli.out and "ExecStart=" in unit.read_text()
    assert unit.with_name("aleph-agentd.timer.bak").is_symlink()


@pytest.mark.parametrize("change", ["unit", "file"])
def test_sockets_are_made_anew_where_their_unit_or_a_file_of_theirs_has_gone_another_way(cli, place, change):
    """Otherwise they are held, so that no client is refused."""
    place.runtime.mkdir(parents=True)
    for name in ("agent.sock", "control.sock"):
        (place.runtime / name).touch()
    cli.run("install")
    STEPS.clear()
    cli.run("install")
    stop = ("systemctl", "--user", "stop", "aleph-agentd.socket")
    assert stop not in STEPS and ("systemctl", "--user", "restart", "aleph-agentd.service") in STEPS
    if change == "unit":
        (place.folder / "aleph-agentd.socket").write_text("[Socket]\nListenStream=%t/elsewhere\n")
    else:
        (place.runtime / "agent.sock").unlink()
    cli.run("install", "--replace")
    assert stop in STEPS


def test_the_settings_of_this_shell_are_taken_over_by_name_kept_and_taken_out(cli, place, unit, monkeypatch):
    """A later install from another shell keeps them; an empty value takes one out; a password never goes in."""
    monkeypatch.setenv("ALEPH_AGENT_MAX_CONCURRENT_VMS", "3")
    monkeypatch.setenv("ALEPH_AGENT_DATABASE_URL", "postgresql://me:hunter2@db/x")
    assert cli.run("install") == 0
    assert "taken over from this shell into the unit: ALEPH_AGENT_MAX_CONCURRENT_VMS" in cli.out
    assert "not taken over: ALEPH_AGENT_DATABASE_URL" in cli.out
    monkeypatch.delenv("ALEPH_AGENT_MAX_CONCURRENT_VMS")
    cli.run("install")
    assert "kept from the last install: ALEPH_AGENT_MAX_CONCURRENT_VMS" in cli.out
    assert "Environment=ALEPH_AGENT_MAX_CONCURRENT_VMS=3" in unit.read_text()
    assert not any("hunter2" in path.read_text() for path in (unit, place.record))
    monkeypatch.setenv("ALEPH_AGENT_MAX_CONCURRENT_VMS", "")
    cli.run("install")
    assert "MAX_CONCURRENT_VMS" not in unit.read_text() + cli.out


POINTS_AT = {
    "NETWORK": "devnet",
    "API_HOST": "http://localhost:1",
    "API_HOSTS": "http://localhost:1,http://localhost:2",
    "CRN_LIST_URL": "http://localhost:1/crns",
    "AGGREGATE_ADDRESS": "0x1",
    "PRIVATE_KEY_PATH": "/devnet/key",
    "INVENTORY_PATH": "/devnet/i.db",
    "HUMAN_ADDRESS": "0x2",
}


@pytest.mark.parametrize("name", POINTS_AT)
def test_while_vms_live_no_install_takes_their_daemon_to_another_network_key_or_inventory(
    cli, place, unit, daemon, monkeypatch, name
):
    """Nobody would end them. Without VMs it does, and back only in the same way."""
    daemon.says("vms.list", {"total": 2})
    cli.run("install")
    before = unit.read_text(), place.record.read_text()
    monkeypatch.setenv(f"ALEPH_AGENT_{name}", POINTS_AT[name])
    STEPS.clear()
    assert cli.run("install", "--replace") == 1
    assert "2 VMs live" in cli.err and f"unset ALEPH_AGENT_{name} && " in cli.err
    assert (unit.read_text(), place.record.read_text()) == before
    assert {step[2] for step in STEPS} == {"show-environment", "is-active"}
    daemon.says("vms.list", {"total": 0})
    assert cli.run("install") == 0 and f"ALEPH_AGENT_{name}=" in unit.read_text()
    daemon.says("vms.list", {"total": 1})
    monkeypatch.setenv(f"ALEPH_AGENT_{name}", "")
    assert cli.run("install") == 1 and "1 VM lives" in cli.err


def test_while_nobody_says_whether_vms_live_no_install_takes_the_daemon_elsewhere(
    cli, place, examined, monkeypatch
):
    """Unknown is not none; what names no network, key or inventory may change."""
    cli.run("install")
    examined["inventory"] = {"exists": True, "quick_check": "malformed"}
    monkeypatch.setenv("ALEPH_AGENT_MAX_CONCURRENT_VMS", "3")
    assert cli.run("install") == 0
    monkeypatch.setenv("ALEPH_AGENT_NETWORK", "devnet")
    assert cli.run("install", "--json") == 1
    assert cli.json["error"]["code"] == "vms_unknown"
    assert "ALEPH_AGENT_NETWORK would change" in cli.json["error"]["message"]


def test_it_is_not_uninstalled_while_vms_live(cli, place, unit, daemon):
    """The way out is printed."""
    daemon.says("vms.list", {"total": 2})
    cli.run("install")
    assert cli.run("uninstall") == 1
    assert "2 VMs live" in cli.err and "uninstall --panic" in cli.err and unit.exists()


def test_without_a_daemon_the_inventory_says_whether_vms_live(cli, place, unit, examined):
    """With some it stays, and the command that starts the daemon and ends them is printed; with none it goes."""
    cli.run("install")
    examined["inventory"] = {"exists": True, "live": 2}
    assert cli.run("uninstall") == 1
    assert "2 VMs live by the inventory" in cli.err and unit.exists()
    assert "systemctl --user restart aleph-agentd.service && " in cli.err and "uninstall --panic" in cli.err
    examined["inventory"] = {"exists": True, "live": 0}
    assert cli.run("uninstall") == 0 and not unit.exists()


def test_the_installed_daemon_is_counted_and_panicked_not_the_one_that_this_shell_points_at(
    cli, place, unit, daemon, daemon_at, runtime_dir
):
    """A test's daemon without VMs proves nothing."""
    other = daemon_at(runtime_dir / "control.sock")
    other.says("vms.list", {"total": 0})
    daemon.says("vms.list", {"total": 2})
    daemon.says("panic", {"done": True, "erasing": 0})
    cli.run("install")
    assert cli.run("uninstall") == 1 and "2 VMs live" in cli.err
    assert cli.run("uninstall", "--panic") == 1 and unit.exists()
    assert "panic" in [method for method, _ in daemon.asked] and not other.asked


def test_a_vm_that_was_created_while_the_daemon_stopped_keeps_it(cli, place, unit, examined, daemon):
    """What was stopped is started again, and nothing is disabled."""
    daemon.says("vms.list", {"total": 0})
    cli.run("install")
    examined["inventory"] = {"exists": True, "live": 1}
    STEPS.clear()
    assert cli.run("uninstall") == 1
    assert "1 VM lives" in cli.err and "uninstall --panic" in cli.err and unit.exists()
    names = ("aleph-agentd.service", "aleph-agentd.socket", "aleph-agentd.timer")
    assert [step[2:] for step in STEPS[-2:]] == [("stop", *names), ("start", *names)]
    assert not any("disable" in step for step in STEPS)


def test_the_inventory_that_is_counted_is_the_installed_daemons(cli, place, unit, examined, monkeypatch):
    """Whatever this shell says of another one."""
    monkeypatch.setenv("ALEPH_AGENT_MAX_CONCURRENT_VMS", "3")
    cli.run("install")
    examined["inventory"] = {"exists": True, "live": 2}
    monkeypatch.setenv("ALEPH_AGENT_INVENTORY_PATH", "/devnet/inventory.db")
    GIVEN.clear()
    assert cli.run("uninstall") == 1
    assert GIVEN["ALEPH_AGENT_MAX_CONCURRENT_VMS"] == "3" and "ALEPH_AGENT_INVENTORY_PATH" not in GIVEN


@pytest.mark.parametrize("inventory", [None, {"exists": True, "quick_check": "malformed"}])
def test_where_neither_daemon_nor_inventory_says_it_nothing_is_removed(cli, place, unit, examined, inventory):
    """Unknown is not none."""
    cli.run("install")
    examined["inventory"] = inventory
    assert cli.run("uninstall", "--json") == 1
    assert cli.json["error"]["code"] == "vms_unknown" and unit.exists()


def test_a_panic_without_a_daemon_is_refused_with_the_command_that_starts_it(cli, place, unit):
    """The installed one."""
    cli.run("install")
    assert cli.run("uninstall", "--panic") == 69 and unit.exists()
    assert "systemctl --user restart aleph-agentd.service && " in cli.err


def test_units_whose_files_are_gone_can_be_uninstalled(cli, place, unit, examined):
    """Nothing stands in the way, and no link is left that names them."""
    cli.run("install")
    examined["inventory"] = {"exists": False}
    wants = place.folder / "default.target.wants"
    wants.mkdir()
    (wants / unit.name).symlink_to(unit)
    unit.unlink()
    assert cli.run("uninstall") == 0
    assert not (wants / unit.name).is_symlink() and not place.record.exists()


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is another account's: nobody but that one may read it, whoever runs this test from whatever code."""

    def refuse(path: Path, *_: Any, **__: Any) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(boundary, "open_to_others", lambda _: [])


@pytest.mark.parametrize(
    "words", [("install",), ("install", "--dry-run"), ("uninstall",), ("uninstall", "--panic")]
)
def test_a_record_that_only_root_may_read_is_left_where_it_is_and_root_repeats_the_command(
    cli, place, closed, words
):
    """Without its record nothing could be undone."""
    assert cli.run(words[0], "--system", *words[1:]) == 1
    program = Path(sys.executable).with_name("aleph-agentctl")
    rest = " ".join(words[1:])
    assert f"next: sudo {program} {words[0]} --system {rest}".strip() in cli.err and "mv " not in cli.err


def test_ones_own_record_that_one_may_not_read_is_made_ones_own_again(cli, place, closed):
    """As root the command would mean root's own units."""
    assert cli.run("uninstall") == 1
    assert f"next: sudo chown -R {os.getuid()} {place.state}" in cli.err


def test_a_record_that_is_none_is_taken_aside_and_one_that_no_disk_gives_back_stays(cli, place):
    """The printed command keeps an older copy too."""
    place.state.mkdir(parents=True)
    place.record.write_text("{")
    assert cli.run("uninstall") == 1
    assert f"next: mv --backup=numbered {place.record} {place.record}.unusable" in cli.err
    place.record.unlink()
    place.record.mkdir()
    assert cli.run("uninstall") == 1 and "next:" not in cli.err


def test_nothing_installed_is_told(cli, place):
    """Nothing is guessed at."""
    assert cli.run("uninstall") == 1
    assert "nothing is installed" in cli.err


def test_a_system_install_takes_no_key_file_along():
    """There the key is systemd's credential."""
    carried = install.carry(
        {"ALEPH_AGENT_PRIVATE_KEY_PATH": "/k", "ALEPH_AGENT_NETWORK": "devnet"}, {}, "system"
    )
    assert carried.settings == {"ALEPH_AGENT_NETWORK": "devnet"}


def test_a_dry_run_for_the_system_shows_its_units_and_where_the_key_goes(cli, place):
    """With a socket for agents and one for owners; nothing is taken from this user's folders."""
    assert cli.run("install", "--system", "--dry-run") == 0
    for name in ("aleph-agentd.service", "aleph-agentd.socket", "aleph-agentd-control.socket"):
        assert f"would write /etc/systemd/system/{name}" in cli.out
    assert "systemd-creds encrypt" in cli.out and "uninstall --system" in cli.out
    assert str(place.state) not in cli.out
