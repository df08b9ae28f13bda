"""The policy in force: read again when the owner says so, and kept when what is written cannot be read."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ..domain.clock import Clock, iso
from ..domain.limits import Limits
from ..ports import Inventory, StoreTrouble
from .treasury import Treasury

log = logging.getLogger(__name__)


class Rulebook:
    """Replaces the limits as a whole, or not at all, and says which ones hold.

    `load` returns the limits as they are written now, or why they cannot be read.
    """

    def __init__(
        self, inventory: Inventory, clock: Clock, treasury: Treasury, load: Callable[[], Limits | str]
    ) -> None:
        self._inventory, self._clock, self._treasury, self._load = inventory, clock, treasury, load
        self._since: datetime = clock.now()
        self.trouble = ""
        """Why the last reload failed; empty when it did not."""

    async def reload(self) -> bool:
        """Read the policy again; False when the old one stays."""
        read = self._load()
        if isinstance(read, str):
            self.trouble = read
            log.error("the policy stays as it was: %s", read)
            await self._tell(f"the policy stays as it was ({self._treasury.limits.version}): {read}")
            return False
        before, self._treasury.limits = self._treasury.limits.version, read
        self.trouble, self._since = "", self._clock.now()
        log.info("policy reloaded: %s", read.version)
        changed = "is the same as before" if before == read.version else f"{before} became {read.version}"
        await self._tell(f"the policy was read again and {changed}")
        return True

    async def _tell(self, text: str) -> None:
        try:
            await self._inventory.record("policy", "", text, self._clock.now())
        except StoreTrouble as trouble:
            log.warning("this event was not kept: %s (%s)", text, trouble)

    def alerts(self) -> list[str]:
        """That the policy in force is not the one that is written."""
        if not self.trouble:
            return []
        return [
            f"The policy could not be read again, and the old one stays in force: {self.trouble}."
            " The owner corrects it, then: systemctl --user reload aleph-agentd"
        ]

    def figures(self) -> dict[str, Any]:
        """Which limits hold, and since when."""
        limits = self._treasury.limits
        return {
            "version": limits.version,
            "since": iso(self._since),
            "trouble": self.trouble,
            "projects": sorted(limits.projects),
        }
