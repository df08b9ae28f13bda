"""The machine's time, as far as it can be trusted."""

from datetime import datetime
from typing import Protocol

from ..domain.timeline import Doubt


class MachineClock(Protocol):
    """A `domain.clock.Clock` that never goes back, and that says when the wall clock is not to be believed."""

    def now(self) -> datetime:
        """The current instant; while there is a doubt, what is sure."""
        ...

    @property
    def doubt(self) -> Doubt | None:
        """What the wall clock says and is not believed yet."""
        ...

    def settle(self, network: datetime | None) -> bool:
        """Weigh the network's time, or that it could not be had; True: the doubt is over."""
        ...

    def asleep_s(self) -> float:
        """For how long the machine was suspended since its boot."""
        ...

    def wall_offset_s(self) -> float:
        """The wall clock less the uptime: it changes when somebody sets the wall clock."""
        ...

    async def save(self) -> None:
        """Write down what time it is, for the next start; at most once a minute."""
        ...
