"""How this process is confined, probed from inside: what a unit file says may have had no effect."""

import os
from pathlib import Path
from typing import Any


def figures() -> dict[str, Any]:
    """What the kernel enforces on us, for `status` and the doctor."""
    status = _status(Path("/proc/self/status").read_text())
    return {
        "no_new_privs": status.get("NoNewPrivs") == "1",
        "seccomp": status.get("Seccomp") == "2",
        "mounts": _mount_namespace(),
        "usr_writable": os.access("/usr", os.W_OK),
        "session_bus": Path(f"/run/user/{os.getuid()}/bus").exists(),
    }


def _status(text: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def _mount_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/mnt").readlink())
    except OSError:
        # Not dumpable: /proc/self belongs to root.
        return ""
