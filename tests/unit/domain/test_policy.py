"""Each rule of the policy: just inside passes, just outside is denied with its code."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aleph_agentd.domain import policy
from aleph_agentd.domain.caller import SessionLimits
from aleph_agentd.domain.errors import Conflict, Denied, Refusal
from aleph_agentd.domain.limits import Limits, tighten
from aleph_agentd.domain.model import Exposure, Share
from aleph_agentd.domain.policy import Case, affordable, after, evaluate, needs_confirmation

RICH = 10**12
NOTHING = Exposure(0, 0, 0, 0, 0, 0, 0)
NO_SHARE = Share(0, 0, 0, 0)
OPEN = Limits(
    max_concurrent_vms=100,
    max_ttl_hours=8760,
    balance_guard_percent=100,
    max_daily_spend_units=None,
    human_approval_threshold_units=None,
    max_creates_per_hour=100,
)
"""No limit but those that a test sets."""


def a_case(**fields: Any) -> Case:
    """One compute unit for four hours, asked for by somebody rich."""
    facts: dict[str, Any] = {
        "what": "create",
        "name": "new",
        "os_image": "ubuntu22",
        "crn_hash": "c1",
        "lifetime_s": 4 * 3600,
        "hourly_units": 14_250,
        "estimate_units": 57_000,
        "reserve_units": 64_125,
        "balance_units": RICH,
    }
    return Case(**(facts | fields))


def _denied(case: Case, limits: Limits, exposure: Exposure) -> str:
    """The code of the first denial; empty when all rules agree."""
    try:
        evaluate(case, limits, exposure)
    except Refusal as refusal:
        assert refusal.message, refusal.code
        assert refusal.hint, f"{refusal.code} does not say what to do next"
        return refusal.code
    return ""


EDGES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], str, tuple[str, Any]]] = [
    # rule, case, limits, exposure, and (what is moved, where to) so that it is just outside
    ("max_ttl", {"lifetime_s": 86_400}, {"max_ttl_hours": 24.0}, {}, "case", ("lifetime_s", 86_401)),
    (
        "allowed_os_images",
        {},
        {"allowed_os_images": frozenset({"ubuntu22"})},
        {},
        "case",
        ("os_image", "debian12"),
    ),
    ("allowed_crns", {}, {"allowed_crns": frozenset({"c1"})}, {}, "case", ("crn_hash", "c2")),
    ("max_compute_units", {"compute_units": 4}, {"max_compute_units": 4}, {}, "case", ("compute_units", 6)),
    ("max_hourly_cost", {"max_hourly_units": 14_250}, {}, {}, "case", ("hourly_units", 14_251)),
    ("name_taken", {}, {}, {"names": frozenset({"old"})}, "case", ("name", "old")),
    (
        "balance_guard",
        {"estimate_units": 200_000, "balance_units": 1_000_000},
        {"balance_guard_percent": 20},
        {},
        "case",
        ("estimate_units", 200_001),
    ),
    (
        "balance_guard",
        {"estimate_units": 200_000, "balance_units": 3_000_000},
        {"balance_guard_percent": 20},
        {"unbilled_units": 2_000_000},
        "exposure",
        ("unbilled_units", 2_000_005),
    ),
    ("max_concurrent_vms", {}, {"max_concurrent_vms": 3}, {"live_vms": 2}, "exposure", ("live_vms", 3)),
    (
        "max_session_spend",
        {},
        {"max_session_spend_units": 100_000},
        {"session_units": 35_875},
        "exposure",
        ("session_units", 35_876),
    ),
    (
        "max_daily_spend",
        {},
        {"max_daily_spend_units": 100_000},
        {"spent_day_units": 30_000, "reserved_units": 5_875},
        "exposure",
        ("reserved_units", 5_876),
    ),
    (
        "max_daily_spend",
        {},
        {"max_daily_spend_units": 100_000},
        {"spent_day_units": 30_000, "reserved_units": 5_875},
        "exposure",
        ("spent_day_units", 30_001),
    ),
    (
        "max_hourly_burn",
        {},
        {"max_hourly_burn_units": 28_500},
        {"burn_units_per_hour": 14_250},
        "exposure",
        ("burn_units_per_hour", 14_251),
    ),
    (
        "min_balance",
        {"balance_units": 1_000_000},
        {"min_balance_units": 500_000},
        {"unbilled_units": 435_875},
        "exposure",
        ("unbilled_units", 435_876),
    ),
    ("network_24h", {"balance_units": 342_000}, {}, {}, "case", ("balance_units", 341_999)),
    (
        "network_24h",
        {"balance_units": 684_000, "network_hourly_units": 14_250},
        {},
        {},
        "case",
        ("network_hourly_units", 14_251),
    ),
    (
        "max_creates_per_hour",
        {},
        {"max_creates_per_hour": 20},
        {"creates_last_hour": 19},
        "exposure",
        ("creates_last_hour", 20),
    ),
    (
        "max_extensions",
        {"what": "extend", "extensions": 1},
        {"max_extensions": 2},
        {},
        "case",
        ("extensions", 2),
    ),
    *(
        (
            f"project_{limit.removesuffix('_units')}",
            {"project": "/work/p"},
            {"projects": {"/work": SessionLimits(**{limit: most})}},
            {"shares": {"/work": replace(NO_SHARE, **{bound: most - step})}},
            "exposure",
            ("shares", {"/work": replace(NO_SHARE, **{bound: most - step + 1})}),
        )
        for limit, bound, most, step in (
            ("max_concurrent_vms", "live_vms", 3, 1),
            ("max_daily_spend_units", "day_units", 100_000, 64_125),
            ("max_hourly_burn_units", "burn_units_per_hour", 28_500, 14_250),
            ("max_creates_per_hour", "creates_last_hour", 5, 1),
        )
    ),
    (
        "human_approval",
        {},
        {"human_approval_threshold_units": 64_125},
        {},
        "limits",
        ("human_approval_threshold_units", 64_124),
    ),
]


@pytest.mark.parametrize(
    ("code", "case", "limits", "exposure", "moved", "outside"), EDGES, ids=[edge[0] for edge in EDGES]
)
def test_a_rule_admits_its_limit_and_denies_what_is_just_beyond(
    code: str,
    case: dict[str, Any],
    limits: dict[str, Any],
    exposure: dict[str, Any],
    moved: str,
    outside: tuple[str, Any],
) -> None:
    """The number that the owner set is still allowed; one unit more is not, and the code says which rule."""
    parts = {
        "case": a_case(**case),
        "limits": replace(OPEN, **limits),
        "exposure": replace(NOTHING, **exposure),
    }
    assert _denied(**parts) == ""  # type: ignore[arg-type]
    parts[moved] = replace(parts[moved], **{outside[0]: outside[1]})  # type: ignore[type-var]
    assert _denied(**parts) == code  # type: ignore[arg-type]


def test_every_rule_has_an_edge_here() -> None:
    """A rule that is added wants a test."""
    assert len({edge[0] for edge in EDGES}) == len(policy.RULES)


def test_the_rules_stand_in_the_mission_s_order() -> None:
    """TTL, price, balance guard, concurrent VMs, session spend: a case that breaks all hears of them in turn."""
    limits = Limits(max_concurrent_vms=1, max_session_spend_units=1, max_ttl_hours=1, balance_guard_percent=1)
    exposure = replace(NOTHING, live_vms=1, session_units=1)
    case = a_case(lifetime_s=7200, max_hourly_units=1, balance_units=RICH // 10**6)
    heard = [_denied(case, limits, exposure)]
    case = replace(case, lifetime_s=3600)
    heard.append(_denied(case, limits, exposure))
    case = replace(case, max_hourly_units=None)
    heard.append(_denied(case, limits, exposure))
    case = replace(case, balance_units=RICH)
    heard.append(_denied(case, limits, exposure))
    heard.append(_denied(case, limits, replace(exposure, live_vms=0)))
    assert heard == ["max_ttl", "max_hourly_cost", "balance_guard", "max_concurrent_vms", "max_session_spend"]


def test_a_taken_name_is_a_conflict_and_everything_else_a_denial() -> None:
    """An agent picks another name; a denial it cannot argue with."""
    with pytest.raises(Conflict):
        evaluate(a_case(name="old"), OPEN, replace(NOTHING, names=frozenset({"old"})))
    with pytest.raises(Denied):
        evaluate(a_case(lifetime_s=9000 * 3600), OPEN, NOTHING)


def test_an_extension_needs_no_free_slot_name_or_create() -> None:
    """It makes no VM."""
    limits = replace(OPEN, max_concurrent_vms=1, max_creates_per_hour=1, max_hourly_burn_units=1)
    exposure = replace(
        NOTHING, live_vms=1, creates_last_hour=1, burn_units_per_hour=14_250, names=frozenset({"new"})
    )
    assert _denied(a_case(what="extend"), limits, exposure) == ""


@pytest.mark.parametrize(
    "rule", ["max_ttl", "balance_guard", "max_session_spend", "max_daily_spend", "min_balance"]
)
def test_an_extension_is_held_to_the_money_rules(rule: str) -> None:
    """The whole policy runs again."""
    for edge in EDGES:
        code, case, limits, exposure, moved, outside = edge
        if code == rule:
            parts: dict[str, Any] = {"case": case, "limits": limits, "exposure": exposure}
            parts[moved] = parts[moved] | {outside[0]: outside[1]}
            asked = a_case(what="extend", **parts["case"])
            assert (
                _denied(asked, replace(OPEN, **parts["limits"]), replace(NOTHING, **parts["exposure"]))
                == rule
            )


def test_a_human_decides_on_the_whole_life_of_a_vm_so_that_extensions_cannot_split_it() -> None:
    """rules.md 16: many small extensions are one large lease."""
    limits = replace(OPEN, human_approval_threshold_units=policy.reserve_units(14_250, 10 * 3600))
    hour = {"what": "extend", "estimate_units": 14_250, "reserve_units": 14_250}
    assert _denied(a_case(**hour, lifetime_s=10 * 3600), limits, NOTHING) == ""
    assert _denied(a_case(**hour, lifetime_s=11 * 3600), limits, NOTHING) == "human_approval"


def test_what_was_got_without_a_human_counts_towards_the_threshold() -> None:
    """rules.md 16: many small VMs are one large one."""
    limits = replace(OPEN, human_approval_threshold_units=100_000)
    assert _denied(a_case(), limits, replace(NOTHING, unapproved_day_units=35_875)) == ""
    assert _denied(a_case(), limits, replace(NOTHING, unapproved_day_units=35_876)) == "human_approval"


def test_an_approval_covers_its_amount_and_its_own_rule_only() -> None:
    """Dearer by one unit is not approved, whatever was got before; no other rule is lifted."""
    limits = replace(OPEN, human_approval_threshold_units=10_000)
    before = replace(NOTHING, unapproved_day_units=10**9)
    assert _denied(a_case(approved_units=64_125), limits, before) == ""
    assert _denied(a_case(approved_units=64_124), limits, before) == "human_approval"
    assert _denied(a_case(approved_units=0), limits, NOTHING) == "human_approval"
    for field, value, code in (
        ("max_concurrent_vms", 0, "max_concurrent_vms"),
        ("max_session_spend_units", 1, "max_session_spend"),
        ("max_daily_spend_units", 1, "max_daily_spend"),
        ("max_hourly_burn_units", 1, "max_hourly_burn"),
        ("max_creates_per_hour", 0, "max_creates_per_hour"),
    ):
        assert _denied(a_case(approved_units=10**12), replace(limits, **{field: value}), NOTHING) == code


def test_a_human_is_asked_last_so_that_nobody_approves_what_another_rule_forbids() -> None:
    """The tools open a request only when this rule alone objects."""
    assert policy.RULES[-1].__name__ == "_human"


@given(st.integers(0, 10**7), st.decimals(0, 10**6, places=6))
def test_a_reservation_covers_the_lease_its_tail_and_one_billing_quantum(
    hourly: int, seconds: Decimal
) -> None:
    """rules.md 15: at least an hour, and half an hour past the end; never rounded down."""
    reserved = policy.reserve_units(hourly, seconds)
    assert reserved >= hourly
    assert reserved * 3600 >= hourly * (seconds + 1800)
    assert reserved <= hourly * (max(seconds + 1800, 3600) + 1) / 3600 + 1


def test_confirmation_is_asked_above_the_threshold_only() -> None:
    """An amount at the threshold needs none; a yes is needed once."""
    limits = replace(OPEN, cost_threshold_units=57_000)
    assert not needs_confirmation(a_case(), limits)
    assert needs_confirmation(a_case(estimate_units=57_001), limits)
    assert not needs_confirmation(a_case(estimate_units=57_001, confirmed=True), limits)


@pytest.mark.parametrize("code", ["balance_guard", "min_balance", "network_24h"])
def test_a_refusal_for_want_of_credits_says_where_to_buy_them(code: str) -> None:
    """As a link of its own, too."""
    poor = {"balance_units": 0, "estimate_units": 0 if code != "balance_guard" else 1, "reserve_units": 0}
    limits = replace(OPEN, min_balance_units=1 if code == "min_balance" else None)
    with pytest.raises(Denied) as refused:
        evaluate(a_case(**poor), limits, NOTHING)
    assert refused.value.code == code
    assert refused.value.data == {"buy_credits_url": "https://credits.app.aleph.im"}


@pytest.mark.parametrize("rule", ["allowed_os_images", "allowed_crns"])
def test_a_list_of_nothing_allows_nothing(rule: str) -> None:
    """A session that asks for an empty list must not get rid of the owner's (rules.md 11)."""
    owner = replace(OPEN, allowed_os_images=frozenset({"debian12"}), allowed_crns=frozenset({"c1"}))
    other = {"os_image": "debian12", "crn_hash": "c1"}
    tight = tighten(owner, SessionLimits(**{rule: frozenset()}))
    assert _denied(a_case(**other), owner, NOTHING) == ""
    assert _denied(a_case(**other), tight, NOTHING) == rule


