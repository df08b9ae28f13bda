"""The breakers of creates: one per CRN, and one for all. They gate creates only (rules.md 5)."""

from collections import OrderedDict

from ..domain.breaker import ALL_CRNS, ALL_FAILURES, CRN_FAILURES, WINDOW, Breaker, Failure
from ..domain.clock import Clock, iso, span
from ..domain.errors import Unavailable
from ..domain.model import Crn, Vm

_MOST_CRNS = 1000
_WHY_CHARS = 200
_SHOWN = 3


class Breakers:
    """Kept in memory: a start of the daemon is a fresh chance."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._all = Breaker(ALL_FAILURES, ALL_CRNS)
        self._crns: OrderedDict[str, Breaker] = OrderedDict()

    # ------------------------------------------------------------------ what happened

    def began(self, crn_hash: str) -> None:
        """An attempt on this CRN was admitted."""
        now = self._clock.now()
        self._all.began(now)
        if crn_hash in self._crns:
            self._crns[crn_hash].began(now)

    def failed(self, vm: Vm, why: str) -> None:
        """It did not come to life, and its CRN is to blame."""
        failure = Failure(self._clock.now(), vm.crn_name or vm.crn_hash[:12], why[:_WHY_CHARS])
        self._all.failed(failure)
        self._crns.setdefault(vm.crn_hash, Breaker(CRN_FAILURES)).failed(failure)
        while len(self._crns) > _MOST_CRNS:
            self._crns.popitem(last=False)

    def succeeded(self, crn_hash: str) -> None:
        """A VM came to life there."""
        self._all.succeeded()
        self._crns.pop(crn_hash, None)

    # ------------------------------------------------------------------ what follows

    def avoided(self) -> frozenset[str]:
        """The CRNs on which nothing is to be tried now."""
        now = self._clock.now()
        return frozenset(crn for crn, breaker in self._crns.items() if breaker.open_until(now))

    def failures(self) -> dict[str, int]:
        """How often each CRN failed lately; none of them for those where nothing did."""
        since = self._clock.now() - WINDOW
        counts = {crn: sum(one.at > since for one in kept.seen) for crn, kept in self._crns.items()}
        return {crn: count for crn, count in counts.items() if count}

    def check(self) -> None:
        """Raises Unavailable while no create is to be tried anywhere."""
        self._refuse(self._all, "Creates are paused")

    def check_crn(self, crn: Crn) -> None:
        """Raises Unavailable while none is to be tried on this CRN."""
        if crn.hash in self._crns:
            self._refuse(
                self._crns[crn.hash], f"Creates on CRN {crn.name} are paused", " Or leave crn_hash out."
            )

    def _refuse(self, breaker: Breaker, what: str, more: str = "") -> None:
        now = self._clock.now()
        until = breaker.open_until(now)
        if until is None:
            return
        seen = [f"{one.at:%H:%M} UTC {one.place}: {one.why}" for one in breaker.seen]
        raise Unavailable(
            f"{what}: {len(seen)} failed in a row, the last ones: {'; '.join(seen[-_SHOWN:])}.",
            f"Try again after {until:%H:%M} UTC (in {span((until - now).total_seconds() + 1)}).{more}"
            " VMs that run are not touched.",
            code="breaker_open",
            data={"retry_at": iso(until), "seen": seen},
        )
