"""Alarms by APScheduler: the only importer of it. They may be lost without harm: the inventory is the truth."""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from ..domain.acting import BY_ITSELF, on_behalf_of

log = logging.getLogger(__name__)

Run = Callable[[], Awaitable[None]]

# Its default grace drops a date job that is one second late; ours must run however late they are.
_DEFAULTS = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}


class SchedulerTimers:
    """The Timers port over one AsyncIOScheduler with a memory job store.

    It goes by the wall clock. `lead` says how far that is ahead of the time that our instants are in.
    """

    def __init__(self, lead: Callable[[], timedelta] = timedelta) -> None:
        self._lead = lead
        self._intervals: dict[str, tuple[float, Run]] = {}
        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults=_DEFAULTS)
        self._scheduler.add_listener(self._failed, EVENT_JOB_ERROR)
        self._set: dict[str, tuple[datetime, Run]] = {}
        self._started = False

    def every(self, name: str, seconds: float, run: Run) -> None:
        """See ports.Timers."""
        self._intervals[name] = (seconds, run)
        self._scheduler.add_job(
            _by_itself(run),
            IntervalTrigger(seconds=max(1, int(seconds)), timezone=UTC),
            id=name,
            replace_existing=True,
        )

    def at(self, name: str, when: datetime | None, run: Run) -> None:
        """See ports.Timers."""
        if when is None:
            self._set.pop(name, None)
            try:
                self._scheduler.remove_job(name)
            except JobLookupError:
                return
        elif self._set.get(name) != (when, run) or self._scheduler.get_job(name) is None:
            self._set[name] = (when, run)
            trigger = DateTrigger(when + self._lead(), timezone=UTC)
            self._scheduler.add_job(_by_itself(run), trigger, id=name, replace_existing=True)

    def realign(self) -> None:
        """See ports.Timers. The scheduler keeps wall-clock times: one that was set back would stop them all."""
        for name, (seconds, run) in self._intervals.items():
            self.every(name, seconds, run)
        for name, (when, run) in list(self._set.items()):
            if self._scheduler.get_job(name) is not None:
                del self._set[name]
                self.at(name, when, run)

    def start(self) -> None:
        """See ports.Timers."""
        self._scheduler.start()
        self._started = True

    def stop(self) -> None:
        """See ports.Timers. The scheduler itself calls itself running until the loop's next turn."""
        if self._started:
            self._started = False
            self._scheduler.shutdown(wait=False)

    @staticmethod
    def _failed(event: JobExecutionEvent) -> None:
        error: Any = event.exception
        log.error("the job %r failed and will run again at its next time", event.job_id, exc_info=error)


def _by_itself(run: Run) -> Run:
    """Whoever set an alarm, and so woke the scheduler: what an alarm does is the daemon's own doing."""

    async def alone() -> None:
        with on_behalf_of(BY_ITSELF):
            await run()

    return alone
