"""Files that are taken out of a VM before its lease ends: which, what is sent to its shell, how its answer is read. Pure."""

import re
import shlex
from dataclasses import dataclass

MOST_PATHS, LONGEST_PATH = 8, 200
HEADER_BYTES = 32 * 1024
"""What a login may print before the answer, and its first line."""

NAME = "aleph-save"
_SCRIPT = r"""
path=$1 most=$2 nonce=$3
if [ -f "$path" ]; then
  printf '%s file\n' "$nonce"; head -c "$most" <"$path"
elif [ -d "$path" ]; then
  printf '%s directory\n' "$nonce"; tar -cf - -C "$path" . 2>/dev/null | head -c "$most"
else
  echo 'there is no such file or directory' >&2; exit 1
fi
"""


@dataclass(frozen=True)
class Taken:
    """What came of one path: a file as it is, or a directory as the tar that the VM made of it."""

    kind: str
    content: bytes


def check_paths(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Paths in a VM, which mean the same wherever its shell is. Raises ValueError."""
    if len(paths) > MOST_PATHS:
        raise ValueError(f"at most {MOST_PATHS} paths")
    for path in paths:
        if not path.startswith("/") or not path.isprintable() or not 1 < len(path) <= LONGEST_PATH:
            raise ValueError(f"each is an absolute path of a file or directory, of {LONGEST_PATH} characters")
    return tuple(dict.fromkeys(paths))


def stored(paths: tuple[str, ...]) -> str:
    """One path a line: none of them has a line break."""
    return "\n".join(paths)


def save_line(nonce: str, path: str, most: int) -> str:
    """The shell command that prints that much of what lies there."""
    return shlex.join(("sh", "-c", _SCRIPT, NAME, path, str(most), nonce))


def taken_of(printed: bytes, nonce: str) -> Taken | None:
    """The answer; None if it makes no sense."""
    found = re.search(rb"(?:^|\n)%s (file|directory)\n" % re.escape(nonce.encode()), printed[:HEADER_BYTES])
    return None if found is None else Taken(found[1].decode(), printed[found.end() :])
