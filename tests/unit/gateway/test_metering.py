"""Who waits for which answer, and for how long."""

import asyncio
from typing import Any

import pytest

from aleph_agentd.domain.caller import Caller, Peer
from aleph_agentd.domain.errors import Denied
from aleph_agentd.gateway.metering import TimedToolbox, timed
from aleph_agentd.services.meters import Meters

NOBODY: Any = None


class Box:
    """A toolbox of one tool."""

    instructions = "none"

    def listing(self) -> list[dict[str, Any]]:
        """The tool."""
        return [{"name": "aleph_freeze"}]

    async def call(self, name: str, _arguments: object, **_: Any) -> dict[str, Any]:
        """Refuse or answer."""
        if name == "aleph_freeze":
            return {"ok": True}
        raise Denied("there is no such tool")


def _counts(meters: Meters) -> dict[tuple[str, str], float]:
    [family] = [family for family in meters.families() if family.name == "rpc_seconds"]
    return {
        (sample.labels[0][1], sample.labels[1][1]): sample.value
        for sample in family.samples
        if sample.suffix == "_count"
    }


async def test_every_method_is_counted_once_whether_it_waits_or_not() -> None:
    """A plain one answers within its turn of the loop, as before."""

    async def slow(_connection: object, _params: object) -> str:
        await asyncio.sleep(0)
        return "slow"

    meters = Meters()
    handlers = timed({"hello": lambda _connection, _params: "hi", "status": slow}, meters)
    assert handlers["hello"](NOBODY, {}) == "hi"
    assert await handlers["status"](NOBODY, {}) == "slow"  # type: ignore[misc]
    assert _counts(meters) == {("hello", ""): 1, ("status", ""): 1}


async def test_tools_are_counted_by_name_and_names_of_others_as_other() -> None:
    """A client that makes up names makes no series."""
    meters, caller = Meters(), Caller("s", Peer(1, 2))
    box = TimedToolbox(Box(), meters)
    assert await box.call("aleph_freeze", {}, caller=caller, request_key=None, progress=None)
    for name in ("x\n", "y"):
        with pytest.raises(Denied):
            await box.call(name, {}, caller=caller, request_key=None, progress=None)
    assert _counts(meters) == {("tools.call", "aleph_freeze"): 1, ("tools.call", "other"): 2}


def test_what_takes_a_connection_over_is_left_alone() -> None:
    """Its handler is no coroutine, and its session lasts for days."""
    opener = object()
    assert timed({"mcp.open": opener}, Meters())["mcp.open"] is opener  # type: ignore[dict-item]
