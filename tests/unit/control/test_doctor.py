"""`doctor`: each check decides on facts alone; the whole of it works with the daemon down."""

import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from aleph_agentd.control.doctor import command, gather
from aleph_agentd.control.doctor.command import examine
from aleph_agentd.control.doctor.facts import ClientFacts, Facts, MachineFacts
from aleph_agentd.control.doctor.finding import Finding
from aleph_agentd.control.doctor.web import Reply
from aleph_agentd.control.installed import Installation

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
KEY = {"path": "/k/e.key", "exists": True, "trouble": "", "address": "0xA", "mode": 0o600, "uid": 1000}
WELL_INSTALLED = Installation(unit="/u/aleph-agentd.service", files={"/u/aleph-agentd.service": "as written"})
INVENTORY = {"path": "/s/i.db", "exists": True, "known": 4, "quick_check": "ok", "schema": 4}
SETTINGS = {
    "human_address": None,
    "ssh_pubkey_path": "/h/.ssh/id.pub",
    "api_hosts": ["https://a.example"],
}
SANDBOX = {
    "no_new_privs": True,
    "seccomp": True,
    "mounts": "mnt:[2]",
    "usr_writable": False,
    "session_bus": False,
}
STATUS = {"version": "0.1.0", "pid": 7, "sandbox": SANDBOX, "stuck": [], "sweep": {"at": "x", "orphans": 0}}
PRICING = {"data": {"pricing": {"instance": {"price": {"compute_unit": {"credit": "14250"}}}}}}
CRNS = {"crns": [{}], "last_refresh": NOW.isoformat()}


def reply(body: Any = None, **changes: Any) -> Reply:
    """A host's good answer."""
    return Reply(
        **{"url": "https://a.example/x", "status": 200, "ms": 40, "body": body, "date": NOW} | changes
    )


def machine(**changes: Any) -> MachineFacts:
    """A machine on which all is well."""
    return MachineFacts(
        **{
            "lingering": True,
            "free_bytes": 2**34,
            "ssh_key": "ssh-ed25519 AAAA",
            "mounts": "mnt:[1]",
            "sockets": {"/r/control.sock": (0o600, 0o700)},
        }
        | changes
    )


def facts(*, machine: MachineFacts = machine(), examined: Any = None, **changes: Any) -> Facts:  # noqa: B008
    """An installation on which all is well, but for the changes."""
    well = {
        "now": NOW,
        "installation": WELL_INSTALLED,
        "examined": {"config": "/c", "settings": SETTINGS, "key": KEY, "inventory": INVENTORY}
        | (examined or {}),
        "status": STATUS,
        "hosts": (reply(),),
        "crn_list": reply(CRNS),
        "balance": reply({"credit_balance": 1_000_000}),
        "pricing": reply(PRICING),
        "clients": (ClientFacts(client="Claude Code", path="/j", programs=(("aleph-agent-mcp", True),)),),
    }
    return Facts(machine=machine, **well | changes)


