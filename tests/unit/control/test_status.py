"""`aleph-agentctl status`."""

STATUS = {
    "version": "0.1.0",
    "pid": 4711,
    "started_at": "2026-11-23T04:00:00Z",
    "network": "devnet",
    "address": "0xAbC",
    "payer": "0xDeF",
    "key_trouble": "",
    "vms": {"running": 2, "destroying": 1, "gone": 0},
    "next_end": {"name": "web", "item_hash": "ab" * 32, "at": "2026-11-23T12:00:00Z", "expires_in": "12 min"},
    "balance_credits": 5000.0,
    "balance_usd": 50.0,
    "reserved_credits": 5.7,
    "reserved_usd": 0.057,
    "spent_day_credits": 0.5,
    "spent_day_usd": 0.005,
    "daily_limit_credits": 1000.0,
    "budget_left": 993.8,
    "burn_rate_per_hour": 2.85,
    "burn_rate_per_hour_usd": 0.0285,
    "stuck": ["old (abababababab): host is silent"],
    "alerts": ["2 VMs under our key are not in the inventory"],
    "sweep": {
        "at": "2026-11-23T04:00:00Z",
        "trouble": "",
        "listed": 3,
        "orphans": 2,
        "strangers": 0,
        "undead": 0,
        "stale": 0,
    },
    "sessions": 2,
}


def test_status_shows_money_with_usd_and_times_with_time_left(daemon, cli):
    """Whoever reads a number also reads what it is worth."""
    daemon.says("status", STATUS)
    assert cli.run("status") == 0
    assert "5,000.00 cr (US$50.00)" in cli.out
    assert "0.50 cr (US$0.005) of 1,000.00 cr (US$10.00); left to spend: 993.80 cr" in cli.out
    assert "web (abababababababab) in 12 min (2026-11-23 12:00:00 UTC)" in cli.out
    assert "2 running, 1 destroying" in cli.out
    assert "3 on the network, 2 orphans" in cli.out


def test_status_ends_with_what_needs_the_owner(daemon, cli):
    """Alerts and stuck teardowns are the last lines, where they are seen."""
    daemon.says("status", STATUS)
    cli.run("status")
    assert cli.out.splitlines()[-2:] == [
        "stuck: old (abababababab): host is silent",
        "alert: 2 VMs under our key are not in the inventory",
    ]


def test_what_the_daemon_does_not_know_is_called_unknown(daemon, cli):
    """A balance that could not be read is not zero."""
    daemon.says("status", STATUS | {"balance_credits": None, "key_trouble": "file missing", "next_end": None})
    cli.run("status")
    assert "balance        unknown" in cli.out
    assert "not usable: file missing" in cli.out


def test_a_balance_lasts_only_while_something_burns_it(daemon, cli):
    """The runway is of the last look: what was burnt then may have ended."""
    runway = {"runway": {"in_words": "73 days"}}
    daemon.says("status", STATUS | runway)
    cli.run("status")
    assert "2.85 cr (US$0.0285) per hour; the balance lasts 73 days" in cli.out
    daemon.says("status", STATUS | runway | {"burn_rate_per_hour": 0, "burn_rate_per_hour_usd": 0})
    cli.run("status")
    assert "per hour" in cli.out
    assert "lasts" not in cli.out


def test_a_sweep_that_saw_nothing_does_not_say_that_all_is_known(daemon, cli):
    """A network that did not answer has compared nothing; before the first one nothing was looked at."""
    nothing = {
        "at": "2026-11-23T04:00:00Z",
        "listed": 0,
        "orphans": 0,
        "trouble": "the network did not answer",
    }
    daemon.says("status", STATUS | {"sweep": nothing})
    cli.run("status")
    assert "none of them compared" in cli.out
    assert "all of them known" not in cli.out
    daemon.says("status", STATUS | {"sweep": nothing | {"at": None}})
    cli.run("status")
    assert "not looked at yet" in cli.out


def test_json_is_accepted_on_both_sides_of_the_verb(daemon, cli):
    """`--json status` and `status --json` are the same."""
    daemon.says("status", STATUS)
    assert cli.run("--json", "status") == 0
    assert cli.json == STATUS
    assert cli.run("status", "--json") == 0
    assert cli.json == STATUS
