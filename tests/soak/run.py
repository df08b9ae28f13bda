"""`make soak SEED=1`: simulated weeks of leases and troubles; devnet tells what became of every VM.

    python tests/soak/run.py [--seed N] [--days D] [--per-day N] [--only daemon|naive] [--schedule] [--json]

Exits with 1 if the daemon lost a VM, made one twice, was charged without a row, or was late without excuse.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":  # pytest's configuration does this for tests
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from soak import schedule
from soak.virtual_time import VirtualTime

START = 1_798_761_600.0
"""New Year 2027: any date that is later than what the code takes for a clock without battery."""


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Simulated weeks of leases and troubles.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--per-day", type=float, default=220.0, help="leases asked for per day")
    parser.add_argument("--only", choices=("daemon", "naive"), help="one design alone")
    parser.add_argument("--schedule", action="store_true", help="only print the whole schedule, as JSON")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object")
    parser.add_argument("--log", action="store_true", help="the daemon's log on standard error")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run, print, judge."""
    asked = arguments(given)
    plan = schedule.make(asked.seed, asked.days, asked.per_day)
    if asked.schedule:
        print(json.dumps(schedule.as_json(plan)))
        return 0
    clock = VirtualTime(START)
    # Only now: what is imported keeps references to the clocks.
    from soak import whole

    return whole.run(plan, clock, asked)


if __name__ == "__main__":
    sys.exit(main())
