"""Names, keys, sizes, errors and durations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aleph_agentd.domain import errors
from aleph_agentd.domain.clock import SystemClock, iso, span
from aleph_agentd.domain.compute_units import TIERS, check_tier
from aleph_agentd.domain.names import check_name, check_ssh_pubkey
from support.inventory import NOW

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMtT6fOWe4wqZpVvMJ0sKxkC9bBKfyoGJkTtC4e6wqXX"


@pytest.mark.parametrize("name", ["a", "build-1", "Web.Server_2", "x" * 63, "deadbee", "deadbeef-1", "0"])
def test_a_plain_name_is_let_through(name: str) -> None:
    """Letters, digits, dots, dashes, underscores."""
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", " a", "-rf", ".a", "a b", "a\nb", "a\n", "x" * 64, "a/b", "ä", "a;b", "$(id)", "\u202ea", "a\0"],
)
def test_a_name_that_could_be_something_else_is_refused(name: str) -> None:
    """No spaces, no control characters, no options, no paths."""
    with pytest.raises(ValueError, match="a name starts with"):
        check_name(name)


@pytest.mark.parametrize("name", ["deadbeef", "0123456789abcdef", "DEADBEEF00"])
def test_a_name_never_looks_like_a_hash(name: str) -> None:
    """rules.md 14: else a prefix could mean two VMs."""
    with pytest.raises(ValueError, match="hash"):
        check_name(name)


@pytest.mark.parametrize("text", [KEY, f"{KEY} me@home", f"  {KEY} a b c \n"])
def test_a_key_loses_its_comment(text: str) -> None:
    """It would be public for ever (rules.md 10)."""
    assert check_ssh_pubkey(text) == KEY


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_no_key_stays_no_key(text: str) -> None:
    """The owner's is used then."""
    assert check_ssh_pubkey(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "ssh-ed25519",
        "ssh-dss AAAA",
        f"{KEY}\n{KEY}",
        f'command="rm -rf /" {KEY}',
        "ssh-ed25519 not*base64",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nabc",
        "ssh-ed25519 AAA",
    ],
)
def test_what_is_no_single_public_key_is_refused(text: str) -> None:
    """No options, no second line, no private key."""
    with pytest.raises(ValueError, match="SSH public key"):
        check_ssh_pubkey(text)


@pytest.mark.parametrize("units", TIERS)
def test_a_tier_is_let_through(units: int) -> None:
    """The network sells it."""
    assert check_tier(units) == units


@pytest.mark.parametrize(("units", "use"), [(3, 4), (5, 6), (7, 8), (9, 12), (13, 12), (0, 1), (-1, 1)])
def test_another_size_is_refused_with_the_next_one(units: int, use: int) -> None:
    """There is no tier 3."""
    with pytest.raises(ValueError, match=f"1, 2, 4, 6, 8, 12; use {use}"):
        check_tier(units)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Refusal, "refused"),
        (errors.BadInput, "bad_input"),
        (errors.Denied, "denied"),
        (errors.NotFound, "not_found"),
        (errors.Conflict, "conflict"),
        (errors.Unavailable, "unavailable"),
        (errors.Unknown, "unknown"),
    ],
)
def test_every_refusal_has_its_code_and_one_wire_form(error: type[errors.Refusal], code: str) -> None:
    """`{code, message, hint, data}`; a rule may set its own code."""
    wire = {"code": code, "message": "why", "hint": "next", "data": {}}
    assert error("why", "next").as_dict() == wire
    assert error("why", code="rule", data={"a": 1}).as_dict() == {
        "code": "rule",
        "message": "why",
        "hint": "",
        "data": {"a": 1},
    }
    assert str(error("why")) == "why"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (3900, "1 h 5 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d 0 h"),
        (183_600, "2 d 3 h"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_words(seconds: float, words: str) -> None:
    """Rounded down: never more time than there is."""
    assert span(seconds) == words


@given(st.floats(min_value=-1e9, max_value=1e9))
def test_a_duration_always_has_words(seconds: float) -> None:
    """Short ones, without a sign."""
    assert 0 < len(span(seconds)) < 20
    assert "-" not in span(seconds)


def test_an_instant_is_told_in_utc_to_the_second() -> None:
    """ISO 8601 with `Z`; no instant stays none."""
    assert iso(NOW) == "2026-11-23T12:00:00Z"
    assert iso(None) is None


def test_the_system_clock_is_aware() -> None:
    """Never naive."""
    assert SystemClock().now().utcoffset() is not None
