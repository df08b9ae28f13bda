"""`make mutants`: the test of the tests. Breaks the daemon in known ways and sees whether its promises notice.

    python tests/mutants/run.py [--only TEXT]… [--list]

Each mutant is made in a copy of the daemon, never in the tree, and lives through the fates of the suite.
Exits with 1 if one survives, or cannot be made because the code that it changes is another one now.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # pytest's configuration does this for tests
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from mutants.list import MUTANTS, Mutant

TESTS = Path(__file__).resolve().parents[1]
DAEMON = TESTS.parent / "daemon" / "aleph_agentd"
LIMIT_S = 600
UNCHANGED = Mutant("(none)", "the daemon as it is", "", "", "")


class Misfit(Exception):
    """A mutant that cannot be made any more."""


def make(mutant: Mutant, directory: Path) -> Path:
    """A copy of the daemon with this one change; where to import it from. Raises Misfit."""
    ignored = shutil.ignore_patterns("__pycache__")
    copy = shutil.copytree(DAEMON, directory / "aleph_agentd", ignore=ignored)
    if mutant is not UNCHANGED:
        path = copy / mutant.path
        text = path.read_text()
        if (count := text.count(mutant.old)) != 1:
            raise Misfit(f"{mutant.name}: what it changes is {count} times in {mutant.path}, not once")
        path.write_text(text.replace(mutant.old, mutant.new))
    return directory


def live(mutant: Mutant) -> dict[str, Any]:
    """Let it live through the fates; what became of it. Raises Misfit."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        path = os.pathsep.join([str(make(mutant, Path(directory))), str(TESTS)])
        done = subprocess.run(
            [sys.executable, "-m", "mutants.fates"],
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "MUTANT": directory},
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
    if done.returncode != 0:
        raise Misfit(f"{mutant.name}: it did not live at all: {done.stderr.strip()[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def tell(name: str, told: dict[str, Any]) -> None:
    """One line of the table."""
    verdict = f"fate {told['fates']:>2}" if told["broken"] else "SURVIVED"
    print(f"{name:<24} {verdict:<9} {told['seconds']:>5.0f} s  {told['broken'][:110]}", flush=True)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", action="append", default=[], help="mutants with this in their name")
    parser.add_argument("--list", action="store_true", help="say what there is")
    options = parser.parse_args()
    chosen = [one for one in MUTANTS if not options.only or any(part in one.name for part in options.only)]
    if options.list:
        print("\n".join(f"{one.name:<24} {one.why}" for one in chosen))
        return 0
    wrong = []
    print(f"{'mutant':<24} {'caught in':<9} {'after':>7}  by", flush=True)
    for mutant in (UNCHANGED, *chosen):
        try:
            told = live(mutant)
        except (Misfit, subprocess.TimeoutExpired) as why:
            wrong.append(str(why))
            print(f"{mutant.name:<24} {why}", flush=True)
            continue
        tell(mutant.name, told)
        if bool(told["broken"]) == (mutant is UNCHANGED):
            wrong.append(mutant.name)
    print(f"{len(chosen)} mutants; wrong: {', '.join(wrong) or 'none'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