FAULTS: dict[str, tuple[Facts, str, str, str]] = {
    # the fault: the facts, the check that finds it, how bad it is, what its fix holds
    "configuration": (
        facts(examined={"settings": None, "config_trouble": "x is not a setting"}),
        "configuration",
        "fail",
        "by hand",
    ),
    "wrong line": (
        facts(examined={"settings": None, "config_trouble": "x", "config_line": 3}),
        "configuration",
        "fail",
        "sed -i.bak '3s/^/# /' /c",
    ),
    "wrong variable of the unit": (
        facts(
            installation=replace(WELL_INSTALLED, settings={"ALEPH_AGENT_X": "1"}),
            examined={"settings": None, "config_trouble": "x", "config_variable": "ALEPH_AGENT_X"},
        ),
        "configuration",
        "fail",
        "ALEPH_AGENT_X= ",
    ),
    "wrong variable of the shell": (
        facts(examined={"settings": None, "config_trouble": "x", "config_variable": "ALEPH_AGENT_X"}),
        "configuration",
        "fail",
        "unset ALEPH_AGENT_X",
    ),
    "other environment": (facts(unseen=("ALEPH_AGENT_X",)), "environment", "warn", "unset them here"),
    "locked key": (
        facts(examined={"key": KEY | {"locked": True}}, status=STATUS | {"key_trouble": "locked"}),
        "key",
        "fail",
        "unlock",
    ),
    "key of another inventory": (
        facts(status=STATUS | {"key_trouble": "made with 0xB"}),
        "key",
        "fail",
        "restart aleph-agentd",
    ),
    "system key": (
        facts(status=None, installation=replace(WELL_INSTALLED, kind="system")),
        "key",
        "warn",
        "systemd-creds encrypt",
    ),
    "replaceable key": (
        facts(examined={"key": KEY | {"trouble": "others may write; run: chmod go-w /k"}}),
        "key",
        "fail",
        "chmod go-w /k",
    ),
    "no key": (facts(examined={"key": KEY | {"exists": False}}), "key", "fail", "key new"),
    "open key": (facts(examined={"key": KEY | {"mode": 0o644}}), "key", "fail", "chmod 600 /k/e.key"),
    "unreadable key": (facts(examined={"key": KEY | {"mode": 0}}), "key", "fail", "chmod 600"),
    "someone's key": (facts(examined={"key": KEY | {"uid": 0}}), "key", "fail", "chown 1000"),
    "bad key": (facts(examined={"key": KEY | {"trouble": "neither"}}), "key", "fail", "mv -n"),
    "no ssh key": (facts(machine=machine(ssh_key=None)), "ssh key", "fail", "ssh-keygen"),
    "no public ssh key": (
        facts(machine=machine(ssh_key=None, ssh_private=True)),
        "ssh key",
        "fail",
        "ssh-keygen -y -f /h/.ssh/id > /h/.ssh/id.pub; systemctl --user try-restart",
    ),
    "bad ssh key": (
        facts(machine=machine(ssh_key="nonsense")),
        "ssh key",
        "fail",
        "mv --backup=numbered /h/.ssh/id.pub /h/.ssh/id.pub.unusable && ssh-keygen",
    ),
    "bad ssh key beside a private one": (
        facts(machine=machine(ssh_key="nonsense", ssh_private=True)),
        "ssh key",
        "fail",
        "mv --backup=numbered /h/.ssh/id.pub /h/.ssh/id.pub.unusable && ssh-keygen -y",
    ),
    "network away": (facts(hosts=(reply(trouble="refused"),)), "network a.example", "fail", "connection"),
    "slow": (facts(hosts=(reply(ms=9000),)), "network a.example", "warn", "slow"),
    "clock": (facts(hosts=(reply(date=NOW - timedelta(minutes=5)),)), "clock", "fail", "set-ntp"),
    "old list": (facts(now=NOW + timedelta(hours=3)), "crn list", "warn", "later"),
    "empty list": (facts(crn_list=reply({"crns": []})), "crn list", "fail", "later"),
    "poor": (facts(balance=reply({"credit_balance": 5})), "balance", "fail", "credits.app"),
    "unknown balance": (facts(balance=reply(trouble="away")), "balance", "warn", "look again"),
    "unit": (
        facts(
            pricing=reply({"data": {"pricing": {"instance": {"price": {"compute_unit": {"credit": 1.425}}}}}})
        ),
        "price unit",
        "fail",
        "freeze",
    ),
    "no delegation": (
        facts(
            examined={"settings": SETTINGS | {"human_address": "0xB"}},
            security=reply(status=404, trouble="HTTP 404"),
        ),
        "delegation",
        "fail",
        "aleph authorizations add 0xA",
    ),
    "down": (facts(status=None, away="refused"), "daemon", "fail", "aleph-agentctl install"),
    "down, not installed": (
        facts(status=None, away="refused", installation=Installation()),
        "daemon",
        "fail",
        "the install above",
    ),
    "no ssh key of the system": (
        facts(
            machine=machine(uid=0, ssh_key=None, ssh_private=True),
            installation=replace(WELL_INSTALLED, kind="system"),
        ),
        "ssh key",
        "fail",
        "sudo install -D -m 644 ~/.ssh/id_ed25519.pub /h/.ssh/id.pub; sudo systemctl try-restart",
    ),
    "unseen ssh key of the system": (
        facts(machine=machine(ssh_key=None), installation=replace(WELL_INSTALLED, kind="system")),
        "ssh key",
        "warn",
        "as root",
    ),
    "down, units changed": (
        facts(status=None, installation=replace(WELL_INSTALLED, files={"/u/x": "changed"})),
        "daemon",
        "fail",
        "install --replace",
    ),
    "own daemon down": (facts(status=None, installation=Installation(own=True)), "daemon", "fail", "run"),
    "alarm": (facts(status=STATUS | {"alerts": ["Spending is frozen."]}), "alarm", "warn", "status"),
    "not installed": (facts(installation=Installation()), "units", "fail", "aleph-agentctl install"),
    "units gone": (
        facts(installation=Installation(files={"/u/x": "missing"})),
        "units",
        "fail",
        "aleph-agentctl install",
    ),
    "units changed": (
        facts(installation=replace(WELL_INSTALLED, files={"/u/x": "changed"})),
        "units",
        "warn",
        "install --replace",
    ),
    "units of another version": (
        facts(installation=replace(WELL_INSTALLED, version="0.0.1")),
        "units",
        "warn",
        "aleph-agentctl install",
    ),
    "units of another environment": (
        facts(installation=replace(WELL_INSTALLED, python="/old/bin/python")),
        "units",
        "warn",
        "aleph-agentctl install",
    ),
    "closed socket": (
        facts(machine=machine(sockets={"/r/s": (0, 0o700)})),
        "socket s",
        "fail",
        "chmod 600 /r/s",
    ),
    "wide socket": (
        facts(machine=machine(sockets={"/r/s": (0o660, 0o700)})),
        "socket s",
        "warn",
        "chmod 600 /r/s",
    ),
    "open socket of the system": (
        facts(
            machine=machine(sockets={"/r/s": (0o666, 0o755)}),
            installation=replace(WELL_INSTALLED, kind="system"),
        ),
        "socket s",
        "fail",
        "sudo chmod 660 /r/s",
    ),
    "no namespaces": (
        facts(
            status=STATUS | {"sandbox": SANDBOX | {"usr_writable": True}},
            installation=replace(WELL_INSTALLED, sandbox=False),
        ),
        "sandbox",
        "warn",
        "where the machine allows",
    ),
    "busy": (facts(status=None, hello={"version": "0.1.0"}, away="no answer"), "daemon", "warn", "status"),
    "open socket": (
        facts(machine=machine(sockets={"/r/s": (0o666, 0o755)})),
        "socket s",
        "fail",
        "chmod 600 /r/s",
    ),
    "no lingering": (facts(machine=machine(lingering=False)), "lingering", "fail", "enable-linger"),
    "no sandbox": (
        facts(status=STATUS | {"sandbox": SANDBOX | {"seccomp": False}}),
        "sandbox",
        "warn",
        "install",
    ),
    "our files": (
        facts(status=STATUS | {"sandbox": SANDBOX | {"mounts": "mnt:[1]"}}),
        "sandbox",
        "warn",
        "install",
    ),
    "dear and unknown": (facts(pricing=reply(trouble="away")), "price unit", "warn", "look again"),
    "suspend": (facts(machine=machine(suspends=True)), "suspend", "warn", "mask"),
    "full disk": (facts(machine=machine(free_bytes=1)), "disk", "fail", "vacuum"),
    "damaged": (
        facts(examined={"inventory": INVENTORY | {"quick_check": "malformed"}}),
        "inventory",
        "fail",
        "damaged",
    ),
    "newer": (facts(examined={"inventory": INVENTORY | {"schema": 9}}), "schema", "fail", "newer version"),
    "stuck": (facts(status=STATUS | {"stuck": ["box: 503"]}), "stuck", "warn", "vms"),
    "orphans": (facts(status=STATUS | {"sweep": {"at": "x", "orphans": 2}}), "orphans", "warn", "orphans"),
    "broken client": (
        facts(clients=(ClientFacts(client="Claude Code", path="/j", programs=(("/gone", False),)),)),
        "client Claude Code",
        "fail",
        "aleph-agent-mcp",
    ),
    "no client": (facts(clients=()), "client", "warn", "aleph-agent-mcp"),
}


