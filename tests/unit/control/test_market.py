"""`aleph-agentctl nodes` and `balance`."""

from typing import Any


def _crn(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "hash": f"{number:064x}",
        "name": f"crn-{number}",
        "score": 0.98,
        "gpus": [],
        "terms_and_conditions": "",
        "hourly_cost": 1.425,
        "recent_failures": 0,
        "free_memory_mib": 65536,
    } | changes


def _pages(*crns: dict[str, Any]) -> Any:
    """Answers of aleph_list_crns, two per page."""

    def page(_connection: object, params: dict[str, Any]) -> dict[str, Any]:
        start = (params["arguments"]["page"] - 1) * 2
        return {
            "crns": crns[start : start + 2],
            "total": len(crns),
            "pages": -(-len(crns) // 2),
            "list_age": "9 s",
        }

    return page


def test_nodes_are_listed_with_price_and_room(daemon, cli):
    """One line each; what is to know about one is at its end."""
    daemon.says(
        "tools.call", _pages(_crn(1, gpus=["RTX 4090"], terms_and_conditions="ab" * 32, recent_failures=2))
    )
    assert cli.run("nodes", "--gpu", "any", "--cheapest") == 0
    _, line, summary = cli.out.splitlines()
    assert (
        "1.425 cr (US$0.01425)  0.98   64 GiB       RTX 4090  terms abababababababab, failed 2 times lately"
        in line
    )
    assert summary == "1 of 1, as of 9 s ago"
    assert daemon.asked[0][1]["arguments"] == {
        "min_compute_units": 1,
        "sort": "cheapest",
        "gpu": True,
        "page": 1,
    }


def test_as_many_pages_are_asked_for_as_the_limit_needs(daemon, cli):
    """And no more."""
    daemon.says("tools.call", _pages(*map(_crn, range(9))))
    assert cli.run("nodes", "--limit", "3", "--json") == 0
    assert [row["name"] for row in cli.json["crns"]] == ["crn-0", "crn-1", "crn-2"]
    assert len(daemon.asked) == 2


def test_a_hostile_name_of_a_node_does_nothing(daemon, cli):
    """It is what its owner wrote."""
    daemon.says("tools.call", _pages(_crn(1, name="\x1b[2Jx", gpus=["\x07"])))
    assert cli.run("nodes") == 0
    assert "\x1b" not in cli.out
    assert "\x07" not in cli.out


def test_no_node_is_said_in_words(daemon, cli):
    """An empty table looks like a mistake."""
    daemon.says("tools.call", {"crns": [], "total": 0, "pages": 1, "list_age": "9 s"})
    assert cli.run("nodes", "--gpu", "H100") == 0
    assert cli.out == "No node has room for that now.\n"


BALANCE = {
    "balance_credits": 1234.5,
    "reserved_credits": 5.7,
    "burn_rate_per_hour": 1.425,
    "runway_hours": 862.3,
    "budget_left": None,
    "active_vm_count": 1,
    "affordable": {"1 CU": 12, "2 CU": 6, "4 CU": 0},
    "buy_credits_url": "https://credits.example",
    "warnings": ["The price is not known."],
}


def test_balance_tells_money_in_both_units_and_time(daemon, cli):
    """And what it buys."""
    daemon.says("tools.call", BALANCE)
    assert cli.run("balance") == 0
    for text in (
        "1,234.50 cr (US$12.345)",
        "862.3 hours",
        "no limit",
        "12 × 1 CU or 6 × 2 CU",
        "The price is not known.",
    ):
        assert text in cli.out


def test_an_unknown_balance_is_unknown(daemon, cli):
    """Not zero."""
    daemon.says("tools.call", BALANCE | {"balance_credits": None, "runway_hours": None, "affordable": {}})
    assert cli.run("balance") == 0
    assert "balance        unknown" in cli.out
