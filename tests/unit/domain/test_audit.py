"""The chain of the audit log: whatever is done to it is found."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aleph_agentd.domain import audit
from aleph_agentd.domain.acting import BY_ITSELF, Act, acting, on_behalf_of
from aleph_agentd.domain.audit import GENESIS, Check, Deed, Entry, Link, Verdict, anchors_in, deed, follow

AT = datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=UTC)
WORDS = ("kind", "actor", "session", "request_key", "item_hash", "text")

untimed = settings(deadline=None)
words = st.text(max_size=5)
deeds = st.builds(
    Deed,
    at=st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2090, 1, 1), timezones=st.just(UTC)),
    **dict.fromkeys(WORDS, words),
)
bases = st.builds(Link, st.integers(1, 10**9), st.text("0123456789abcdef", min_size=64, max_size=64))


def chained(base: Link, done: list[Deed]) -> list[Entry]:
    """The entries of these deeds."""
    entries: list[Entry] = []
    for one in done:
        entries.append(follow(entries[-1].link if entries else base, one))
    return entries


def checked(base: Link, entries: list[Entry], anchors: list[Link] | None = None) -> Verdict:
    """The verdict on them."""
    check = Check(base, anchors or [])
    check.add(entries)
    return check.verdict()


@pytest.fixture(autouse=True, scope="module")
def short_log() -> object:
    """Rotation leaves one entry, so that small logs may begin anywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit, "KEPT", 1)
        yield


@untimed
@given(st.lists(deeds, min_size=1, max_size=8), st.one_of(bases, st.just(GENESIS)), st.data())
def test_a_chain_that_nobody_touched_is_sound(done: list[Deed], base: Link, data: st.DataObject) -> None:
    """From wherever it begins, and with any of its places anchored."""
    entries = chained(base, done)
    anchors = data.draw(st.lists(st.sampled_from([base, *(entry.link for entry in entries)])))
    assert checked(base, entries, anchors) == Verdict("", base, entries[-1].link, len(set(anchors)))


@untimed
@given(st.lists(deeds, min_size=1, max_size=6), st.data())
def test_any_change_of_any_field_is_found(done: list[Deed], data: st.DataObject) -> None:
    """At the entry that was changed: its instant to the microsecond, each of its words, its number, its hash."""
    entries = chained(GENESIS, done)
    at = data.draw(st.integers(0, len(entries) - 1))
    entry, field = entries[at], data.draw(st.sampled_from(["at", "n", "hash", *WORDS]))
    facts = dict(vars(entry.deed))
    if field == "at":
        facts["at"] += timedelta(microseconds=data.draw(st.integers(1, 10**12)))
    elif field in WORDS:
        facts[field] = data.draw(words.filter(lambda other: other != facts[field]))
    n = entry.n + data.draw(st.integers(1, 5)) if field == "n" else entry.n
    own = entry.hash[::-1] if field == "hash" else entry.hash
    if field == "hash" and own == entry.hash:
        return
    entries[at] = Entry(n, Deed(**facts), own)
    assert f"entry {entry.n} " in checked(GENESIS, entries).problem


@untimed
@given(st.lists(deeds, min_size=2, max_size=6), st.data())
def test_an_entry_that_was_taken_out_is_found(done: list[Deed], data: st.DataObject) -> None:
    """Whether the others keep their numbers, or close the gap."""
    entries = chained(GENESIS, done)
    at = data.draw(st.integers(0, len(entries) - 2))
    rest = entries[:at] + entries[at + 1 :]
    assert f"entry {at + 1} is missing" in checked(GENESIS, rest).problem
    closed = [Entry(n, entry.deed, entry.hash) for n, entry in enumerate(rest, 1)]
    assert f"entry {at + 1} was changed" in checked(GENESIS, closed).problem


@untimed
@given(st.lists(deeds, min_size=2, max_size=6), st.data())
def test_entries_that_changed_places_are_found(done: list[Deed], data: st.DataObject) -> None:
    """With their numbers, or with the numbers of their new places."""
    entries = chained(GENESIS, done)
    first, second = sorted(
        data.draw(st.lists(st.integers(0, len(entries) - 1), min_size=2, max_size=2, unique=True))
    )
    entries[first], entries[second] = entries[second], entries[first]
    assert f"entry {first + 1} " in checked(GENESIS, entries).problem
    renumbered = [Entry(n, entry.deed, entry.hash) for n, entry in enumerate(entries, 1)]
    assert f"entry {first + 1} " in checked(GENESIS, renumbered).problem


