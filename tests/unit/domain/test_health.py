"""What is said of a running VM, and which may be ended for it."""

from datetime import timedelta

import pytest

from aleph_agentd.domain.health import FLAGS, OFF_HOST, REMOVING, UNREACHABLE, Seen, flag_of, to_end, words
from support.clock import NOON
from support.inventory import a_vm

PATIENCE = timedelta(minutes=30)


@pytest.mark.parametrize(
    ("seen", "removing", "flag"),
    [
        (Seen(), False, ""),
        (Seen(unlisted=1), False, ""),
        (Seen(unlisted=2), False, OFF_HOST),
        (Seen(silent_since=NOON - PATIENCE + timedelta(seconds=1)), False, ""),
        (Seen(silent_since=NOON - PATIENCE), False, UNREACHABLE),
        (Seen(silent_since=NOON - PATIENCE, unlisted=9), False, UNREACHABLE),
        (Seen(silent_since=NOON - PATIENCE, unlisted=9), True, REMOVING),
        (Seen(), True, REMOVING),
    ],
)
def test_the_gravest_flag_that_fits_is_told(seen: Seen, removing: bool, flag: str) -> None:
    """One look without it, or one knock without an answer, is nothing."""
    assert flag_of(seen, NOON, removing=removing, patience=PATIENCE) == flag


def test_every_flag_has_its_words() -> None:
    """And so has its end."""
    assert len({words(flag, PATIENCE) for flag in (*FLAGS, "")}) == 4
    assert "30 min" in words(UNREACHABLE, PATIENCE)


@pytest.mark.parametrize(
    ("silent", "answering", "watched", "ended", "why"),
    [
        (0, 0, 0, 0, ""),
        (1, 1, 2, 1, ""),
        (1, 0, 1, 0, "our own network"),
        (3, 0, 9, 0, "our own network"),
        (2, 1, 3, 0, "too many"),
        (5, 5, 10, 5, ""),
        (6, 94, 100, 0, "too many"),
    ],
)
def test_unreachable_vms_are_ended_only_while_others_answer_and_never_many(
    silent: int, answering: int, watched: int, ended: int, why: str
) -> None:
    """rules.md 20."""
    vms = [a_vm(number) for number in range(silent)]
    ending, halted = to_end(vms, [str(n) for n in range(answering)], watched)
    assert len(ending) == ended
    assert why in halted
    assert bool(halted) == bool(why)
