"""`doctor`: each check decides on facts alone; the whole of it works with the daemon down."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aleph_agentd.control.doctor.command import examine
from aleph_agentd.control.doctor.facts import ClientFacts, Facts, MachineFacts
from aleph_agentd.control.doctor.finding import Finding
from aleph_agentd.control.doctor.web import Reply

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
KEY = {"path": "/k/e.key", "exists": True, "trouble": "", "address": "0xA", "mode": 0o600, "uid": 1000}
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
        "/c",
    ),
    "no key": (facts(examined={"key": KEY | {"exists": False}}), "key", "fail", "key new"),
    "open key": (facts(examined={"key": KEY | {"mode": 0o644}}), "key", "fail", "chmod 600 /k/e.key"),
    "unreadable key": (facts(examined={"key": KEY | {"mode": 0}}), "key", "fail", "chmod 600"),
    "someone's key": (facts(examined={"key": KEY | {"uid": 0}}), "key", "fail", "chown 1000"),
    "bad key": (facts(examined={"key": KEY | {"trouble": "neither"}}), "key", "fail", "mv -n"),
    "no ssh key": (facts(machine=machine(ssh_key=None)), "ssh key", "fail", "ssh-keygen"),
    "bad ssh key": (facts(machine=machine(ssh_key="nonsense")), "ssh key", "fail", "ssh-keygen"),
    "network away": (facts(hosts=(reply(trouble="refused"),)), "network a.example", "fail", "curl"),
    "slow": (facts(hosts=(reply(ms=9000),)), "network a.example", "warn", ""),
    "clock": (facts(hosts=(reply(date=NOW - timedelta(minutes=5)),)), "clock", "fail", "set-ntp"),
    "old list": (facts(now=NOW + timedelta(hours=3)), "crn list", "warn", "curl"),
    "empty list": (facts(crn_list=reply({"crns": []})), "crn list", "fail", "curl"),
    "poor": (facts(balance=reply({"credit_balance": 5})), "balance", "fail", "credits.app"),
    "unknown balance": (facts(balance=reply(trouble="away")), "balance", "warn", "curl"),
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
    "down": (facts(status=None, away="refused"), "daemon", "fail", "install"),
    "busy": (facts(status=None, hello={"version": "0.1.0"}, away="no answer"), "daemon", "warn", "status"),
    "open socket": (
        facts(machine=machine(sockets={"/r/s": (0o666, 0o755)})),
        "socket /r/s",
        "fail",
        "chmod o= /r/s",
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
    "suspend": (facts(machine=machine(suspends=True)), "suspend", "warn", "mask"),
    "full disk": (facts(machine=machine(free_bytes=1)), "disk", "fail", "vacuum"),
    "damaged": (
        facts(examined={"inventory": INVENTORY | {"quick_check": "malformed"}}),
        "inventory",
        "fail",
        "damaged",
    ),
    "newer": (facts(examined={"inventory": INVENTORY | {"schema": 9}}), "schema", "fail", "upgrade-check"),
    "stuck": (facts(status=STATUS | {"stuck": ["box: 503"]}), "stuck", "warn", "vms"),
    "orphans": (facts(status=STATUS | {"sweep": {"at": "x", "orphans": 2}}), "orphans", "warn", "orphans"),
    "broken client": (
        facts(clients=(ClientFacts(client="Claude Code", path="/j", programs=(("/gone", False),)),)),
        "client Claude Code",
        "fail",
        "claude mcp",
    ),
    "no client": (facts(clients=()), "client", "warn", "claude mcp add"),
}


def test_where_all_is_well_every_line_is_a_pass_without_a_fix():
    """No alarm that one learns to overlook."""
    assert {(one.level, one.fix) for one in examine(facts())} == {("pass", "")}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_its_check_with_a_fix(fault: str):
    """How bad it is, and the command that mends it; other checks do not take it for theirs."""
    told, check, level, fix = FAULTS[fault]
    found: list[Finding] = [one for one in examine(told) if one.check == check and one.level != "pass"]
    assert [one.level for one in found] == [level]
    assert fix in found[0].fix and found[0].why


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


def test_the_command_works_with_the_daemon_down_and_tells_it(cli, monkeypatch, tmp_path):
    """Exit 1 and one JSON document; a configuration that cannot be read takes nothing else away."""
    monkeypatch.setenv("ALEPH_AGENT_NO_SUCH_SETTING", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli.run("doctor", "--json") == 1
    found = {one["check"]: one for one in cli.json["findings"]}
    assert found["configuration"]["level"] == "fail" and "NO_SUCH_SETTING" in found["configuration"]["why"]
    assert found["daemon"]["level"] == "fail"
    assert cli.json["ok"] is False
