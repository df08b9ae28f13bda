"""A shim's environment belongs to the agent: it can tighten, never loosen, and never spend for somebody else."""

import pytest

from aleph_agentd.domain.caller import SessionLimits
from aleph_agentd.domain.limits import Limits, tighten
from aleph_agentd.domain.session_limits import Asked, DaemonSettings, session_limits

DAEMON = DaemonSettings(
    limits=Limits(max_session_spend_units=50_000),
    same={
        "HUMAN_ADDRESS": frozenset({"0xAb"}),
        "PRIVATE_KEY_PATH": frozenset({"/home/me/key"}),
        "INVENTORY_PATH": frozenset({"/home/me/vms.json", "/home/me/vms.db"}),
        "DATABASE_URL": frozenset({""}),
        "NETWORK": frozenset({"mainnet"}),
        "API_HOST": frozenset({"https://a.example"}),
    },
    config_file="/home/me/config.toml",
    home="/home/me",
)


def asked(**variables: str) -> Asked:
    """What comes of these variables, named without their prefix."""
    return session_limits({f"ALEPH_AGENT_{name}": value for name, value in variables.items()}, DAEMON)


def test_an_environment_without_settings_asks_for_nothing() -> None:
    """Others' variables are none of ours."""
    assert session_limits({"PATH": "/bin", "HUMAN_ADDRESS": "0x1"}, DAEMON) == Asked(SessionLimits(), (), "")
    assert asked(RUNTIME_DIR="/x", AUTOSTART="0", MAX_SESSION_SPEND="") == Asked(SessionLimits(), (), "")


def test_smaller_limits_bind_the_session() -> None:
    """All four, without a notice."""
    found = asked(MAX_SESSION_SPEND="3", MAX_CONCURRENT_VMS="1", MAX_TTL_HOURS="0.5", COST_THRESHOLD="0")
    assert found == Asked(SessionLimits(30_000, 1, 0.5, 0), (), "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_SESSION_SPEND", "1 USD"),
        ("MAX_CONCURRENT_VMS", "4"),
        ("MAX_TTL_HOURS", "48"),
        ("COST_THRESHOLD", "11"),
    ],
)
def test_larger_limits_are_ignored_and_reported(name: str, value: str) -> None:
    """With the line by which the owner would raise them."""
    found = asked(**{name: value})
    assert (found.limits, found.spending_refused) == (SessionLimits(), "")
    assert f'`{name.lower()} = "{value}"` in [policy] of /home/me/config.toml' in found.notices[0]


def test_a_session_cannot_let_its_client_answer_for_a_human() -> None:
    """Whatever it sets, and however it writes it."""
    for value in ("1", "true", "0"):
        found = asked(APPROVAL_BY_CLIENT=value)
        assert found.limits == SessionLimits() and "is ignored" in found.notices[0]


def test_settings_of_the_daemon_alone_are_ignored_and_reported() -> None:
    """Known to us or not."""
    found = asked(SWEEP_INTERVAL_S="1", ORPHAN_GRACE_S="2")
    assert [notice.split()[0] for notice in found.notices] == [
        "ALEPH_AGENT_ORPHAN_GRACE_S",
        "ALEPH_AGENT_SWEEP_INTERVAL_S",
    ]


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "five", "9" * 5000, "1e400"])
@pytest.mark.parametrize(
    "name", ["MAX_SESSION_SPEND", "MAX_CONCURRENT_VMS", "MAX_TTL_HOURS", "COST_THRESHOLD"]
)
def test_a_limit_that_cannot_be_read_stops_spending(name: str, value: str) -> None:
    """Going on without it would be looser than its author meant."""
    assert f"ALEPH_AGENT_{name}" in asked(**{name: value}).spending_refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HUMAN_ADDRESS", "0xcd"),
        ("PRIVATE_KEY_PATH", "/tmp/key"),
        ("INVENTORY_PATH", "~/other.db"),
        ("DATABASE_URL", "postgresql://x"),
        ("NETWORK", "devnet"),
        ("API_HOST", "http://127.0.0.1:4024"),
    ],
)
def test_another_payer_key_network_or_inventory_refuses_spending(name: str, value: str) -> None:
    """With the exact line for the daemon (rules.md 11)."""
    found = asked(**{name: value})
    assert found.limits == SessionLimits()
    shown = "…" if name == "DATABASE_URL" else value
    assert f'`{name.lower()} = "{shown}"` in /home/me/config.toml' in found.spending_refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HUMAN_ADDRESS", "0xAB"),
        ("PRIVATE_KEY_PATH", "~/key"),
        ("INVENTORY_PATH", "/home/me/vms.json"),
        ("API_HOST", "https://a.example/"),
        ("NETWORK", "mainnet"),
    ],
)
def test_the_same_settings_in_another_spelling_are_no_difference(name: str, value: str) -> None:
    """So that the mission's configuration of a client keeps working."""
    assert asked(**{name: value}) == Asked(SessionLimits(), (), "")


def test_hostile_variables_do_not_write_to_terminals_or_flood() -> None:
    """Control characters are dropped, long texts cut."""
    found = asked(HUMAN_ADDRESS='0x1\x1b[2J\n"`' + "x" * 10_000, **{f"X{n}": "" for n in range(1000)})
    everything = found.spending_refused + "".join(found.notices)
    assert everything.isprintable()
    assert len(found.spending_refused) < 500
    assert len(found.notices) <= 200


@pytest.mark.parametrize(
    ("name", "tighter", "looser"),
    [
        ("MAX_DAILY_SPEND", "1 cr", "1 USD"),
        ("MAX_HOURLY_BURN", "1 cr", "1 USD"),
        ("MIN_BALANCE", "1 USD", "1 cr"),
        ("HUMAN_APPROVAL_THRESHOLD", "1 cr", "1 USD"),
        ("BALANCE_GUARD_PERCENT", "5", "50"),
        ("MAX_CREATES_PER_HOUR", "5", "50"),
        ("MAX_COMPUTE_UNITS", "1", "12"),
        ("DEFAULT_TTL_HOURS", "0.5", "5"),
        ("ALLOWED_OS_IMAGES", "debian12", "debian12,ubuntu22,ubuntu24"),
    ],
)
def test_every_limit_can_be_tightened_and_none_loosened(name: str, tighter: str, looser: str) -> None:
    """The session gets the smaller of both; a floor or an allowance likewise."""
    limits = Limits(
        max_daily_spend_units=500_000,
        max_hourly_burn_units=500_000,
        min_balance_units=500_000,
        human_approval_threshold_units=500_000,
        max_compute_units=4,
        allowed_os_images=frozenset({"debian12", "ubuntu22"}),
    )
    daemon = DaemonSettings(limits=limits)
    taken = session_limits({f"ALEPH_AGENT_{name}": tighter}, daemon)
    ignored = session_limits({f"ALEPH_AGENT_{name}": looser}, daemon)
    assert tighten(limits, taken.limits) != limits
    assert not taken.notices
    assert tighten(limits, ignored.limits) == limits
    assert "looser than the owner" in ignored.notices[0]
