"""Counts what happens in this life of the daemon: calls of clients, calls to the network, what failed.

Labels are words of our own code (a method's, a tool's, a port's): never what a caller or a node sent.
"""

import inspect
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Self, TypeVar, cast

from ..domain.metrics import Family, Sample, Timings, by_label
from ..ports import NetworkTrouble

Port = TypeVar("Port")


class Meters:
    """The counters, until the daemon ends."""

    def __init__(self) -> None:
        self._rpc: defaultdict[tuple[str, str], Timings] = defaultdict(Timings)
        self._refused: Counter[tuple[str, str]] = Counter()
        self._asked: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()

    def answered(self, method: str, tool: str, seconds: float, *, refused: bool) -> None:
        """A call of a client has its answer; both words are names that we serve."""
        self._rpc[method, tool].add(seconds)
        self._refused[method, tool] += refused

    def asked(self, endpoint: str) -> None:
        """A call to the network begins."""
        self._asked[endpoint] += 1

    def failed(self, endpoint: str) -> None:
        """It failed, or its outcome is not known."""
        self._failed[endpoint] += 1

    def families(self) -> Iterator[Family]:
        """What was counted."""
        rpc = [
            sample
            for (method, tool), timings in sorted(self._rpc.items())
            for sample in timings.samples((("method", method), ("tool", tool)))
        ]
        yield Family("rpc_seconds", "histogram", "How long a client waited for its answer.", tuple(rpc))
        refused = [
            Sample(count, (("method", method), ("tool", tool)))
            for (method, tool), count in sorted(self._refused.items())
        ]
        yield Family("rpc_refused_total", "counter", "Calls that were refused or failed.", tuple(refused))
        calls = dict(sorted(self._asked.items()))
        yield by_label("network_calls_total", "Calls to the network.", "endpoint", calls, "counter")
        errors = {endpoint: self._failed[endpoint] for endpoint in calls}
        yield by_label(
            "network_errors_total",
            "Calls to the network that failed, or whose outcome is not known.",
            "endpoint",
            errors,
            "counter",
        )


def metered(port: Port, name: str, meters: Meters) -> Port:
    """The same port; each of its calls is counted as `name.method`."""
    return cast(Port, _Metered(port, name, meters))


class _Metered:
    """Stands before a port. Its methods are made when they are first asked for."""

    def __init__(self, port: object, name: str, meters: Meters) -> None:
        self._port, self._name, self._meters = port, name, meters

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._port, attribute)
        if not inspect.iscoroutinefunction(found):
            return found
        counted = _counted(found, f"{self._name}.{attribute}", self._meters)
        self.__dict__[attribute] = counted
        return counted


def _counted(
    call: Callable[..., Awaitable[Any]], endpoint: str, meters: Meters
) -> Callable[..., Awaitable[Any]]:
    async def run(*arguments: Any, **named: Any) -> Any:
        meters.asked(endpoint)
        try:
            return await call(*arguments, **named)
        except NetworkTrouble:
            meters.failed(endpoint)
            raise

    return run


class Stopwatch:
    """`with` it, the meters learn how long it took and how it ended."""

    def __init__(self, meters: Meters, method: str, tool: str = "") -> None:
        self._meters, self._method, self._tool = meters, method, tool

    def __enter__(self) -> Self:
        self._began, self._runs = time.monotonic(), True
        return self

    def stop(self) -> None:
        """Tell nothing: somebody else measures what is to come."""
        self._runs = False

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._runs:
            took = time.monotonic() - self._began
            self._meters.answered(self._method, self._tool, took, refused=kind is not None)
