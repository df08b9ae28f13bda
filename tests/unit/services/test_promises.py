"""The promises of design.md under everything at once: a daemon in simulated time, and Hypothesis as its fate."""

import pytest
from hypothesis.stateful import run_state_machine_as_test

from support.fates import FATES, LONG, Fates


@pytest.fixture(autouse=True)
def short_pauses() -> None:
    """The pauses of production: time is simulated."""


@pytest.fixture(autouse=True)
def nothing_blocks() -> None:
    """The database is in the loop's own thread here."""


@pytest.mark.timeout(36_000 if LONG else 300)
def test_the_promises_hold_whatever_happens_in_whatever_order() -> None:
    """Promises 1, 2, 3 and 5 after every step, and everything settled at rest."""
    Fates.ran = 0
    run_state_machine_as_test(Fates, settings=FATES)
    assert Fates.ran >= FATES.max_examples, "hardly any VM ever ran: nothing was shown"
