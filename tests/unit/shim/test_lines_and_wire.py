"""The shim's own two formats: bounded lines of JSON, and just enough MessagePack."""

import contextlib
import subprocess
import sys
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aleph_agent_mcp.lines import Lines, TooLong, find_id, parse
from aleph_agent_mcp.wire import Truncated, pack, unpack

from .test_pipe import shim_path

plain = st.none() | st.booleans() | st.integers(0, 2**64 - 1) | st.text()
values = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(values)
def test_what_we_pack_every_client_of_the_format_reads(value: Any) -> None:
    """Compared with the msgpack package, both ways."""
    assert msgpack.unpackb(pack(value)) == value
    assert unpack(msgpack.packb(value)) == (value, len(msgpack.packb(value)))


@given(st.integers(-(2**63), -1) | st.binary(max_size=10).map(lambda data: data.decode("latin-1")))
def test_negative_numbers_and_odd_text_are_read(value: Any) -> None:
    """An answer may hold what we never send."""
    assert unpack(msgpack.packb(value))[0] == value


@given(values)
def test_a_truncated_answer_asks_for_more(value: Any) -> None:
    """Whatever prefix has arrived, it is neither misread nor an error."""
    data = msgpack.packb([value])
    for end in range(len(data)):
        with pytest.raises(Truncated):
            unpack(data[:end])


@given(st.binary(max_size=200))
def test_noise_instead_of_an_answer_is_an_error_or_a_value(data: bytes) -> None:
    """Never anything but the two exceptions that are handled."""
    with contextlib.suppress(Truncated, ValueError):
        unpack(data)


@pytest.mark.parametrize(
    "data", [b"\xdd\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\x91" * 1000, b"\xc7\x01\x01\x01"]
)
def test_an_answer_of_absurd_size_is_refused(data: bytes) -> None:
    """Lengths are believed only up to the bound."""
    with pytest.raises(ValueError):
        unpack(data)


@given(st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b".")), max_size=8), st.integers(1, 9))
def test_lines_do_not_depend_on_how_the_bytes_arrive(lines: list[bytes], step: int) -> None:
    """Any chunking gives the same lines; blank ones are dropped."""
    stream = b"".join(line + b"\n" for line in lines)
    cutter = Lines(100)
    got = [line for at in range(0, len(stream), step) for line in cutter.feed(stream[at : at + step])]
    assert got == [line for line in lines if line.strip()]


def test_a_long_line_is_dropped_and_the_next_one_kept() -> None:
    """With its id, and without ever holding all of it."""
    cutter = Lines(100)
    got = []
    for chunk in [b'{"id":"a","x":"', *[b"y" * 1000] * 500, b'"}\nnext\n']:
        got += cutter.feed(chunk)
        assert len(cutter._held) <= 65536 + 1000
    assert isinstance(got[0], TooLong)
    assert (got[0].id, got[1]) == ("a", b"next")


@pytest.mark.parametrize(
    ("head", "tail", "id_"),
    [
        (b'{"id":1,"x":"', b'"}', 1),
        (b' { "jsonrpc" : "2.0" , "id" : "q\\"" , "x":"', b'"}', 'q"'),
        (b'{"params":{"id":1},"x":"', b'yy","id":"last"}', "last"),
        (b'{"params":{"id":1},"x":"', b'yy", "id" : -3 }  ', -3),
        (b'{"params":{"x":"', b'","id":5}}', None),
        (b'{"params":{"x":"', b'","list":[{"a":1,"id":5}]}', None),
        (b'{"params":{"x":"id", "y":"', b'"}', None),
        (b'[{"id":1,"x":"', b'"}]', None),
        (b'{"id":null,"x":"', b'"}', None),
        (b'{"id":"' + b"z" * 500 + b'","x":"', b'"}', None),
        (b"\xff\xfe\x00", b"\x00", None),
        (b'{"x":"\\u12', b'"', None),
    ],
)
def test_the_id_of_a_dropped_line_is_found_or_it_is_none(head: bytes, tail: bytes, id_: object) -> None:
    """Only the outermost object's id counts: a wrong one would answer somebody else's request."""
    assert find_id(head, tail) == id_


BROKEN = [
    b'{"a',
    b'{"a":',
    b"{'a':1}",
    b'{"a":1} x',
    b"[" * 100_000,
    b"\xff",
    b"",
    b"nul",
    b'"\\x"',
    b"1" * 5000,
]


@pytest.mark.parametrize("line", BROKEN)
def test_a_line_that_is_no_json_is_nothing(line: bytes) -> None:
    """The daemon gets it all the same, and answers it."""
    assert parse(line) is None


def test_that_holds_where_json_was_never_imported() -> None:
    """As in the shim itself, where the parser cannot raise its own error."""
    lines = repr([line for line in BROKEN if len(line) < 100])
    code = f"import sys; from aleph_agent_mcp.lines import parse; print([parse(x) for x in {lines}])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, env=shim_path(), check=True
    )
    assert set(done.stdout.strip(b"[]\n").split(b", ")) == {b"None"}
