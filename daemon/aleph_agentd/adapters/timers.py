"""Alarms by APScheduler: the only importer of it. They may be lost without harm: the inventory is the truth."""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

log = logging.getLogger(__name__)

# Its default grace drops a date job that is one second late; ours must run however late they are.
_DEFAULTS = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}


class SchedulerTimers:
    """The Timers port over one AsyncIOScheduler with a memory job store."""

    def __init__(self) -> None:
        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults=_DEFAULTS)
        self._scheduler.add_listener(self._failed, EVENT_JOB_ERROR)
        self._set: dict[str, datetime] = {}

    def every(self, name: str, seconds: float, run: Callable[[], Awaitable[None]]) -> None:
        """See ports.Timers."""
        self._scheduler.add_job(
            run, IntervalTrigger(seconds=max(1, int(seconds)), timezone=UTC), id=name, replace_existing=True
        )

    def at(self, name: str, when: datetime | None, run: Callable[[], Awaitable[None]]) -> None:
        """See ports.Timers."""
        if when is None:
            self._set.pop(name, None)
            try:
                self._scheduler.remove_job(name)
            except JobLookupError:
                return
        elif self._set.get(name) != when or self._scheduler.get_job(name) is None:
            self._set[name] = when
            self._scheduler.add_job(run, DateTrigger(when, timezone=UTC), id=name, replace_existing=True)

    def start(self) -> None:
        """See ports.Timers."""
        self._scheduler.start()

    def stop(self) -> None:
        """See ports.Timers."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    @staticmethod
    def _failed(event: JobExecutionEvent) -> None:
        error: Any = event.exception
        log.error("the job %r failed and will run again at its next time", event.job_id, exc_info=error)
