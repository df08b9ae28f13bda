"""`install`, `doctor`, `uninstall` on a bare account, under a real systemd user manager: one story, told in order."""

import json

import pytest

from systemd.install.conftest import HERE, Owner, fixes
from systemd.install.faults import ROUNDS, Fault

UNITS = ["aleph-agentd-notify.service", "aleph-agentd.service", "aleph-agentd.socket", "aleph-agentd.timer"]


def units(owner: Owner) -> list[str]:
    """What lies in the manager's folder."""
    return sorted(path.name for path in owner.service.unit_folder.glob("aleph*") if path.is_file())


def test_a_dry_run_shows_the_units_and_changes_nothing(owner):
    """Not even a directory of ours is made."""
    assert owner.ctl("install --dry-run") == 0
    assert "would write" in owner.said and "ExecStart=" in owner.said
    assert units(owner) == [] and not owner.service.state.exists()


def test_what_the_doctor_prints_on_a_bare_account_makes_it_an_installation(owner):
    """Each fix as it was printed; only credits are bought by a person. Then nothing is wrong, as `first-day.txt` tells."""
    told = [owner.tell("aleph-agentctl doctor")]
    assert owner.code == 1
    told += [owner.tell(fix) for fix in fixes(owner.findings())]
    assert units(owner) == UNITS
    owner.fund()
    # What the unit took over is enough: this shell knows nothing of the network any more.
    owner.environ = {}
    assert owner.do_what_was_printed(owner.findings()) == []
    told.append(owner.tell("aleph-agentctl doctor"))
    assert owner.code == 0, told[-1]
    assert "\n".join(told) == (HERE / "first-day.txt").read_text(), "\n".join(told)


def test_a_second_install_keeps_what_the_first_one_took_over(owner):
    """It says so, and the daemon that runs is of the installed version."""
    assert owner.ctl("install") == 0
    assert "kept from the last install: ALEPH_AGENT_" in owner.said and "aleph-agentd runs" in owner.said
    assert owner.ctl("upgrade-check") == 0, owner.said


@pytest.mark.parametrize("faults", ROUNDS, ids=lambda faults: "; ".join(fault.name for fault in faults))
def test_planted_faults_are_found_and_their_printed_fixes_mend_them(owner, faults: tuple[Fault, ...]):
    """Executed as printed, from top to bottom; then nothing fails any more."""
    for fault in faults:
        assert owner.shell(fault.plant) == 0, owner.errors
    found = owner.findings()
    for fault in faults:
        assert found[fault.check]["level"] != "pass" and found[fault.check]["fix"], found[fault.check]
    assert owner.do_what_was_printed(found) == []
    after = owner.findings()
    assert {fault.check: after[fault.check]["level"] for fault in faults} == {
        fault.check: "pass" for fault in faults
    }, json.dumps(after, indent=1)
    assert owner.code == 0, json.dumps(after, indent=1)


def test_what_was_changed_by_hand_is_replaced_only_when_told_to_and_kept_beside(owner):
    """The owner's change is theirs."""
    unit = owner.service.unit_folder / "aleph-agentd.service"
    unit.write_text(unit.read_text() + "# mine\n")
    assert owner.ctl("install") == 1 and "install --replace" in owner.errors
    assert owner.ctl("install --replace") == 0
    copy = unit.with_name(f"{unit.name}.bak")
    assert str(copy) in owner.said and copy.read_text().endswith("# mine\n")


def test_uninstall_takes_away_what_was_installed_although_the_daemon_is_broken(owner):
    """By the inventory no VM lives. Key, SSH key and inventory stay; a second time there is nothing to remove."""
    folder = owner.service.unit_folder
    broken = folder / "aleph-agentd.service.d"
    broken.mkdir()
    (broken / "mine.conf").write_text("[Service]\nExecStart=\nExecStart=/bin/false\n")
    owner.shell("systemctl --user daemon-reload; systemctl --user restart aleph-agentd")
    owner.config.write_text("[policy")
    assert owner.ctl("uninstall") == 1 and "aleph-agentctl doctor" in owner.errors
    owner.config.unlink()
    assert owner.ctl("uninstall") == 0, owner.errors
    left = {path.name for path in folder.rglob("*aleph*")}
    assert left == {broken.name, "aleph-agentd.service.bak", "aleph-agentd.socket.bak"}, left
    kept = (owner.service.key_file, owner.service.ssh_key, owner.service.state / "inventory.db")
    assert all(path.exists() for path in kept)
    assert owner.ctl("uninstall") == 1 and "nothing is installed" in owner.errors
