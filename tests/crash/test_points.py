"""The fault points are what the code says they are, and a verdict finds what it is there to find."""

import ast
from collections import defaultdict
from typing import Any

import pytest

from crash import run
from crash.cases import Case, Outcome, Survey, never_died
from crash.fuse import NOBODY, Fuse
from crash.points import AFTER, BEFORE, STORE, network_calls, points, site_at, sites, writes
from crash.scenario import Scenario
from crash.scenarios import SCENARIOS
from crash.verdict import Verdict, compare
from support.source import modules

NAMES = [point.name for point in points()]
OURS = "0xOurs"


def test_the_ports_and_the_store_say_what_is_a_site() -> None:
    """Coroutines of the network's ports; methods that write. Neither what only reads, nor what signs."""
    assert {"post", "status", "instances"} <= network_calls()["messages"]
    assert {"notify", "erase", "execution", "ssh_answers"} <= network_calls()["hosts"]
    assert {"price", "balance", "crns"} <= network_calls()["market"]
    assert "images" not in network_calls()["market"]
    assert {"admit", "move", "note", "settle", "extend", "adopt", "record", "import_predecessor"} <= writes()
    assert not {"get", "page", "due", "next_forget", "_read", "_transact"} & writes()


def test_the_calls_that_matter_most_are_points_on_both_sides() -> None:
    """The broadcast, commit 1, and the FORGET."""
    for call in (
        "services.birth.Birth._post: messages.post",
        "services.provisioner.Provisioner._admit: inventory.admit",
        "services.billing_end.BillingEnd._forget: messages.post",
    ):
        assert {f"{call}, {BEFORE}", f"{call}, {AFTER}"} <= set(NAMES)


def test_the_store_begins_no_transaction_that_is_neither_a_write_nor_a_migration_nor_a_read() -> None:
    """What is begun on `writer` is a site; on `engine` it only reads; all others pass `Transactions._run`."""
    begun = {
        f"{module.name.rpartition('.')[2]}: {ast.unparse(node.func)}"
        for module in modules("aleph_agentd")
        if module.name.startswith(STORE)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "begin"
    }
    run = "transactions: (self._writer if writes else self._engine).begin"
    assert begun - {"engine: engine.begin", "migrations: engine.begin"} == {"migrations: writer.begin", run}
    assert sum(site.port == "writer" for site in sites()) == 1


def test_every_point_has_a_name_of_its_own() -> None:
    """Two calls of one kind in one function are numbered."""
    assert len(set(NAMES)) == len(NAMES)


def test_no_two_sites_can_be_taken_for_each_other() -> None:
    """A running call is found by its line, so each line of a site leads back to it."""
    for site in sites():
        for line in (site.first_line, site.last_line):
            assert site_at(site.module, line, site.method) == site


def test_nothing_outside_the_adapters_takes_a_port_by_another_name() -> None:
    """A bound method that is passed on, as `look(messages.status)`, would be called from who knows where."""
    known = writes().union(*network_calls().values())
    ports = {"inventory", *network_calls()}
    for module in {site.module for site in sites()}:
        tree = next(found.tree for found in modules("aleph_agentd") if found.name == module)
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in known and id(node) not in called:
                owner = ast.unparse(node.value).rpartition(".")[2].lstrip("_")
                assert owner not in ports, f"{module}:{node.lineno}: {ast.unparse(node)} is not called here"


def test_what_is_exempt_exists_and_says_why() -> None:
    """A point that is gone, or is passed nowhere for no reason, is not exempt."""
    assert set(run.EXEMPT) <= set(NAMES)
    assert all(run.EXEMPT.values())


def test_every_operation_has_a_scenario_that_dies_everywhere() -> None:
    """And every scenario has a name of its own and says what it is about."""
    operations = {scenario.group for scenario in SCENARIOS if scenario.everywhere}
    everywhere = {"create", "confirm", "extend", "destroy", "expire", "sweep", "recover"}
    assert operations == everywhere | {"restore", "freeze", "panic", "approve"}
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
    assert all(scenario.about for scenario in SCENARIOS)


