"""Budgets by project directory: who they hold for, and that they only tighten."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aleph_agentd.domain.caller import SessionLimits
from aleph_agentd.domain.limits import Limits
from aleph_agentd.domain.projects import budgets_of, directory, for_project

PATHS = st.lists(st.sampled_from(["a", "b", "ab", ".", "..", "%", "_"]), max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)


@pytest.mark.parametrize(
    ("claim", "spelling"),
    [
        ("/a/b", "/a/b"),
        ("/a//b/", "/a/b"),
        ("/a/./x/../b", "/a/b"),
        ("//a", "/a"),
        ("/../..", "/"),
        ("", ""),
        ("no path", "no path"),
    ],
)
def test_a_claimed_directory_has_one_spelling(claim: str, spelling: str) -> None:
    """A detour leads around no budget."""
    assert directory(claim) == spelling


@given(PATHS)
def test_a_spelling_is_its_own(claim: str) -> None:
    """Whatever was claimed."""
    assert directory(directory(claim)) == directory(claim)


@pytest.mark.parametrize(
    ("project", "held"),
    [
        ("/work", ["/work"]),
        ("/work/p", ["/work", "/work/p"]),
        ("/work/p/deep/er", ["/work", "/work/p"]),
        ("/workshop", []),
        ("/", []),
        ("", []),
    ],
)
def test_a_budget_holds_for_its_directory_and_all_below_it(project: str, held: list[str]) -> None:
    """And for no neighbour whose name begins alike."""
    limits = Limits(projects={"/work/p": SessionLimits(), "/work": SessionLimits()})
    assert list(budgets_of(limits, project)) == held


def test_a_budget_tightens_what_holds_for_one_request_and_leaves_sums_to_their_rules() -> None:
    """A daily limit of a project is measured by the project's own spending."""
    budget = SessionLimits(
        max_ttl_hours=2, max_compute_units=1, max_daily_spend_units=5, max_concurrent_vms=1
    )
    owner = Limits(projects={"/p": budget, "/p/q": SessionLimits(max_ttl_hours=1, max_compute_units=8)})
    held = for_project(owner, "/p/q")
    assert held == replace(owner, max_ttl_hours=1, max_compute_units=1)
    assert for_project(owner, "/q") == owner


def test_the_policy_s_version_names_exactly_these_limits() -> None:
    """Whatever changes, changes it; the order in which things are written does not."""
    a, b = SessionLimits(max_ttl_hours=1), SessionLimits(max_ttl_hours=2)
    limits = Limits(projects={"/a": a, "/b": b}, allowed_os_images=frozenset({"x", "y"}))
    assert limits.version == replace(limits, projects={"/b": b, "/a": a}).version
    others = [
        Limits(),
        replace(limits, projects={"/a": b, "/b": a}),
        replace(limits, allowed_os_images=frozenset({"x"})),
        replace(limits, min_balance_units=0),
        replace(limits, min_balance_units=1),
    ]
    assert len({limits.version, *(other.version for other in others)}) == 6
