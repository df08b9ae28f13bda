"""What a process that holds a key takes away from itself and from others, before it opens the key."""

import ctypes
import logging
import os
import resource

log = logging.getLogger(__name__)

SECRETS = ("ALEPH_AGENT_DATABASE_URL",)
"""Settings that may hold a password."""
_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


def harden() -> None:
    """No core dumps, no ptrace, no `/proc/PID/environ` for others of our uid, no swap, no foreign settings."""
    os.umask(0o077)
    # Relative paths and `.env` files of wherever it was started are none of its business.
    os.chdir("/")
    _forbid_dumps()
    _stay_in_memory()
    for name in list(os.environ):
        # Upper case: the SDK reads its settings in any case.
        if name.upper().startswith("ALEPH_") and not name.upper().startswith("ALEPH_AGENT_"):
            del os.environ[name]


def forget_secrets() -> None:
    """Once the settings are read, no child needs to inherit their secrets."""
    for name in SECRETS:
        os.environ.pop(name, None)


def _forbid_dumps() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # From here on `/proc/PID/mem`, `environ`, `fd` and `maps` belong to root; `stat` stays readable.
    if _libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        log.warning("the kernel does not let this process be made undumpable: %s", _why())


def _stay_in_memory() -> None:
    """Lock what is touched, and only without a limit.

    With a limit a lock of all would let later allocations fail; without MCL_ONFAULT it would load every
    page of every library. The Python objects of a key lie in many places, so single pages are no answer.
    """
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] != resource.RLIM_INFINITY:
        log.debug("memory is not locked: LimitMEMLOCK= sets a limit")
        return
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if _libc().mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        log.debug("memory is not locked: %s", _why())


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _why() -> str:
    return os.strerror(ctypes.get_errno())
