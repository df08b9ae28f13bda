"""The RPC codec: round trips, and what it does with bytes from anybody."""

import contextlib
import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aleph_agentd.gateway.rpc.protocol import (
    MAX_DEPTH,
    MAX_FEED,
    MAX_FRAME,
    MAX_ID,
    MAX_ITEMS,
    Decoder,
    Message,
    Notification,
    ProtocolError,
    Request,
    Response,
    encode,
)

ids = st.integers(0, MAX_ID)
methods = st.text(min_size=1, max_size=64).filter(lambda text: text.isprintable())
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
maps = st.dictionaries(st.text(max_size=8), values, max_size=4)
messages = (
    st.builds(Request, ids, methods, maps)
    | st.builds(Response, ids, st.none() | maps, values)
    | st.builds(Notification, methods, maps)
)


def decode_all(data: bytes, piece: int) -> list[Message]:
    """Feed `data` in pieces, as a socket would."""
    decoder, found = Decoder(), []
    for start in range(0, len(data), piece):
        decoder.feed(data[start : start + piece])
        found.extend(decoder)
    return found


@given(st.lists(messages, max_size=5), st.integers(1, 64))
def test_messages_come_back_as_they_were_sent_however_they_are_cut(sent: list[Message], piece: int) -> None:
    """Frames have no borders on a stream socket."""
    assert decode_all(b"".join(map(encode, sent)), piece) == sent


@given(st.binary(max_size=2000), st.integers(1, 500))
def test_any_bytes_give_messages_or_a_protocol_error_and_nothing_else(data: bytes, piece: int) -> None:
    """A decoder that raises something else would take its connection's task with it."""
    try:
        found = decode_all(data, piece)
    except ProtocolError:
        return
    assert all(isinstance(message, Request | Response | Notification) for message in found)


@given(
    st.recursive(st.integers() | st.text() | st.binary() | st.booleans() | st.none(), st.lists, max_leaves=30)
)
def test_any_document_gives_a_message_or_a_protocol_error(document: object) -> None:
    """Well-formed MessagePack is not yet a message."""
    try:
        data = msgpack.packb(document)
    except OverflowError:
        return
    with contextlib.suppress(ProtocolError):
        decode_all(data, MAX_FEED)


def test_the_parameters_may_be_left_out() -> None:
    """Neovim's client sends an empty list."""
    assert decode_all(msgpack.packb([0, 1, "ping", []]), 99) == [Request(1, "ping", {})]


@pytest.mark.parametrize(
    ("document", "request_id"),
    [
        ([0, 7, 5, []], 7),
        ([0, 7, "", []], 7),
        ([0, 7, "m" * 65, []], 7),
        ([0, 7, "m", {}], 7),
        ([0, 7, "m", [1]], 7),
        ([0, 7, "m", [{}, {}]], 7),
        ([0, 7, "m", [{b"bytes": 1}]], 7),
        ([0, True, "m", []], None),
        ([0, -1, "m", []], None),
        ([0, 2**32, "m", []], None),
        ([0, "7", "m", []], None),
        ([0, 7, "m"], None),
        ([2, 5, []], None),
        ([3], None),
        ([], None),
        ({}, None),
        (123, None),
    ],
)
def test_a_wrong_shape_is_refused_and_names_the_request_if_it_can(
    document: object, request_id: int | None
) -> None:
    """With an id the caller can be answered; without one the stream is over."""
    with pytest.raises(ProtocolError) as caught:
        decode_all(msgpack.packb(document), MAX_FEED)
    assert caught.value.request_id == request_id


def test_a_refused_shape_leaves_the_stream_in_step() -> None:
    """The request after a bad one is served."""
    decoder = Decoder()
    decoder.feed(msgpack.packb([0, 1, "m", 5]) + encode(Request(2, "ping")))
    with pytest.raises(ProtocolError):
        decoder.next()
    assert decoder.next() == Request(2, "ping")


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1",
        b"\xa1\xff",
        b"\xd4\x01\x00",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\x7f\xff\xff\xff",
        b"\x91" * 5000,
        b"\x81\x90\x01",
    ],
    ids=["reserved", "not-utf8", "extension", "huge-array", "huge-map", "huge-string", "nesting", "list-key"],
)
def test_hostile_bytes_end_the_stream_before_they_cost_memory(data: bytes) -> None:
    """Announced sizes are not believed, and what cannot be in step again is not answered."""
    with pytest.raises(ProtocolError) as caught:
        decode_all(data + b"\x00" * (MAX_FRAME + 1), MAX_FEED)
    assert caught.value.request_id is None


def test_a_frame_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    """The limit is on the whole frame."""
    empty = len(encode(Request(1, "m", {"x": "y" * 70_000}))) - 70_000
    fits = encode(Request(1, "m", {"x": "y" * (MAX_FRAME - empty)}))
    assert len(fits) == MAX_FRAME
    assert len(decode_all(fits, MAX_FEED)) == 1
    with pytest.raises(ProtocolError):
        encode(Request(1, "m", {"x": "y" * (MAX_FRAME - empty + 1)}))
    larger = msgpack.packb([0, 1, "m", [{"x": "y" * (MAX_FRAME - empty + 1)}]])
    with pytest.raises(ProtocolError, match="over the limit"):
        decode_all(larger, MAX_FEED)


def test_feeding_without_taking_is_refused_and_does_not_grow() -> None:
    """A forgotten pause must not become a full memory."""
    decoder = Decoder()
    with pytest.raises(ProtocolError):
        for _ in range(10):
            decoder.feed(b"\x00" * MAX_FEED)


def test_values_are_bounded_in_depth_and_number() -> None:
    """A million empty lists fit into a frame and would take 60 times its size."""
    deep: object = 1
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    wide = [[[]] * 1000] * (MAX_ITEMS // 1000 + 1)
    for value in (deep, wide):
        with pytest.raises(ProtocolError) as caught:
            decode_all(msgpack.packb([0, 3, "m", [{"x": value}]]), MAX_FEED)
        assert caught.value.request_id == 3


@pytest.mark.parametrize("result", [object(), 2**70, {"x": {1, 2}}, "\ud800"])
def test_what_cannot_be_sent_is_a_protocol_error(result: object) -> None:
    """A handler's mistake is found before anything is written."""
    with pytest.raises(ProtocolError):
        encode(Response(1, None, result))


def test_undecoded_bytes_are_handed_out_exactly() -> None:
    """An upgraded connection starts with what was read too far."""
    decoder = Decoder()
    decoder.feed(encode(Request(1, "mcp.open")) + b'{"jsonrpc"')
    assert decoder.next() == Request(1, "mcp.open")
    assert decoder.leftover() == b'{"jsonrpc"'
    assert decoder.waiting == 0


def test_the_wire_form_is_the_specification() -> None:
    """Any MessagePack-RPC client must be able to call."""
    assert encode(Response(1, None, True)) == b"\x94\x01\x01\xc0\xc3"
    assert encode(Notification("e", {})) == b"\x93\x02\xa1e\x91\x80"
    assert encode(Request(300, "p", {})) == b"\x94\x00\xcd" + struct.pack(">H", 300) + b"\xa1p\x91\x80"
