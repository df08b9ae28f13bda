"""Numbers in sentences."""

import pytest

from aleph_agentd.domain.counting import be, counted


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 VMs are"),
        (1, "1 VM is"),
        (2, "2 VMs are"),
        (None, "an unknown number of VMs are"),
        ("?", "? VMs are"),
    ],
)
def test_one_is_one(number: object, said: str) -> None:
    """And everything else is many."""
    assert f"{counted(number, 'VM')} {be(number)}" == said


def test_other_verbs_go_with_their_numbers() -> None:
    """As they are given."""
    assert [be(number, "was", "were") for number in (1, 2)] == ["was", "were"]
