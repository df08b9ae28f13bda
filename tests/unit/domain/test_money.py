"""Money: integers inside, credits and dollars outside."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aleph_agentd.domain import money

UNITS = st.integers(min_value=-(10**15), max_value=10**15)
RATES = st.decimals(min_value=Decimal("0.0001"), max_value=Decimal(1000), places=6)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("500 cr", 5_000_000),
        ("500", 5_000_000),
        (500, 5_000_000),
        (2.5, 25_000),
        ("0", 0),
        ("5 USD", 5_000_000),
        ("5usd", 5_000_000),
        ("5$", 5_000_000),
        ("1 credit", 10_000),
        ("1 CREDITS", 10_000),
        ("  1.425 cr ", 14_250),
        ("0.000001 USD", 1),
        ("100000", 1_000_000_000),
        ("100001 cr", 1_000_010_000),
    ],
)
def test_an_amount_is_read_in_credits_or_dollars(text: str | int | float, units: int) -> None:
    """A bare number is in credits."""
    assert money.parse_amount(text) == units


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("100001", "too large to be credits"),
        (5_000_000, "too large to be credits"),
        ("5000000 units", "not in network units"),
        ("1 unit", "not in network units"),
        ("-5", "is not an amount"),
        ("nan", "is not an amount"),
        ("inf", "is not an amount"),
        (float("nan"), "is not an amount"),
        (float("inf"), "is not an amount"),
        ("1e5", "is not an amount"),
        ("", "is not an amount"),
        ("5 EUR", "is not an amount"),
        ("5 USD; rm", "is not an amount"),
        ("1,000", "is not an amount"),
        ("9" * 16, "is not an amount"),
        ("999999999999999 USD", "beyond any budget"),
        ("x" * 10_000, "is not an amount"),
    ],
)
def test_what_is_no_amount_or_meant_in_network_units_is_refused_in_one_sentence(
    text: str | float, why: str
) -> None:
    """rules.md 17: a bare number above 100,000 refuses the start."""
    with pytest.raises(ValueError, match=why) as refused:
        money.parse_amount(text)
    assert len(str(refused.value)) < 200
    assert "\n" not in str(refused.value)


@given(UNITS)
def test_credits_and_dollars_name_the_same_amount(units: int) -> None:
    """Nothing is lost between the network's integers and what people read."""
    assert round(money.in_credits(units) * money.UNITS_PER_CREDIT) == pytest.approx(units, abs=1)
    assert money.in_usd(units) == pytest.approx(money.in_credits(units) / 100)


@given(st.integers(min_value=0, max_value=10**9))
def test_what_is_shown_in_credits_is_read_back_as_the_same_units(units: int) -> None:
    """Four decimals of a credit are one unit."""
    assert money.parse_amount(f"{Decimal(units) / money.UNITS_PER_CREDIT:f} cr") == units
    assert money.parse_amount(f"{Decimal(units) / money.UNITS_PER_USD:f} USD") == units


@given(RATES, st.decimals(0, 10**8, places=6))
def test_a_cost_is_rounded_up_once_and_by_less_than_a_unit(rate: Decimal, seconds: Decimal) -> None:
    """Never below the exact cost; never more than a unit above it (28 digits cannot tell 1 from 1 - 1e-300)."""
    exact = rate * seconds
    assert 0 <= money.cost_units(rate, seconds) - exact <= 1


@given(RATES, st.integers(max_value=0))
def test_time_that_runs_backwards_costs_nothing(rate: Decimal, seconds: int) -> None:
    """A clock that was set back must not earn credits."""
    assert money.cost_units(rate, seconds) == 0


def test_one_compute_unit_costs_what_the_price_table_says() -> None:
    """14,250 units an hour, 1.425 credits, US$0.01425; the network quotes it per second."""
    assert money.hourly_units(Decimal("3.9583333333333333")) == 14_250
    assert money.in_credits(14_250) == 1.425
    assert money.in_usd(14_250) == 0.01425


@pytest.mark.parametrize(
    ("units", "text"),
    [
        (570_000, "57.00 credits (US$0.57)"),
        (14_250, "1.425 credits (US$0.01425)"),
        (9_999, "0.9999 credits (US$0.009999)"),
        (0, "0.00 credits (US$0.00)"),
        (10**11, "10,000,000.00 credits (US$100,000.00)"),
        (-570_000, "-57.00 credits (US$-0.57)"),
    ],
)
def test_amounts_are_shown_in_credits_with_dollars_beside_them(units: int, text: str) -> None:
    """Small ones keep their digits."""
    assert money.show(units) == text


def test_the_sane_price_range_is_a_tenth_to_a_hundred_credits() -> None:
    """design.md section 8: outside of it the network changed its unit."""
    assert money.CU_HOUR_RANGE_UNITS == (1_000, 1_000_000)
