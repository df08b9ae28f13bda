"""The one MessagePack-RPC request that a shim makes, and its answer; no msgpack package on the hot path."""

MAX_ANSWER = 64 * 1024
MAX_DEPTH = 16


class Truncated(Exception):
    """More bytes are needed."""


def pack(value: object) -> bytes:
    """Encode nil, booleans, unsigned integers, strings, lists and maps."""
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return bytes([value]) if value < 128 else b"\xcf" + value.to_bytes(8, "big")
    if isinstance(value, str):
        data = value.encode("utf-8", "replace")
        return b"\xdb" + len(data).to_bytes(4, "big") + data
    if isinstance(value, list):
        return b"\xdd" + len(value).to_bytes(4, "big") + b"".join(map(pack, value))
    if isinstance(value, dict):
        pairs = b"".join(pack(key) + pack(item) for key, item in value.items())
        return b"\xdf" + len(value).to_bytes(4, "big") + pairs
    raise TypeError(type(value))


def unpack(data: bytes, at: int = 0, depth: int = 0) -> tuple[object, int]:
    """Decode one value; returns it and where it ends. Raises Truncated, or ValueError for what is malformed."""
    tag = _take(data, at, 1)[0]
    at += 1
    if tag < 0x80 or tag >= 0xE0:
        return tag if tag < 0x80 else tag - 256, at
    if tag in _FIXED:
        return _FIXED[tag], at
    if tag in _INTEGERS:
        size, signed = _INTEGERS[tag]
        return int.from_bytes(_take(data, at, size), "big", signed=signed), at + size
    kind, count, at = _length(data, tag, at)
    if kind == "str":
        return _take(data, at, count).decode("utf-8", "replace"), at + count
    return _unpack_items(data, at, depth + 1, kind, count)


_FIXED = {0xC0: None, 0xC2: False, 0xC3: True}
_INTEGERS = {0xCC + n: (1 << n, False) for n in range(4)} | {0xD0 + n: (1 << n, True) for n in range(4)}
_SIZES = {0xD9: ("str", 1), 0xDA: ("str", 2), 0xDB: ("str", 4), 0xC4: ("str", 1), 0xC5: ("str", 2)}
_SIZES |= {0xDC: ("list", 2), 0xDD: ("list", 4), 0xDE: ("map", 2), 0xDF: ("map", 4)}


def _length(data: bytes, tag: int, at: int) -> tuple[str, int, int]:
    if tag < 0xC0:
        kind = "map" if tag < 0x90 else "list" if tag < 0xA0 else "str"
        return kind, tag & (0x1F if kind == "str" else 0x0F), at
    if tag not in _SIZES:
        raise ValueError(f"unexpected MessagePack type {tag:#x}")
    kind, size = _SIZES[tag]
    return kind, int.from_bytes(_take(data, at, size), "big"), at + size


def _unpack_items(data: bytes, at: int, depth: int, kind: str, count: int) -> tuple[object, int]:
    if count > MAX_ANSWER or depth > MAX_DEPTH:
        raise ValueError("MessagePack answer too large")
    items: list[object] = []
    for _ in range(count * (2 if kind == "map" else 1)):
        item, at = unpack(data, at, depth)
        items.append(item)
    if kind == "list":
        return items, at
    return {str(key): item for key, item in zip(items[::2], items[1::2], strict=True)}, at


def _take(data: bytes, at: int, count: int) -> bytes:
    if count > MAX_ANSWER:
        raise ValueError("MessagePack answer too large")
    if at + count > len(data):
        raise Truncated
    return data[at : at + count]