@untimed
@given(st.lists(deeds, min_size=1, max_size=6), deeds, st.data())
def test_a_tail_that_was_cut_is_found_by_an_anchor(
    done: list[Deed], other: Deed, data: st.DataObject
) -> None:
    """Also when the log was written on since; without an anchor it cannot be seen."""
    entries = chained(GENESIS, done)
    anchor = entries[-1].link
    left = entries[: data.draw(st.integers(0, len(entries) - 1))]
    assert "its tail was cut" in checked(GENESIS, left, [anchor]).problem
    assert checked(GENESIS, left).problem == ""
    if other == done[len(left)]:
        return
    written_on = chained(GENESIS, [entry.deed for entry in left] + [other] * (len(entries) - len(left)))
    assert "not the one that was anchored" in checked(GENESIS, written_on, [anchor]).problem


@untimed
@given(st.lists(deeds, min_size=1, max_size=6), deeds, st.data())
def test_a_chain_that_was_computed_anew_is_found_by_an_anchor(
    done: list[Deed], other: Deed, data: st.DataObject
) -> None:
    """Whoever can write the table can compute hashes; what was anchored is out of reach."""
    entries = chained(GENESIS, done)
    at = data.draw(st.integers(0, len(done) - 1))
    if other == done[at]:
        return
    forged = chained(GENESIS, [*done[:at], other, *done[at + 1 :]])
    assert checked(GENESIS, forged).problem == ""
    assert "not the one that was anchored" in checked(GENESIS, forged, [entries[-1].link]).problem


def test_a_beginning_that_was_cut_is_no_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotation leaves so many entries; and where it happened may be anchored too."""
    monkeypatch.setattr(audit, "KEPT", 3)
    entries = chained(GENESIS, [deed(AT, "call", str(n), BY_ITSELF) for n in range(5)])
    assert checked(entries[1].link, entries[2:]).problem == ""
    assert "rotation would have left more" in checked(entries[2].link, entries[3:]).problem
    forged = Link(2, "f" * 64)
    later = chained(forged, [entry.deed for entry in entries[2:]])
    assert "not the one that was anchored" in checked(forged, later, [entries[1].link]).problem


def test_two_anchors_of_one_place_that_differ_are_a_problem() -> None:
    """One of them is of a log that is no more."""
    entries = chained(GENESIS, [deed(AT, "call", "x", BY_ITSELF)])
    anchors = [entries[0].link, Link(1, "0" * 64)]
    assert "entry 1 is not the one that was anchored" in checked(GENESIS, entries, anchors).problem


def test_the_hash_is_what_is_written_down() -> None:
    """Anybody can check an export with SHA-256 and JSON alone; fixed for ever."""
    entry = follow(GENESIS, deed(AT, "call", "é “x”", Act("agent uid=1 pid=2", "s", "s/k"), "ab"))
    written = (
        "0" * 64
        + '\n[1,"2026-11-25T12:00:00.123456Z","call","agent uid=1 pid=2","s","s/k","ab","\\u00e9 \\u201cx\\u201d"]'
    )
    assert entry == Entry(1, entry.deed, hashlib.sha256(written.encode()).hexdigest())


def test_an_instant_is_the_same_in_any_zone() -> None:
    """What a database gives back need not be in the zone that went in."""
    elsewhere = AT.astimezone(timezone(timedelta(hours=5)))
    assert (
        follow(GENESIS, deed(AT, "a", "b", BY_ITSELF)).hash
        == follow(GENESIS, deed(elsewhere, "a", "b", BY_ITSELF)).hash
    )


def test_an_entry_is_one_short_line_whatever_it_is_told() -> None:
    """No control characters, no lone surrogates, nothing endless."""
    made = deed(AT, "k\n", "a\x1b[2J\ud800\0b" + "x" * 5000, Act("a\r", "s" * 5000, "\u202e"), "h\t")
    assert made.text.startswith("a\ufffd[2J\ufffd\ufffdbx") and len(made.text) == 1000
    assert (made.kind, made.actor, made.request_key, made.item_hash) == (
        "k\ufffd",
        "a\ufffd",
        "\ufffd",
        "h\ufffd",
    )
    assert len(made.session) == 300
    assert all(getattr(made, name).isprintable() for name in WORDS)


def test_anchors_are_found_in_the_lines_of_a_journal() -> None:
    """Among others, and whatever stands before them."""
    links = [Link(100, "a" * 64), Link(200, "b" * 64)]
    text = "\n".join(f"Nov 25 host aleph-agentd[7]: x: {audit.anchor_line(link)}" for link in links)
    assert anchors_in(f"audit head n=1 hash=short\n{text}\nready") == links


def test_work_is_done_on_behalf_of_whoever_it_is_done_for() -> None:
    """And by the daemon itself when it is for nobody."""
    assert acting() == BY_ITSELF
    with on_behalf_of(Act("alice")):
        with on_behalf_of(Act("bob")):
            assert acting().actor == "bob"
        assert acting().actor == "alice"
    assert acting().actor == "daemon"