LIMITS = st.builds(
    Limits,
    max_concurrent_vms=st.integers(1, 6),
    default_ttl_hours=st.floats(0.1, 30),
    balance_guard_percent=st.integers(1, 100),
    max_session_spend_units=st.none() | st.integers(0, 10**6),
    max_daily_spend_units=st.none() | st.integers(0, 10**6),
    max_hourly_burn_units=st.none() | st.integers(0, 10**5),
    min_balance_units=st.none() | st.integers(0, 10**6),
    human_approval_threshold_units=st.none() | st.integers(0, 10**6),
    max_creates_per_hour=st.integers(1, 10),
    max_compute_units=st.none() | st.integers(1, 12),
)
EXPOSURES = st.builds(
    Exposure,
    live_vms=st.integers(0, 4),
    reserved_units=st.integers(0, 10**6),
    unbilled_units=st.integers(0, 10**6),
    spent_day_units=st.integers(0, 10**6),
    session_units=st.integers(0, 10**6),
    burn_units_per_hour=st.integers(0, 10**5),
    creates_last_hour=st.integers(0, 10),
)


@given(LIMITS, EXPOSURES, st.integers(0, 10**7), st.sampled_from([1, 2, 4, 6, 8, 12]))
def test_exactly_the_affordable_number_of_vms_passes_one_after_another(
    limits: Limits, exposure: Exposure, balance: int, units: int
) -> None:
    """n creates pass, and the next one does not: what the balance tool promises is what a create finds."""
    hourly = 14_250 * units
    promised = affordable(limits, exposure, balance, hourly, units)
    seconds = min(limits.default_ttl_s, limits.max_ttl_s)
    case = Case(
        what="create",
        compute_units=units,
        lifetime_s=seconds,
        hourly_units=hourly,
        estimate_units=-(-hourly * seconds // 3600),
        reserve_units=policy.reserve_units(hourly, seconds),
        balance_units=balance,
    )
    for _ in range(promised):
        assert _denied(case, limits, exposure) == ""
        exposure = after(case, exposure)
    assert _denied(case, limits, exposure) != ""


WISHES = st.builds(
    SessionLimits,
    max_session_spend_units=st.none() | st.integers(0, 10**7),
    max_concurrent_vms=st.none() | st.integers(0, 10),
    max_ttl_hours=st.none() | st.floats(0, 10**4),
    cost_threshold_units=st.none() | st.integers(0, 10**7),
)


@given(LIMITS, WISHES)
def test_a_session_can_only_tighten(limits: Limits, wish: SessionLimits) -> None:
    """The smaller of both, and nothing else changes: no environment of a shim loosens anything."""
    tight = tighten(limits, wish)
    for name in Limits.__dataclass_fields__:
        mine, theirs = getattr(limits, name), getattr(wish, name, None)
        wanted = min((x for x in (mine, theirs) if x is not None), default=None)
        assert getattr(tight, name) == (wanted if theirs is not None else mine)


@given(LIMITS, WISHES, EXPOSURES, st.integers(0, 10**7), st.integers(0, 48 * 3600))
def test_what_a_tightened_policy_admits_the_owner_s_admits_too(
    limits: Limits, wish: SessionLimits, exposure: Exposure, balance: int, seconds: int
) -> None:
    """Tightening never opens a door."""
    case = a_case(balance_units=balance, lifetime_s=seconds)
    tight = tighten(limits, wish)
    if _denied(case, tight, exposure) == "":
        assert _denied(case, limits, exposure) == ""
    if needs_confirmation(case, limits):
        assert needs_confirmation(case, tight)
