"""What systemd runs here: the unit that it has loaded, and the environment that this unit gives the daemon."""

import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aleph_agentd import runtime_dir
from aleph_agentd.control import units
from aleph_agentd.control.installing import SERVICE, Condition, Place, Record, place_of, read_record
from aleph_agentd.domain.errors import Refusal

PREFIX = "ALEPH_AGENT_"
WAIT_S = 10.0
_ASKED = "LoadState,ActiveState,FragmentPath,Environment,ExecStart"
_KINDS: tuple[units.Kind, ...] = ("user", "system")
_OURS = (PREFIX, "XDG_")
_NOT_OF_A_SERVICE = ("ALEPH_", "XDG_", "PYTHON", "CREDENTIALS_DIRECTORY")


@dataclass(frozen=True, kw_only=True)
class Installation:
    """The daemon that this user would reach through systemd. `unit` is empty where none is installed."""

    kind: units.Kind = "user"
    unit: str = ""
    active: str = ""
    python: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    """`ALEPH_AGENT_*` and `XDG_*` that the daemon is started with."""
    files: Mapping[str, Condition] = field(default_factory=dict)
    """What an install wrote, and how it is now."""
    version: str = ""
    sandbox: bool = True
    own: bool = False
    """Whether a daemon outside of systemd is meant: ALEPH_AGENT_RUNTIME_DIR is set."""
    runtime: Path | None = None
    """Where the unit's sockets lie; None where none is installed, and any daemon may be meant."""

    @property
    def control_socket(self) -> Path | None:
        """Where its daemon answers its owner; None where whichever is found is meant."""
        return self.runtime and self.runtime / runtime_dir.CONTROL_SOCKET

    @property
    def systemctl(self) -> tuple[str, ...]:
        """What speaks to its manager, for whoever reads a fix."""
        return ("systemctl", "--user") if self.kind == "user" else ("sudo", "systemctl")


def look(environ: Mapping[str, str]) -> Installation:
    """Ask both managers, the user's own first; where nothing is loaded, tell what an install left behind."""
    if environ.get(runtime_dir.VARIABLE):
        return Installation(own=True)
    for kind in _KINDS:
        if found := _loaded(kind, environ):
            return found
    place = place_of("user", environ)
    record = _record(place)
    return Installation(
        settings=record.settings, files=record.conditions(), version=record.version, sandbox=record.sandbox
    )


def environment_at(place: Place, record: Record, environ: Mapping[str, str]) -> dict[str, str]:
    """What the daemon of one place finds in its environment; what this shell says of ours is not for it."""
    found = _loaded(place.kind, environ) or Installation(settings=record.settings)
    others = {name: value for name, value in environ.items() if not name.startswith(PREFIX)}
    return {**environment(found, others), **service_home(place)}


def _loaded(kind: units.Kind, environ: Mapping[str, str]) -> Installation | None:
    manager = ("systemctl", "--user") if kind == "user" else ("systemctl",)
    shown = _shown(*manager, "show", SERVICE, f"--property={_ASKED}")
    if shown.get("LoadState") != "loaded":
        return None
    settings = _manager_settings() if kind == "user" else {}
    settings |= _assignments(shown.get("Environment", ""))
    place = place_of(kind, {**environ, **settings})
    record = _record(place)
    program = re.search(r"path=(.*?) ; argv", shown.get("ExecStart", ""))
    return Installation(
        kind=kind,
        unit=shown.get("FragmentPath", ""),
        active=shown.get("ActiveState", ""),
        python=program[1] if program else "",
        settings=settings,
        files=record.conditions(),
        version=record.version,
        sandbox=record.sandbox,
        runtime=place.runtime,
    )


def environment(installation: Installation, environ: Mapping[str, str]) -> dict[str, str]:
    """What the daemon would find in its environment: the unit's, not this shell's."""
    if not installation.unit:
        return {**environ, **installation.settings}
    kept = {name: value for name, value in environ.items() if not name.startswith(_NOT_OF_A_SERVICE)}
    return {**kept, **installation.settings}


def unseen(installation: Installation, environ: Mapping[str, str]) -> list[str]:
    """Settings of this shell that the installed daemon is not given, or is given otherwise."""
    if not installation.unit:
        return []
    return sorted(
        name
        for name, value in environ.items()
        if name.startswith(PREFIX)
        and name.removeprefix(PREFIX) not in {"RUNTIME_DIR", "AUTOSTART", "RUN_INTEGRATION"}
        and installation.settings.get(name) != value
    )


def _record(place: Place) -> Record:
    try:
        return read_record(place)
    except Refusal:
        return Record()


def _manager_settings() -> dict[str, str]:
    """What `systemctl --user set-environment` or environment.d gives to every unit."""
    return _assignments(_said("systemctl", "--user", "show-environment"))


def _assignments(text: str) -> dict[str, str]:
    found = {}
    for word in _split(text):
        name, sign, value = word.partition("=")
        if sign and (name.startswith(_OURS) or name == "HOME"):
            found[name] = value
    return found


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []


def _shown(*words: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in _said(*words).splitlines() if "=" in line)


def _said(*words: str) -> str:
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=WAIT_S, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def service_home(place: Place) -> dict[str, str]:
    """Where the system unit looks for everything."""
    if place.kind == "user":
        return {}
    config, state = Path("/etc"), place.state.parent
    return {"HOME": str(place.state), "XDG_CONFIG_HOME": str(config), "XDG_STATE_HOME": str(state)}
