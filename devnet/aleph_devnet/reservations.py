"""GPUs that a CRN keeps for somebody, for a minute: for whoever signed, and not for the payer that was named."""

from collections.abc import Callable
from dataclasses import dataclass

RESERVED_S = 60.0


@dataclass(frozen=True)
class _Kept:
    device_id: str
    user: str
    until: float


class Reservations:
    """Of one CRN, in memory: they are gone with its process."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._kept: list[_Kept] = []

    def reserve(self, user: str, device_ids: list[str]) -> float:
        """Keep these for a user, instead of what is kept for it of the same kind; until when."""
        self.release(user, device_ids)
        until = self._now() + RESERVED_S
        self._kept += [_Kept(device_id, user, until) for device_id in device_ids]
        return until

    def release(self, user: str, device_ids: list[str]) -> None:
        """It has them now."""
        self._kept = [kept for kept in self._valid() if kept.user != user or kept.device_id not in device_ids]

    def of_others(self, user: str) -> list[str]:
        """The devices that this user does not get."""
        return [kept.device_id for kept in self._valid() if kept.user != user]

    def _valid(self) -> list[_Kept]:
        return [kept for kept in self._kept if kept.until > self._now()]
