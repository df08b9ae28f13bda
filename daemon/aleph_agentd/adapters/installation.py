"""Who we are on this machine, and that we are the only one: files beside the inventory (rules.md 7, 8, 26)."""

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Taken(Exception):
    """Another daemon works with this inventory or this key; the message says who."""


def installation_id(state_dir: Path) -> str:
    """The id that stamps our VMs: made once, bound to this machine, so that a copied home is another one."""
    path = state_dir / "installation.json"
    machine = _machine()
    try:
        known = json.loads(path.read_text())
        if known["machine"] == machine:
            return str(known["id"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    fresh = {"id": secrets.token_hex(8), "machine": machine}
    new = path.with_suffix(".new")
    new.write_text(json.dumps(fresh))
    new.chmod(0o600)
    with new.open("rb") as written:
        os.fsync(written.fileno())
    new.rename(path)
    return fresh["id"]


def _machine() -> str:
    """A digest: the machine's own id is nobody else's business."""
    for source in (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id")):
        try:
            return hashlib.sha256(b"aleph-agentd\0" + source.read_bytes()).hexdigest()[:16]
        except OSError:
            continue
    return hashlib.sha256(os.uname().nodename.encode()).hexdigest()[:16]


@contextmanager
def only_one(directory: Path, what: str, name: str) -> Iterator[None]:
    """Hold the lock of `name` in `directory`; raises Taken with the holder's pid. Released by the kernel."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    path = directory / f"{what}-{digest}.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 100).decode(errors="replace").strip() or "an unknown process"
            raise Taken(f"another aleph-agentd (pid {holder}) already works with the {what} {name}") from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
