"""Whether a system installation's code is root's alone: who may change what the daemon runs, has its key."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from aleph_agentd.control import units
from aleph_agentd.domain.errors import Refusal

HOME = Path("/opt/aleph-agentd")
"""Where README puts an environment for it."""
MAKE = (
    f"sudo python3 -m venv {HOME}"
    f" && sudo {HOME}/bin/pip install -c constraints.txt ."
    f" && sudo {HOME}/bin/aleph-agentctl install --system"
)
"""From the sources, as README tells."""
_OTHERS_WRITE = 0o022


def require_closed() -> None:
    """Raises Refusal where any account but root could change our code, with the commands that install a closed one."""
    ours = [Path(sys.executable), Path(__file__).parents[1], Path(os.__file__).parent]
    if found := open_to_others([*units.code_of_this_process(), *ours]):
        why = "an agent's account could change what the daemon runs, and so take its key; not root's alone: "
        raise Refusal(why + ", ".join(map(str, found)), MAKE, code="open_to_others")


def open_to_others(paths: Iterable[Path]) -> list[Path]:
    """Of these, of what they link to and of all folders above: what others than root own or may write, sorted."""
    seen: set[Path] = set()
    for path in paths:
        _see(path, seen)
    return sorted(path for path in seen if _is_open(path))


def _see(path: Path, seen: set[Path]) -> None:
    for step in (path, *path.parents):
        if step in seen:
            continue
        seen.add(step)
        for target in _target(step):
            _see(target, seen)


def _target(path: Path) -> Iterator[Path]:
    # Each link of a chain: who may change one in the middle decides where it ends.
    try:
        yield path.parent / path.readlink()
    except OSError:
        return


def _is_open(path: Path) -> bool:
    try:
        found = path.stat()
    except OSError:
        # What is not there, or not shown, nobody vouches for.
        return True
    return found.st_uid != 0 or bool(found.st_mode & _OTHERS_WRITE)
