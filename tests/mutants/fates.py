"""One life of a mutant under the suite's fates: prints what it broke, in which fate, and after how long."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

import aleph_agentd
from support.estate import Estate
from support.fates import FATES, Fates


class Watch:
    """Counts estates until the first one breaks a promise."""

    def __init__(self) -> None:
        self.fates, self.broken = 0, ""
        self.began = time.monotonic()
        self.seconds = 0.0

    def opens(self, *_: Any) -> None:
        """Another fate begins."""
        if not self.broken:
            self.fates += 1

    def breaks(self, why: str) -> None:
        """The first one counts; the others repeat it."""
        if not self.broken:
            self.broken, self.seconds = why, time.monotonic() - self.began


def after(method: Callable[..., Any], look: Callable[..., None]) -> Callable[..., Any]:
    """The same method, looked at afterwards."""

    def run(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        look(*args)
        return result

    return run


def main() -> int:
    """The exit status: 0 whether it breaks a promise or not."""
    if not str(aleph_agentd.__file__).startswith(os.environ["MUTANT"]):
        print("this is not the mutant", file=sys.stderr)
        return 1
    logging.disable()
    watch = Watch()
    Estate.__init__ = after(Estate.__init__, watch.opens)  # type: ignore[method-assign]
    with redirect_stdout(sys.stderr):
        try:
            run_state_machine_as_test(Fates, settings=settings(FATES, phases=[Phase.generate]))
        except Exception as error:  # noqa: BLE001 - whatever it is, the fates have noticed
            watch.breaks(str(error) or repr(error))
    # Hypothesis has shown the failing fate once more.
    print(
        json.dumps(
            {
                "fates": watch.fates - bool(watch.broken),
                "broken": watch.broken,
                "seconds": watch.seconds or time.monotonic() - watch.began,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
