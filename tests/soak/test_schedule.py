"""The published schedule is a function of its seed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from soak import run, schedule
from soak.schedule import DAY_S, Schedule


@pytest.fixture(scope="module")
def month() -> Schedule:
    """What `make soak` runs by default."""
    return schedule.make(1, 30, 220)


def test_a_seed_gives_the_same_schedule_in_every_process(month: Schedule) -> None:
    """Whatever that process's hashes of strings are."""
    command = [sys.executable, str(Path(run.__file__)), "--seed", "1", "--schedule"]
    printed = subprocess.run(command, check=True, capture_output=True).stdout
    assert json.loads(printed) == json.loads(json.dumps(schedule.as_json(month)))


def test_another_seed_gives_another_schedule(month: Schedule) -> None:
    """All of it."""
    other = schedule.make(2, 30, 220)
    assert not set(other.wishes) & set(month.wishes)
    assert not set(other.troubles) & set(month.troubles)


def test_a_month_has_hundreds_of_leases_a_day_and_every_kind_of_trouble(month: Schedule) -> None:
    """As it is told."""
    assert len(month.wishes) == 6600
    assert {trouble.kind for trouble in month.troubles} == {
        "CCN outage",
        "CRN death",
        "CRN death for ever",
        "daemon kill",
        "own network outage",
        "storm of lost replies",
        "suspend",
    }
    assert all(0 <= trouble.at < month.seconds for trouble in month.troubles)
    assert month.told()[0] == "6600 leases in 720 sessions over 30 days"


def test_clients_ask_only_while_they_are_connected(month: Schedule) -> None:
    """For a create, an extension, an early end."""
    for wish in month.wishes:
        session = month.sessions[wish.session]
        asked = [at for at in (wish.at, wish.extend_at, wish.destroy_at) if at is not None]
        assert all(session.at <= at <= session.at + session.seconds for at in asked)


def test_other_loads_leave_the_troubles_of_the_network_alone(month: Schedule) -> None:
    """So that designs and loads can be compared."""
    lighter = schedule.make(1, 30, 10)
    aimed = {"daemon kill", "suspend"}
    assert [t for t in lighter.troubles if t.kind not in aimed] == [
        t for t in month.troubles if t.kind not in aimed
    ]
    assert len(lighter.wishes) == 300
    assert lighter.seconds == 30 * DAY_S
