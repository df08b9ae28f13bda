"""`events.watch` on control.sock: from where it tells, and what it says of the newest event."""

from typing import Any

import pytest

from aleph_agentd.gateway.control_methods import Control
from support.world import World, until
from support.world_fixtures import machine, short_pauses, world

__all__ = ["machine", "short_pauses", "world"]


class Watcher:
    """A client that reads all it is told."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def watch(self) -> None:
        """It begins."""

    def on_close(self, callback: Any) -> None:
        """It never hangs up."""

    def notify(self, method: str, params: dict[str, Any]) -> bool:
        """Keep the number."""
        self.told.append(params["id"])
        return True


@pytest.mark.parametrize("params", [{}, {"after_id": 0}, {"after_id": 2}, {"after_id": 5000}])
async def test_a_watch_answers_with_the_newest_event_wherever_it_begins(
    world: World, params: dict[str, int]
) -> None:
    """By this a client sees that the inventory is not the one it knew: in a new one, numbers begin again."""
    await world.create(name="box")
    newest = await world.inventory.last_event_id()
    assert newest > 2
    control = Control(world.services, world.clock.now(), lambda: 1, None)  # type: ignore[arg-type]
    watcher: Any = Watcher()
    answer = await control.watch(watcher, params)
    assert answer["last_id"] == newest
    expected = list(range(params.get("after_id", newest) + 1, newest + 1))
    await until(lambda: len(watcher.told) >= len(expected))
    assert watcher.told == expected