def test_where_all_is_well_every_line_is_a_pass_without_a_fix():
    """No alarm that one learns to overlook."""
    assert {(one.level, one.fix, one.advice) for one in examine(facts())} == {("pass", "", "")}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_its_check_with_a_fix(fault: str):
    """How bad it is, and the command that mends it; other checks do not take it for theirs."""
    told, check, level, fix = FAULTS[fault]
    found: list[Finding] = [one for one in examine(told) if one.check == check and one.level != "pass"]
    assert [one.level for one in found] == [level]
    assert fix in f"{found[0].fix} {found[0].advice}" and found[0].why
    assert found[0].fix or found[0].advice


def test_no_printed_command_points_the_installed_daemon_at_what_this_shell_names():
    """That shell may have been pointed at a test's network: only a person knows."""
    found = [one for one in examine(facts(unseen=("ALEPH_AGENT_NETWORK",))) if one.level != "pass"]
    assert [(one.check, one.fix) for one in found] == [("environment", "")]


@pytest.mark.parametrize("installation", [Installation(own=True), Installation()])
def test_a_daemon_in_the_foreground_has_no_sandbox_that_an_install_would_mend(installation):
    """The install would restart another one, with the settings of this shell."""
    told = facts(status=STATUS | {"sandbox": {}}, installation=installation)
    assert "sandbox" not in {one.check for one in examine(told)}


