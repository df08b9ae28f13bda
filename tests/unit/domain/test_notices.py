"""What interrupts the owner: which events, in which words, how often."""

from datetime import UTC, datetime, timedelta

from aleph_agentd.domain.notices import (
    CAUSES,
    INTERVALS,
    LONGEST_TEXT,
    TITLES,
    Cause,
    Pace,
    notice_of,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def notice(number: int = 1, kind: str = "orphan", text: str = "found", name: str = ""):
    """A notice for an event."""
    return notice_of({"id": number, "kind": kind, "text": text, "name": name, "item_hash": "ab" * 32}, NOW)


def test_every_cause_has_events_words_and_an_interval():
    """None of those that the owner was promised can be silent."""
    assert set(CAUSES.values()) == set(Cause) == set(TITLES) == set(INTERVALS)


def test_what_concerns_nobody_interrupts_nobody():
    """Most events are for whoever looks."""
    assert notice(kind="running") is None


def test_words_of_agents_and_hosts_are_one_printable_line_and_cut():
    """A name is no escape sequence, no second line and no book."""
    told = notice(text="a\nb\x1b[31m\u202e" + "x" * 10_000, name="n\r\n\x07ame" + "y" * 100)
    assert told.text.isprintable() and told.name.isprintable()
    assert len(told.text) <= LONGEST_TEXT and len(told.name) <= 64
    assert "aleph-agentctl orphans" in told.text


def test_a_cause_is_told_at_once_and_then_once_per_interval_with_all_that_came():
    """Nothing is lost, and nobody is called a hundred times."""
    pace = Pace()
    pace.add(notice(1))
    assert [told.id for told in pace.due(NOW)] == [1]
    for number in range(2, 102):
        pace.add(notice(number, text=f"orphan {number}"))
    assert pace.due(NOW + timedelta(seconds=59)) == []
    [told] = pace.due(NOW + INTERVALS[Cause.ORPHAN])
    assert (told.id, told.count) == (101, 100)
    assert "orphan 2" in told.text and "and 95 more" in told.text and len(told.text) <= LONGEST_TEXT
    assert pace.next_in(NOW) is None


def test_causes_do_not_wait_for_each_other():
    """An approval is told while orphans are gathered."""
    pace = Pace()
    pace.add(notice(1))
    pace.due(NOW)
    pace.add(notice(2))
    pace.add(notice(3, kind="approval_asked"))
    assert [told.cause for told in pace.due(NOW)] == [Cause.APPROVAL]
    assert pace.next_in(NOW) == INTERVALS[Cause.ORPHAN].total_seconds()


def test_a_clock_that_is_put_back_silences_nothing():
    """A day back is told, not waited for."""
    pace = Pace()
    pace.add(notice(1))
    pace.due(NOW)
    pace.add(notice(2))
    assert [told.id for told in pace.due(NOW - timedelta(days=1))] == [2]
