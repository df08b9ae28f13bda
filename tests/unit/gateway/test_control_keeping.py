"""Copies of the inventory over the control socket: each lives as long as its connection."""

import tempfile
from collections.abc import Callable
from typing import Any, BinaryIO, cast

import pytest

from aleph_agentd.domain.errors import BadInput, Conflict, Unavailable
from aleph_agentd.gateway.control_keeping import Keeping
from aleph_agentd.gateway.rpc.connection import Connection
from aleph_agentd.ports import StoreFull

CONTENT = bytes(range(256)) * 4096


class Caller:
    """A connection, as far as copies need one."""

    def __init__(self) -> None:
        self.ends: list[Callable[[], None]] = []

    def on_close(self, callback: Callable[[], None]) -> None:
        """Remember what is to happen at the end."""
        self.ends.append(callback)

    def close(self) -> None:
        """The end."""
        for callback in self.ends:
            callback()


class Copies:
    """Makes copies, and remembers them."""

    def __init__(self) -> None:
        self.made: list[BinaryIO] = []

    async def open(self) -> BinaryIO:
        """A copy without a name."""
        copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - whoever fetches it closes it
        copy.write(CONTENT)
        copy.flush()
        self.made.append(copy)
        return copy


@pytest.fixture
def copies() -> Copies:
    """Where copies come from."""
    return Copies()


@pytest.fixture
def keeping(copies: Copies) -> Keeping:
    """The handlers; nobody asks for kill switches here."""
    return Keeping(cast(Any, None), copies)


def caller() -> tuple[Caller, Connection]:
    """Somebody on the control socket."""
    one = Caller()
    return one, cast(Connection, one)


async def test_a_copy_is_fetched_in_pieces_and_goes_with_its_connection(
    keeping: Keeping, copies: Copies
) -> None:
    """rules.md 25: To the last byte; after the end of the file there is nothing."""
    one, connection = caller()
    size = (await keeping.begin(connection, {}))["size"]
    pieces: list[bytes] = []
    while sum(map(len, pieces)) < size:
        pieces.append((await keeping.read(connection, {"offset": sum(map(len, pieces))}))["data"])
    assert len(pieces) > 1
    assert b"".join(pieces) == CONTENT
    assert (await keeping.read(connection, {"offset": size}))["data"] == b""
    one.close()
    assert copies.made[0].closed
    with pytest.raises(BadInput):
        await keeping.read(connection, {"offset": 0})


async def test_a_connection_has_one_copy_and_all_of_them_have_two(keeping: Keeping, copies: Copies) -> None:
    """Copies are as large as the inventory: nobody fills the disk with them."""
    one, first = caller()
    two, second = caller()
    _, third = caller()
    await keeping.begin(first, {})
    await keeping.begin(first, {})
    assert [copy.closed for copy in copies.made] == [True, False]
    await keeping.begin(second, {})
    with pytest.raises(Conflict):
        await keeping.begin(third, {})
    one.close()
    await keeping.begin(third, {})
    two.close()
    copies.made[-1].close()


@pytest.mark.parametrize("offset", [-1, True, None, "0", 2**70, 1.5])
async def test_a_position_that_is_none_is_refused(keeping: Keeping, copies: Copies, offset: object) -> None:
    """In words."""
    one, connection = caller()
    await keeping.begin(connection, {})
    with pytest.raises(BadInput, match="offset"):
        await keeping.read(connection, {"offset": offset})
    one.close()


async def test_reading_without_a_copy_says_what_to_call_first(keeping: Keeping) -> None:
    """Also before the first one."""
    with pytest.raises(BadInput) as refused:
        await keeping.read(caller()[1], {"offset": 0})
    assert "backup.begin" in refused.value.hint


async def test_a_copy_that_finds_no_room_is_refused_in_words(
    keeping: Keeping, copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And holds no place among the copies."""

    async def full() -> BinaryIO:
        raise StoreFull("no room on the disk")

    one, connection = caller()
    with monkeypatch.context() as patch:
        patch.setattr(copies, "open", full)
        for _ in range(3):
            with pytest.raises(Unavailable, match="no room"):
                await keeping.begin(connection, {})
    assert (await keeping.begin(connection, {}))["size"] == len(CONTENT)
    one.close()