SYSTEM = replace(WELL_INSTALLED, kind="system")
OF_THE_SYSTEM: dict[str, tuple[Facts, str, str]] = {
    # the fault: the facts, the check, what stands after the program
    "units gone": (
        facts(installation=Installation(kind="system", files={"/u/x": "missing"})),
        "units",
        "install --system",
    ),
    "units changed": (
        facts(installation=replace(SYSTEM, files={"/u/x": "changed"})),
        "units",
        "install --system --replace",
    ),
    "units of another version": (
        facts(installation=replace(SYSTEM, version="0.0.1")),
        "units",
        "install --system",
    ),
    "down": (facts(status=None, installation=SYSTEM), "daemon", "install --system"),
    "no sandbox": (
        facts(status=STATUS | {"sandbox": SANDBOX | {"seccomp": False}}, installation=SYSTEM),
        "sandbox",
        "install --system --replace",
    ),
    "other environment": (
        facts(unseen=("ALEPH_AGENT_X",), installation=SYSTEM),
        "environment",
        "install --system",
    ),
    "wrong variable": (
        facts(
            installation=replace(SYSTEM, settings={"ALEPH_AGENT_X": "1"}),
            examined={"settings": None, "config_trouble": "x", "config_variable": "ALEPH_AGENT_X"},
        ),
        "configuration",
        "install --system",
    ),
}


@pytest.mark.parametrize("fault", OF_THE_SYSTEM)
def test_what_mends_a_system_installation_is_said_to_root_with_the_full_path(fault: str):
    """An ordinary user may not, and sudo's PATH has no program of ours."""
    told, check, words = OF_THE_SYSTEM[fault]
    found = next(one for one in examine(told) if one.check == check and one.level != "pass")
    before = "sudo env ALEPH_AGENT_X=" if fault == "wrong variable" else "sudo"
    assert f"{before} {Path(sys.executable).with_name('aleph-agentctl')} {words}" in (
        f"{found.fix} {found.advice}"
    )
    assert "systemctl --user" not in found.advice


def test_what_a_projects_file_starts_is_corrected_in_that_file(monkeypatch):
    """The client's own command writes to another one."""
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    broken = ClientFacts(client="Claude Code", path="/p/.mcp.json", programs=(("/gone", False),))
    found = next(one for one in examine(facts(clients=(broken,))) if one.check == "client Claude Code")
    assert not found.fix and "/p/.mcp.json" in found.advice and "bin/aleph-agent-mcp" in found.advice


def test_unknown_is_never_well():
    """Nothing could be asked: no money, network or delegation check passes."""
    away = reply(trouble="no route", date=None)
    told = facts(hosts=(away,), crn_list=away, balance=away, pricing=away, status=None, away="refused")
    well = {one.check for one in examine(told) if one.level == "pass"}
    assert not well & {"balance", "price unit", "clock", "network a.example", "daemon", "stuck", "orphans"}


def test_a_path_with_a_blank_is_one_word_of_its_fix():
    """Fixes are executed as they are printed."""
    told = facts(examined={"key": KEY | {"path": "/my keys/$(x)", "mode": 0o644}})
    assert [one.fix for one in examine(told) if one.check == "key"] == ["chmod 600 '/my keys/$(x)'"]


