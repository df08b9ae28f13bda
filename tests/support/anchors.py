"""Anchors of the audit log, in memory."""

from datetime import datetime

from aleph_agentd.domain.audit import Link


class MemoryAnchors:
    """The `Anchors` port; `trouble` is what every call raises."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.trouble: OSError | None = None

    async def add(self, link: Link, at: datetime) -> None:
        """Keep it."""
        if self.trouble:
            raise self.trouble
        self.links.append(link)

    async def all(self) -> list[Link]:
        """All of them."""
        if self.trouble:
            raise self.trouble
        return list(self.links)