def test_a_fuse_blows_once_and_remembers_what_was_passed(tmp_path) -> None:
    """Also for whoever opens it later, as a daemon does that is started again."""
    fuse = Fuse(tmp_path / "fuse", 5)
    fuse.arm(3)
    other = Fuse(tmp_path / "fuse", 5)
    assert [other.passes(point) for point in (1, 3, 3)] == [False, True, False]
    assert (fuse.armed, fuse.blown, fuse.passed()) == (NOBODY, 3, {1, 3})
    other.complain("somewhere:7: post")
    assert fuse.complaint == "somewhere:7: post"
    fuse.arm(NOBODY)
    assert (fuse.blown, fuse.passed()) == (NOBODY, frozenset())


def truth(*, status: str = "forgotten", held: bool = False, names: int = 1) -> dict[str, Any]:
    """Devnet, with VMs that were billed for the same 100 s, at 2 units a second."""
    hashes = [f"vm-{number}" for number in range(names)]
    return {
        "messages": [
            {"type": "INSTANCE", "sender": OURS, "status": status, "item_hash": item_hash}
            for item_hash in hashes
        ],
        "crns": {"crn": {"vms": hashes if held else []}},
        "charges": [{"item_hash": one, "units": 200, "from": 1000.0, "to": 1100.0} for one in hashes],
    }


def row(item_hash: str = "vm-0", **changes: Any) -> dict[str, Any]:
    """A closed row that fits to that."""
    facts = {
        "item_hash": item_hash,
        "name": "box",
        "state": "gone",
        "rate": "2",
        "last_error": "",
        "cause": "",
    }
    return {**facts, "broadcast_at": 999_900_000, "forgotten_at": 1_100_100_000, **changes}


def found(state: dict[str, Any], *rows: dict[str, Any], spent: int = 201, reserved: int = 0) -> set[str]:
    """The kinds of findings."""
    booked: defaultdict[tuple[str, str], int] = defaultdict(int)
    for one in rows:
        booked[one["item_hash"], "spent"] = spent
        booked[one["item_hash"], "reserved"] = reserved
    verdict = compare(state, OURS, rows, booked)
    return {kind for kind, what in verdict if what}


def test_all_is_well_when_devnet_and_the_rows_agree() -> None:
    """A closed row, a closed charge, and the money of both."""
    assert found(truth(), row()) == set()
    assert Verdict().ok


@pytest.mark.parametrize(
    ("kinds", "state", "rows", "money"),
    [
        ({"lost", "unaccounted"}, truth(), [], {}),
        ({"double"}, truth(names=2), [row(), row("vm-1")], {}),
        ({"overdue"}, truth(status="processed"), [row()], {}),
        ({"overdue"}, truth(held=True), [row()], {}),
        ({"overdue"}, truth(), [row(state="destroying")], {}),
        ({"unaccounted"}, truth(), [row()], {"spent": 150}),
        ({"unaccounted"}, truth(), [row()], {"spent": 250}),
        ({"unaccounted"}, truth(), [row()], {"reserved": 1}),
        ({"unaccounted"}, truth(), [row(broadcast_at=1_050_000_000)], {}),
        ({"unaccounted"}, truth(), [row(forgotten_at=1_050_000_000)], {}),
    ],
    ids=["lost", "double", "billed", "held", "open", "too-little", "too-much", "reserved", "late", "early"],
)  # fmt: skip
def test_each_kind_of_wrong_is_found(kinds, state, rows, money) -> None:
    """One of them at a time."""
    assert found(state, *rows, **money) == kinds


def test_a_point_that_was_missed_is_tried_in_another_scenario_and_told_if_nobody_died_there() -> None:
    """What runs beside a scenario is not always in time; a table in which it is missing is not whole."""
    one, other = SCENARIOS[:2]

    def outcome(scenario: Scenario, point: int | None, killed: bool, passed: frozenset[int]) -> Outcome:
        return Outcome(Case(scenario, point), killed, passed, Verdict(), 1.0)

    survey = Survey([outcome(scenario, None, False, frozenset({0, 1})) for scenario in (one, other)])
    played = [outcome(one, 0, True, frozenset()), outcome(one, 1, False, frozenset())]
    again = survey.again([each.case for each in played], played)
    assert again == [Case(one, 1), Case(other, 1)]
    assert never_died([0, 1], played) == [points()[1]]
    assert never_died([0, 1], [*played, outcome(other, 1, True, frozenset())]) == []