@pytest.mark.parametrize("name", ["id_ed25519", "authorized_keys"])
@pytest.mark.parametrize("kind", ["user", "system"])
def test_no_printed_command_writes_where_a_private_key_may_lie(name: str, kind: Literal["user", "system"]):
    """A person is told which file the setting must name."""
    told = facts(
        machine=machine(uid=0, ssh_key="-----BEGIN OPENSSH PRIVATE KEY-----", ssh_private=True),
        installation=replace(WELL_INSTALLED, kind=kind),
        examined={"settings": SETTINGS | {"ssh_pubkey_path": f"/h/.ssh/{name}"}},
    )
    found = [one for one in examine(told) if one.check == "ssh key"]
    assert [(one.level, one.fix) for one in found] == [("fail", "")]
    assert "must name the .pub file" in found[0].advice


@pytest.mark.parametrize("fault", ["bad ssh key", "bad ssh key beside a private one", "damaged"])
def test_a_fix_that_is_pasted_twice_loses_nothing_of_what_it_takes_out_of_the_way(fault, tmp_path):
    """An older copy of the same name is kept, too."""
    for name in ("id.pub", "i.db"):
        (tmp_path / name).write_text("first")
    told = FAULTS[fault][0]
    fix = next(one.fix for one in examine(told) if "--backup" in one.fix)
    for folder in ("/h/.ssh", "/s"):
        fix = fix.replace(folder, str(tmp_path))
    shell = f"systemctl() {{ :; }}; ssh-keygen() {{ :; }}\n{fix}"
    victim = tmp_path / ("i.db" if fault == "damaged" else "id.pub")
    for content in ("first", "second"):
        victim.write_text(content)
        subprocess.run(["bash", "-c", shell], check=True)
    kept = {path.read_text() for path in tmp_path.glob(f"{victim.name}.*")}
    assert kept == {"first", "second"}


def test_the_command_works_with_the_daemon_down_and_tells_it(cli, monkeypatch, tmp_path):
    """Exit 1 and one JSON document; a configuration that cannot be read takes nothing else away."""
    monkeypatch.setenv("ALEPH_AGENT_NO_SUCH_SETTING", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli.run("doctor", "--json") == 1
    found = {one["check"]: one for one in cli.json["findings"]}
    assert found["configuration"]["level"] == "fail" and "NO_SUCH_SETTING" in found["configuration"]["why"]
    assert found["daemon"]["level"] == "fail"
    assert cli.json["ok"] is False


def test_the_daemon_and_the_sockets_of_the_unit_are_looked_at_not_the_first_that_answer(
    cli, daemon, daemon_at, monkeypatch, tmp_path
):
    """What is printed is for the unit: a foreground daemon's sandbox or sockets are not its fault."""
    monkeypatch.setenv("HOME", str(tmp_path))
    daemon.says("hello", {"version": "of this shell", "pid": 1})
    installed_one = daemon_at(tmp_path / "u/control.sock")
    for method in ("hello", "status"):
        installed_one.says(method, STATUS | {"version": "of the unit"})
    there = replace(WELL_INSTALLED, runtime=tmp_path / "u")
    monkeypatch.setattr(gather.installed, "look", lambda _: there)
    cli.run("doctor", "--json")
    found = {one["check"]: one["why"] for one in cli.json["findings"]}
    assert "of the unit answers" in found["daemon"] and not daemon.asked
    assert "socket control.sock" in found


def test_people_read_aligned_lines_fixes_below_and_what_comes_next(cli, monkeypatch):
    """The commands stand in a column of their own, to be copied."""

    async def gathered() -> Facts:
        return FAULTS["open key"][0]

    monkeypatch.setattr(command, "gather", gathered)
    assert cli.run("doctor") == 1
    lines = cli.out.splitlines()
    assert f"FAIL  {'key':19}  /k/e.key is open to other users (mode 0644)" in lines
    assert f"{'':27}fix: chmod 600 /k/e.key" in lines
    assert lines[0].startswith(f"ok    {'configuration':19}  /c and ")
    assert lines[-1].endswith("0 to look at, 1 wrong. Run the fixes from top to bottom, then look again.")


def test_the_json_form_has_these_fields_and_no_others(cli, monkeypatch):
    """Programs read it."""

    async def gathered() -> Facts:
        return facts()

    monkeypatch.setattr(command, "gather", gathered)
    assert cli.run("doctor", "--json") == 0
    assert set(cli.json) == {"ok", "findings"}
    assert {tuple(one) for one in cli.json["findings"]} == {("check", "level", "why", "fix", "advice")}
