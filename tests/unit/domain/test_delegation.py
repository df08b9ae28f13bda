"""What a payer's security aggregate grants, and the commands that are told."""

from typing import Any

import pytest

from aleph_agentd.domain.delegation import (
    BREAKS,
    entry_for,
    forget_command,
    grant_command,
    grants_of,
    missing,
    suffices,
)

AGENT, ALL = "0xAgent", frozenset(BREAKS)


@pytest.mark.parametrize(
    ("terms", "granted"),
    [
        ({}, ALL),
        ({"types": [], "channels": [], "aggregate_keys": [], "chain": None}, ALL),
        ({"types": ["INSTANCE"]}, {"INSTANCE"}),
        ({"types": ["POST", "STORE"]}, set()),
        ({"channels": ["OTHER"]}, set()),
        ({"channels": ["OTHER", "ALEPH-CLOUDSOLUTIONS"]}, ALL),
        ({"aggregate_keys": ["profile"]}, {"INSTANCE", "FORGET"}),
        ({"chain": "SOL"}, set()),
        ({"chain": "ETH"}, ALL),
        ({"types": "INSTANCE"}, set()),
        ({"types": {"INSTANCE": 1}}, set()),
    ],
)
def test_an_entry_grants_what_its_limits_leave(terms: dict[str, Any], granted: set[str]) -> None:
    """An empty list limits nothing; what is no list grants nothing."""
    assert grants_of([{"address": AGENT, **terms}], AGENT) == granted


def test_entries_add_up_and_those_of_others_do_not_count() -> None:
    """Addresses are case-sensitive."""
    entries = [
        {"address": AGENT, "types": ["INSTANCE"]},
        {"address": AGENT, "types": ["AGGREGATE"], "aggregate_keys": ["port-forwarding"]},
        {"address": "0xagent"},
    ]
    assert grants_of(entries, AGENT) == {"INSTANCE", "AGGREGATE"}


@pytest.mark.parametrize("entries", [None, {}, "all", 7, [None, "all", []]])
def test_what_a_node_would_not_understand_grants_nothing(entries: Any) -> None:
    """No exception either."""
    assert grants_of(entries, AGENT) == frozenset()


def test_the_entry_that_is_told_grants_all_of_it() -> None:
    """And the command names the same limits."""
    assert grants_of([entry_for(AGENT)], AGENT) == ALL
    assert grant_command(AGENT) == (
        "aleph authorizations add 0xAgent --channels ALEPH-CLOUDSOLUTIONS"
        " --message-types INSTANCE,FORGET,AGGREGATE --aggregate-keys port-forwarding"
    )
    assert forget_command("ab") == "aleph message forget ab"


def test_renting_and_ending_hang_on_one_grant() -> None:
    """The others are missed, and break less."""
    assert suffices({"INSTANCE"}) and not suffices({"FORGET", "AGGREGATE"})
    assert missing({"INSTANCE"}) == ["FORGET", "AGGREGATE"]
    assert missing(ALL) == []
