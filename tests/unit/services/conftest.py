"""The world that these tests live in."""

from support.world_fixtures import machine, short_pauses, world

__all__ = ["machine", "short_pauses", "world"]
