"""MessagePack-RPC as bytes and as messages, without I/O: what is read here came from anybody.

`[0, id, method, [params]]` asks, `[1, id, error|nil, result]` answers, `[2, method, [params]]` tells.
`params` is one map, and may be left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgpack

MAX_FRAME = 1024 * 1024
MAX_FEED = 256 * 1024
"""The most that one `Decoder.feed` takes; asyncio never reads more at once."""
MAX_ITEMS = 10_000
"""Entries of one array or map, and values in a whole message: a byte on the wire can cost 60 in memory."""
MAX_DEPTH = 32
MAX_ID = 2**32 - 1
MAX_METHOD_LENGTH = 64

Params = dict[str, Any]


class ProtocolError(Exception):
    """Bytes that are no message of ours.

    With a `request_id` the stream is still in step and that request can be answered;
    without one nothing after these bytes can be trusted.
    """

    def __init__(self, message: str, request_id: int | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class Request:
    """A call that wants an answer."""

    id: int
    method: str
    params: Params = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a request: `error` is None exactly if it succeeded."""

    id: int
    error: Any = None
    result: Any = None


@dataclass(frozen=True, slots=True)
class Notification:
    """A word that wants no answer."""

    method: str
    params: Params = field(default_factory=dict)


Message = Request | Response | Notification


def encode(message: Message) -> bytes:
    """The wire form; ProtocolError if it cannot be sent (a type of ours in a result, or too large)."""
    match message:
        case Response(id=id_, error=error, result=result):
            document: list[object] = [1, id_, error, result]
        case Request(id=id_, method=method, params=params):
            document = [0, id_, method, [params]]
        case Notification(method=method, params=params):
            document = [2, method, [params]]
    try:
        frame: bytes = msgpack.packb(document)
    except (TypeError, ValueError, OverflowError, RecursionError) as problem:
        raise ProtocolError(f"this cannot be sent: {problem}") from problem
    if len(frame) > MAX_FRAME:
        raise ProtocolError(f"a frame of {len(frame)} bytes is over the limit of {MAX_FRAME}")
    return frame


class Decoder:
    """Bytes in, messages out, one at a time, with every size bounded.

    Feed at most MAX_FEED bytes, then take messages until there are none, then feed again.
    """

    def __init__(self) -> None:
        self._unpacker = msgpack.Unpacker(
            raw=False,
            strict_map_key=True,
            ext_hook=_refuse_extension,
            # What waits is one unfinished frame and what was fed after it.
            max_buffer_size=MAX_FRAME + MAX_FEED,
            read_size=16 * 1024,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
        )
        self._fed = 0
        self._frame_start = 0
        self.size = 0
        """Bytes of the last message that was taken."""

    def feed(self, data: bytes) -> None:
        """Take bytes from the wire."""
        try:
            self._unpacker.feed(data)
        except msgpack.BufferFull:
            raise ProtocolError(f"a frame is over the limit of {MAX_FRAME} bytes") from None
        self._fed += len(data)

    def next(self) -> Message | None:
        """The next whole message, or None until more is fed."""
        try:
            document = self._unpacker.unpack()
        except msgpack.OutOfData:
            if self._fed - self._frame_start > MAX_FRAME:
                raise ProtocolError(f"a frame is over the limit of {MAX_FRAME} bytes") from None
            return None
        except (ValueError, TypeError) as problem:
            raise ProtocolError(f"this is not MessagePack as we take it: {problem or 'malformed'}") from None
        end = self._unpacker.tell()
        self.size, self._frame_start = end - self._frame_start, end
        if self.size > MAX_FRAME:
            raise ProtocolError(f"a frame of {self.size} bytes is over the limit of {MAX_FRAME}")
        return as_message(document)

    def __iter__(self) -> Iterator[Message]:
        while (message := self.next()) is not None:
            yield message

    @property
    def waiting(self) -> int:
        """Bytes that were fed and are not part of a message that was taken."""
        return self._fed - self._frame_start

    def leftover(self) -> bytes:
        """Hand out what was not decoded; the stream is something else from here on."""
        rest: bytes = self._unpacker.read_bytes(self.waiting)
        self._frame_start += len(rest)
        return rest


def as_message(document: object) -> Message:
    """Check the shape of one decoded document; ProtocolError says what is wrong with it."""
    match document:
        case [0, int(id_), method, params] if type(id_) is int and 0 <= id_ <= MAX_ID:
            return Request(id_, _checked_method(method, id_), _checked_params(params, id_))
        case [1, int(id_), error, result] if type(id_) is int and 0 <= id_ <= MAX_ID:
            return Response(id_, error, result)
        case [2, method, params]:
            return Notification(_checked_method(method, None), _checked_params(params, None))
    raise ProtocolError(
        "messages are [0, id, method, [params]], [1, id, error, result], [2, method, [params]]"
    )


def _checked_method(method: object, request_id: int | None) -> str:
    if not isinstance(method, str) or not 0 < len(method) <= MAX_METHOD_LENGTH:
        raise ProtocolError(f"a method is a string of 1 to {MAX_METHOD_LENGTH} characters", request_id)
    return method


def _checked_params(params: object, request_id: int | None) -> Params:
    match params:
        case []:
            return {}
        case [dict(only)]:
            if only:
                _check_shape(only, request_id)
            return only
    raise ProtocolError("params is a list with one map, or an empty list", request_id)


def _check_shape(root: Params, request_id: int | None) -> None:
    """Bound what msgpack cannot: the depth, the number of values in all, and keys that are not text."""
    values, level = 0, [root]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for container in level:
            if isinstance(container, dict):
                if not all(type(key) is str for key in container):
                    raise ProtocolError("keys of maps are strings", request_id)
                children = container.values()
            else:
                children = container
            values += len(children)
            if values > MAX_ITEMS:
                raise ProtocolError(f"more than {MAX_ITEMS} values in one message", request_id)
            below.extend(child for child in children if isinstance(child, dict | list))
        if not below:
            return
        level = below
    raise ProtocolError(f"values are nested more than {MAX_DEPTH} deep", request_id)


def _refuse_extension(code: int, _data: bytes) -> Any:
    raise ValueError(f"extension type {code} is not taken")
