"""`aleph-agentctl vms` and `vm`."""

import pytest

from aleph_agentd.domain.errors import NotFound


def test_vms_lists_state_runtime_cost_and_end(daemon, cli, make_vm):
    """One line each, with what one wants to know first."""
    daemon.says("vms.list", {"vms": [make_vm()], "total": 1, "more": False})
    assert cli.run("vms") == 0
    header, line = cli.out.splitlines()
    assert header.split() == [
        "name",
        "state",
        "hash",
        "size",
        "runtime",
        "cost",
        "so",
        "far",
        "lease",
        "ends",
        "host",
    ]
    assert line.split() == [
        "web",
        "running",
        "7765620000000000",
        "1",
        "CU",
        "2",
        "h",
        "5",
        "min",
        "2.97",
        "cr",
        "(US$0.0297)",
        "in",
        "1",
        "h",
        "55",
        "min",
        "(2026-11-23",
        "12:00:00",
        "UTC)",
        "NtS9",
    ]
    assert daemon.asked == [("vms.list", {"which": "live", "limit": 50, "after": ""})]


@pytest.mark.parametrize(("option", "which"), [("--ended", "ended"), ("--all", "all")])
def test_vms_can_list_what_ended(daemon, cli, option, which):
    """The daemon filters; the CLI only asks."""
    daemon.says("vms.list", {"vms": [], "total": 0, "more": False})
    assert cli.run("vms", option) == 0
    assert daemon.asked[0][1]["which"] == which


def test_more_than_a_page_is_fetched_page_by_page(daemon, cli, make_vm):
    """The daemon gives at most 200 at once."""
    rows = [make_vm(f"vm-{number}", item_hash=f"{number:064x}") for number in range(450)]

    def page(_connection, params):
        start = next((n + 1 for n, row in enumerate(rows) if row["item_hash"] == params["after"]), 0)
        end = start + min(params["limit"], 200)
        return {"vms": rows[start:end], "total": len(rows), "more": end < len(rows)}

    daemon.says("vms.list", page)
    assert cli.run("vms", "--limit", "430", "--json") == 0
    assert [row["name"] for row in cli.json["vms"]] == [row["name"] for row in rows[:430]]
    assert cli.json["more"] is True
    assert [params["limit"] for _, params in daemon.asked] == [200, 200, 30]


HOSTILE = "\x1b]0;owned\x07[red]x[/red]\u202e\ndestroy"


def test_a_hostile_name_is_shown_and_never_interpreted(daemon, cli, make_vm):
    """No escape sequence, no markup, no newline, no right-to-left override reaches the terminal."""
    daemon.says("vms.list", {"vms": [make_vm(HOSTILE, note=HOSTILE)], "total": 1, "more": False})
    assert cli.run("vms") == 0
    assert "\x1b" not in cli.out and "\x07" not in cli.out and "\u202e" not in cli.out
    assert "\\x1b]0;owned\\x07[red]x[/red]\\u202e\\ndestroy" in cli.out
    assert len(cli.out.splitlines()) == 3


def test_one_vm_is_shown_with_its_ledger(daemon, cli, make_vm):
    """Why it is as it is, and where the money went."""
    movement = {
        "at": "2026-11-23T04:00:00Z",
        "account": "reserved",
        "credits": 5.7,
        "usd": 0.057,
        "cause": "create",
    }
    daemon.says(
        "vms.get",
        make_vm(
            cause="the CRN accepted it",
            client="claude",
            project="/src",
            session="s1",
            ledger=[movement],
            saved_file="/var/lib/aleph-agentd/saved/1.tar",
        ),
    )
    assert cli.run("vm", "web") == 0
    assert daemon.asked == [("vms.get", {"item_hash": "web"})]
    assert "the CRN accepted it" in cli.out
    assert "ssh -p 24000 root@127.0.0.2" in cli.out
    assert "reserved  5.70 cr (US$0.057)  create" in cli.out
    assert "/var/lib/aleph-agentd/saved/1.tar" in cli.out


def test_a_vm_that_is_not_there_is_a_refusal(daemon, cli):
    """The daemon's words, exit 1."""
    daemon.says("vms.get", NotFound("there is no VM 'nope'", "aleph-agentctl vms"))
    assert cli.run("vm", "nope", "--json") == 1
    assert cli.json["error"]["code"] == "not_found"
