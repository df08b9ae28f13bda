"""The line splitter: what it gives, and that it never grows."""

from hypothesis import given
from hypothesis import strategies as st

from aleph_agentd.gateway.lines import LineSplitter


def split(data: bytes, piece: int, limit: int) -> list[bytes | None]:
    """Feed `data` in pieces."""
    splitter = LineSplitter(limit)
    return [
        line for start in range(0, len(data), piece) for line in splitter.feed(data[start : start + piece])
    ]


@given(st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"").strip())), st.integers(1, 50))
def test_lines_come_back_whole_however_they_are_cut(lines: list[bytes], piece: int) -> None:
    """Lines over the limit are told of, once each, and cost nobody else's."""
    data = b"".join(line + b"\r\n" for line in lines)
    assert split(data, piece, 21) == [line if len(line) <= 20 else None for line in lines]


def test_an_endless_line_is_not_kept() -> None:
    """Only its size is."""
    splitter = LineSplitter(1000)
    for _ in range(1000):
        assert list(splitter.feed(b"x" * 1000)) == []
    assert sum(map(len, splitter._parts)) <= 1000
    assert list(splitter.feed(b"\nnext\n")) == [None, b"next"]
