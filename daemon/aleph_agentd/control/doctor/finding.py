"""What a check says: pass, warn or fail, why, and the command that mends it."""

import shlex
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from aleph_agentd.control.units import Kind

_CTL = "aleph-agentctl"

Level = Literal["pass", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report. `fix` can be executed by a shell as it is; `advice` is for a person."""

    check: str
    level: Level
    why: str
    fix: str = ""
    advice: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The wire form."""
        return asdict(self)


def well(check: str, why: str) -> Finding:
    """Nothing to do."""
    return Finding(check, "pass", why)


def warn(check: str, why: str, fix: str = "", *, advice: str = "") -> Finding:
    """It works, but not as well, or not for certain."""
    return Finding(check, "warn", why, fix, advice)


def fail(check: str, why: str, fix: str = "", *, advice: str = "") -> Finding:
    """VMs cannot be rented, or money is at risk."""
    return Finding(check, "fail", why, fix, advice)


def command(*words: str) -> str:
    """A command line that means exactly these words."""
    return shlex.join(words)


def aside(path: str, suffix: str = ".unusable") -> tuple[str, ...]:
    """The words that take a file out of the way and lose neither it nor an older one: each copy gets a number."""
    return ("mv", "--backup=numbered", path, f"{path}{suffix}")


def ours(name: str, *words: str) -> str:
    """A command of ours, with its full path where the shell would not find it."""
    beside = Path(sys.executable).with_name(name)
    program = name if shutil.which(name) or not beside.exists() else str(beside)
    return command(program, *words)


def manage(kind: Kind, verb: str, *words: str, without: str = "") -> str:
    """`aleph-agentctl install` or `uninstall` for one kind of installation, `without` a setting that it has.

    The system's takes root, whose PATH has no program of ours, and into whose shell no variable goes.
    """
    if kind == "user":
        return f"{without}= {ours(_CTL, verb, *words)}" if without else ours(_CTL, verb, *words)
    setting = ("env", f"{without}=") if without else ()
    return command("sudo", *setting, str(Path(sys.executable).with_name(_CTL)), verb, "--system", *words)
