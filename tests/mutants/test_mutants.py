"""The mutants fit the daemon as it is; whether its promises notice them is for `make mutants`."""

from pathlib import Path

import pytest

from mutants.list import MUTANTS, Mutant
from mutants.run import DAEMON, Misfit, make


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_a_mutant_can_still_be_made(mutant: Mutant, tmp_path: Path) -> None:
    """It is one change in a copy, which is still Python, and leaves the daemon itself alone."""
    before = (DAEMON / mutant.path).read_text()
    made = (make(mutant, tmp_path) / "aleph_agentd" / mutant.path).read_text()
    compile(made, mutant.path, "exec")
    assert made != before == (DAEMON / mutant.path).read_text()


def test_a_mutant_of_code_that_is_another_one_now_is_told_of(tmp_path: Path) -> None:
    """Else it would live on unchanged, and a promise that nothing proves would count as proven."""
    stale = Mutant("stale", "its code has moved on", "services/birth.py", "no such line", "")
    with pytest.raises(Misfit, match="0 times"):
        make(stale, tmp_path)


def test_no_two_mutants_share_a_name() -> None:
    """What is told of one is not told of another."""
    assert len({one.name for one in MUTANTS}) == len(MUTANTS)
