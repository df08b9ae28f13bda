"""The long run itself works: a few points, a few random kills. `make crash` does all of them."""

import pytest

from crash import run


@pytest.mark.timeout(300)  # a dozen processes; some seconds, unless the machine is busy
def test_a_few_points_are_died_at_and_nothing_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    """Every death happens where it should, and devnet has nothing to say against it."""
    assert run.main(["--quick", "--seed", "1"]) == 0
    printed = capsys.readouterr().out
    totals = next(line.split() for line in printed.splitlines() if line.startswith("every fault point"))
    points, kills, *wrong = (int(cell) for cell in totals[3:])
    assert points == kills > run.QUICK_POINTS / 2
    assert wrong == [0, 0, 0, 0]
