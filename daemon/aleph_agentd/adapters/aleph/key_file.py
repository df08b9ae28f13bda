"""Reading a file that holds a key: only from a place that nobody else can change, and that nobody else can read."""

import os
import shlex
import stat
from pathlib import Path

from ...ports import KeyMissing

MAX_BYTES = 4096
_MOST_LINKS = 40
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def read_private(path: Path) -> bytes:
    """The content, cut after MAX_BYTES + 1. Raises KeyMissing with the reason and, where there is one, the fix."""
    if not path.is_absolute():
        raise KeyMissing(f"The key file {path} must be given as an absolute path.")
    try:
        real = _resolve(path)
        # O_NONBLOCK: a FIFO in the key's place must not hang the daemon.
        fd = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise KeyMissing(f"There is no key file {path}.") from None
    except OSError as error:
        raise KeyMissing(f"The key file {path} cannot be read: {error.strerror}.") from None
    try:
        _check(path, os.fstat(fd))
        return os.read(fd, MAX_BYTES + 1)
    except OSError as error:
        raise KeyMissing(f"The key file {path} cannot be read: {error.strerror}.") from None
    finally:
        os.close(fd)


def is_credential(path: Path) -> bool:
    """Whether systemd has put it there: it grants access by ACL, which shows up as group bits."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(directory) and path.parent == Path(directory or "/")


def _resolve(path: Path) -> Path:
    """The path without links. Every directory and every link on the way must be out of others' reach."""
    real, left, links = Path("/"), list(reversed(path.parts[1:])), 0
    _check_place(path, real, real.lstat())
    while left:
        part = left.pop()
        real = real.parent if part == ".." else real / part
        facts = real.lstat()
        if stat.S_ISLNK(facts.st_mode):
            links += 1
            if links > _MOST_LINKS:
                raise KeyMissing(f"The key file {path} cannot be read: too many links.")
            _check_owner(path, real, facts)
            target = real.readlink()
            left.extend(reversed([part for part in target.parts if part != "/"]))
            real = Path("/") if target.is_absolute() else real.parent
        elif left:
            _check_place(path, real, facts)
    return real


def _check_place(path: Path, place: Path, facts: os.stat_result) -> None:
    _check_owner(path, place, facts)
    if facts.st_mode & _OTHERS_WRITE and not facts.st_mode & stat.S_ISVTX:
        raise KeyMissing(
            f"The key file {path} could be replaced by others, who may write to {place};"
            f" run: chmod go-w {shlex.quote(str(place))}"
        )


def _check_owner(path: Path, place: Path, facts: os.stat_result) -> None:
    if facts.st_uid not in _trusted():
        raise KeyMissing(
            f"The key file {path} depends on {place}, which belongs to the user {facts.st_uid};"
            f" run: sudo chown -h {os.geteuid()} {shlex.quote(str(place))}"
        )


def _trusted() -> frozenset[int]:
    """Root and we; in a user namespace root shows up as the overflow user."""
    trusted = {0, os.geteuid()}
    try:
        whole = int(Path("/proc/self/uid_map").read_text().split()[2]) == 0xFFFFFFFF
        if not whole:
            trusted.add(int(Path("/proc/sys/kernel/overflowuid").read_text()))
    except (OSError, ValueError, IndexError):
        pass
    return frozenset(trusted)


def _check(path: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise KeyMissing(f"The key file {path} is not a regular file.")
    if is_credential(path):
        return
    _check_owner(path, path, facts)
    if facts.st_mode & 0o077:
        raise KeyMissing(
            f"The key file {path} is open to other users (mode {stat.S_IMODE(facts.st_mode):04o});"
            f" run: chmod 600 {shlex.quote(str(path))}"
        )
