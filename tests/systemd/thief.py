"""Looks for a key where an account could find one: run as the agent, and as others who must find it.

    thief.py PID FOLDER… < KEY_IN_HEX

Standard library only. Prints, for every way, `found`, `open` (it may look, and the key is not there), or the error.
"""

import base64
import ctypes
import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_ATTACH, _DETACH = 16, 17
_PIECE = 1 << 22


class Thief:
    """Knows what it looks for, so that it cannot miss it."""

    def __init__(self, pid: int, key: bytes, folders: list[Path]) -> None:
        self._pid, self._proc, self._folders = pid, Path(f"/proc/{pid}"), folders
        self._needles = [key, key.hex().encode(), base64.b64encode(key)]

    def look(self) -> dict[str, str]:
        """Every way by its name."""
        inside = self._proc / "root/run/credentials"
        return {
            "files": self._outcome(lambda: self._files(self._folders)),
            "proc root": self._outcome(lambda: self._files([inside])),
            "proc mem": self._outcome(self._memory),
            "proc environ": self._outcome(lambda: self._holds((self._proc / "environ").read_bytes())),
            "proc maps": self._outcome(lambda: self._holds((self._proc / "maps").read_bytes())),
            "proc fd": self._outcome(self._descriptors),
            "proc cwd": self._outcome((self._proc / "cwd").readlink),
            "coredump filter": self._outcome(lambda: (self._proc / "coredump_filter").open("r+b").close()),
            "ptrace": self._outcome(self._ptrace),
            "process_vm_readv": self._outcome(self._vm_read),
            # Signal 0 asks only whether it may: SIGABRT would need the same permission.
            "signal": self._outcome(lambda: os.kill(self._pid, 0)),
        }

    def _outcome(self, attempt: Callable[[], object]) -> str:
        try:
            return "found" if attempt() is True else "open"
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, str(error))

    def _holds(self, data: bytes) -> bool:
        return any(needle in data for needle in self._needles)

    def _files(self, folders: list[Path]) -> bool:
        errors: list[OSError] = []
        for folder in folders:
            for directory, _, names in os.walk(folder, onerror=errors.append):
                for name in names:
                    try:
                        if Path(directory, name).is_file() and self._holds(
                            Path(directory, name).read_bytes()
                        ):
                            return True
                    except OSError as error:
                        errors.append(error)
        if errors:
            raise errors[0]
        return False

    def _memory(self) -> bool:
        with (self._proc / "mem").open("rb", buffering=0) as memory:
            for line in (self._proc / "maps").read_text().splitlines():
                span, mode = line.split()[:2]
                if mode.startswith("rw") and self._in_region(memory.fileno(), span):
                    return True
        return False

    def _in_region(self, fd: int, span: str) -> bool:
        start, end = (int(number, 16) for number in span.split("-"))
        while start < end:
            try:
                piece = os.pread(fd, min(_PIECE, end - start), start)
            except OSError:
                return False  # a region that cannot be read, such as a device's
            if self._holds(piece):
                return True
            start += max(len(piece) - 128, 1) if len(piece) == _PIECE else max(len(piece), 1)
        return False

    def _descriptors(self) -> bool:
        return any(str(link.readlink()) == "never" for link in (self._proc / "fd").iterdir())

    def _ptrace(self) -> bool:
        if _LIBC.ptrace(_ATTACH, self._pid, None, None):
            raise OSError(ctypes.get_errno(), "ptrace")
        os.waitpid(self._pid, 0)
        _LIBC.ptrace(_DETACH, self._pid, None, None)
        return False

    def _vm_read(self) -> bool:
        class Region(ctypes.Structure):
            _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

        here = ctypes.create_string_buffer(8)
        local, remote = Region(ctypes.addressof(here), 8), Region(4096, 8)
        if _LIBC.process_vm_readv(self._pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) < 0:
            raise OSError(ctypes.get_errno(), "process_vm_readv")
        return False


if __name__ == "__main__":
    signal.alarm(60)
    key = bytes.fromhex(sys.stdin.readline().strip())
    print(json.dumps(Thief(int(sys.argv[1]), key, [Path(folder) for folder in sys.argv[2:]]).look()))
