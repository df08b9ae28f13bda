"""How many calls of one process run at a time."""

import asyncio

import pytest

from aleph_agentd.domain.caller import Caller, Peer
from aleph_agentd.domain.errors import Denied, Unavailable
from aleph_agentd.gateway import bounded
from aleph_agentd.gateway.bounded import BoundedToolbox

from .mcp_fixtures import FakeToolbox


def caller(pid: int, session: str = "one", *, human: bool = False) -> Caller:
    """A session of a process."""
    return Caller(session=session, peer=Peer(uid=1000, pid=pid, human=human))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two are enough to see it."""
    monkeypatch.setattr(bounded, "MAX_CALLS_PER_PROCESS", 2)


async def test_a_process_with_too_many_calls_is_refused_and_nobody_else_is() -> None:
    """Whatever its sessions are called; and once one has ended, there is room again."""
    inner = FakeToolbox()
    toolbox = BoundedToolbox(inner)

    async def call(who: Caller, name: str = "wait") -> object:
        return await toolbox.call(name, {}, caller=who, request_key=None, progress=None)

    waiting = [asyncio.create_task(call(caller(7, session))) for session in ("one", "two")]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="process 7") as refused:
        await call(caller(7, "three"), "echo")
    assert refused.value.code == "too_many_calls"
    assert await call(caller(8), "echo")
    assert await call(caller(7, human=True), "echo")
    inner.gate.set()
    await asyncio.gather(*waiting)
    for _ in range(5):
        with pytest.raises(Denied):
            await call(caller(7), "deny")
    assert await call(caller(7), "echo")
    assert not toolbox._running


def test_what_it_offers_is_the_toolbox_s() -> None:
    """Nothing more, nothing less."""
    inner = FakeToolbox()
    toolbox = BoundedToolbox(inner)
    assert (toolbox.listing(), toolbox.instructions) == (inner.listing(), inner.instructions)
