"""What an install writes and an uninstall takes away: units compared by hash with the record of what was written."""

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from aleph_agentd import private_files, runtime_dir
from aleph_agentd.control import units
from aleph_agentd.control.doctor.finding import aside, command, manage, ours
from aleph_agentd.domain.errors import Refusal

RECORD = "install.json"
SERVICE, SOCKET = "aleph-agentd.service", "aleph-agentd.socket"
WAIT_S = 90.0

Condition = Literal["as written", "changed", "missing"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the units of one kind lie, and the manager that reads them."""

    kind: units.Kind
    folder: Path
    state: Path
    runtime: Path

    @property
    def record(self) -> Path:
        """What was written is told here."""
        return self.state / RECORD

    @property
    def control_socket(self) -> Path:
        """Where the daemon of these units answers its owner, whatever other daemon this shell would find."""
        return self.runtime / runtime_dir.CONTROL_SOCKET

    @property
    def systemctl(self) -> tuple[str, ...]:
        """The command that speaks to the manager."""
        return ("systemctl", "--user") if self.kind == "user" else ("systemctl",)


def place_of(kind: units.Kind, environ: Mapping[str, str]) -> Place:
    """The system's place, or this user's."""
    if kind == "system":
        return Place(
            kind=kind,
            folder=Path("/etc/systemd/system"),
            state=Path("/var/lib", runtime_dir.NAME),
            runtime=Path("/run", runtime_dir.NAME),
        )
    home = Path.home()
    return Place(
        kind=kind,
        folder=Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "systemd/user"),
        state=Path(environ.get("XDG_STATE_HOME") or home / ".local/state", runtime_dir.NAME),
        runtime=Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}", runtime_dir.NAME),
    )


@dataclass(frozen=True, kw_only=True)
class Record:
    """What an install wrote. Empty where nothing was installed."""

    files: Mapping[str, str] = field(default_factory=dict)
    """Path to the hash of what we wrote there."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The settings that the unit carries; never a secret."""
    version: str = ""
    sandbox: bool = True

    def conditions(self) -> dict[str, Condition]:
        """How each file is now."""
        return {name: _condition(Path(name), written) for name, written in self.files.items()}


def _condition(path: Path, written: str) -> Condition:
    if not path.is_symlink() and not path.exists():
        return "missing"
    return "changed" if _is_foreign(path, {written}) else "as written"


def digest(text: str) -> str:
    """What tells a file that we wrote from one that was changed since."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_record(place: Place, *again: str) -> Record:
    """What was installed. Raises Refusal; `again` are the words of the verb that root is to repeat."""
    try:
        told = json.loads(place.record.read_text())
        return Record(
            files=_words(told["files"]),
            settings=_words(told.get("settings", {})),
            version=str(told.get("version", "")),
            sandbox=bool(told.get("sandbox", True)),
        )
    except FileNotFoundError:
        return Record()
    except PermissionError as problem:
        raise Refusal(f"{place.record} cannot be read: {problem}", _permit(place, again)) from None
    except OSError as problem:
        raise Refusal(f"{place.record} cannot be read: {problem}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        out_of_the_way = command(*aside(str(place.record)))
        raise Refusal(f"{place.record} holds no record of an install: {problem}", out_of_the_way) from None


def _permit(place: Place, again: Sequence[str]) -> str:
    """The record stays where it is: without it nothing could be undone."""
    if place.kind == "user":
        return command("sudo", "chown", "-R", str(os.getuid()), str(place.state))
    return manage(place.kind, *again) if again else ""


def _words(table: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in table.items()}


def changed_by_hand(texts: Mapping[Path, str], record: Record) -> list[Path]:
    """Files that are neither as we would write them nor as we did."""
    return [
        path
        for path, text in texts.items()
        if _is_foreign(path, {digest(text), record.files.get(str(path), "")})
    ]


def _is_foreign(path: Path, known: set[str]) -> bool:
    return path.is_symlink() or (path.exists() and digest(path.read_text(errors="replace")) not in known)


def stale(place: Place, texts: Mapping[Path, str]) -> bool:
    """Whether the sockets must be made anew: their units change, or somebody removed a file of theirs."""
    held = [text for path, text in texts.items() if path.suffix == ".socket" and _is(path, text)]
    wanted = [path for path in texts if path.suffix == ".socket"]
    names = (runtime_dir.AGENT_SOCKET, runtime_dir.CONTROL_SOCKET)
    return len(held) < len(wanted) or not all((place.runtime / name).exists() for name in names)


def _is(path: Path, text: str) -> bool:
    return path.exists() and not _is_foreign(path, {digest(text)})


def write(place: Place, texts: Mapping[Path, str], record: Record, directories: Sequence[Path]) -> list[Path]:
    """The record first: an install that is cut off can be undone. Returns the copies of what others changed."""
    for directory in (*directories, place.state):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.folder.mkdir(parents=True, exist_ok=True)
    older = read_record(place)
    changed = changed_by_hand(texts, older)
    files = {**older.files, **{str(path): digest(text) for path, text in texts.items()}}
    told = asdict(record) | {"kind": place.kind, "files": files}
    private_files.write(place.record, [json.dumps(told, indent=1).encode()])
    copies = [_aside(path) for path in changed]
    for path, text in texts.items():
        private_files.write(path, [text.encode()])
        path.chmod(0o600 if place.kind == "user" else 0o644)
    return copies


def _aside(path: Path) -> Path:
    # No suffix of a unit: systemd does not read it.
    return path.rename(path.with_name(f"{path.name}.bak"))


def remove(record: Record) -> tuple[list[str], list[str]]:
    """Take away what is still as we wrote it: what was removed, and what was changed and stays."""
    removed, kept = [], []
    for name, condition in record.conditions().items():
        if condition == "changed":
            kept.append(name)
        elif condition == "as written":
            Path(name).unlink()
            removed.append(name)
        # The manager forgets links only of units that it finds.
        for folder in Path(name).parent.glob("*.wants"):
            link = folder / Path(name).name
            if link.is_symlink() and not link.exists():
                link.unlink()
    return removed, kept


def require_manager(place: Place) -> None:
    """Raises Refusal where no systemd answers: in a container, or under an account that `su` changed to."""
    try:
        run(*place.systemctl, "show-environment")
    except Refusal as problem:
        why = f"no systemd answers here: {problem.message}"
        raise Refusal(why, f"without systemd: {ours('aleph-agentd', 'run')}", code="no_systemd") from None


def run(*words: str) -> None:
    """One step. Raises Refusal with what the program said."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=WAIT_S, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise Refusal(f"{' '.join(words)}: {problem}", code="failed") from None
    if done.returncode:
        raise Refusal(
            f"{' '.join(words)} failed ({done.returncode}): {done.stderr.strip()[-500:]}", code="failed"
        )


def works(*words: str) -> bool:
    """Whether the machine allows what a command tries."""
    try:
        run(*words)
    except Refusal:
        return False
    return True


def facts_of(
    examined: Mapping[str, Any], python: Path, settings: Mapping[str, str], kind: units.Kind
) -> units.Facts:
    """What the units say of this installation."""
    told, state, config = examined["settings"], Path(examined["state"]), Path(examined["config"])
    code = units.code_of_this_process()
    if kind == "system":
        return units.Facts(python=python, code=code, settings=settings)
    written = [state, Path(told["database_path"]).parent]
    written += [Path(told["escrow_dir"])] if told["escrow_dir"] else []
    readable = [config.parent, Path(told["private_key_path"]).parent, Path(told["ssh_pubkey_path"])]
    readable.append(Path(told["predecessor_path"]))
    readable += [Path(secret)] if (secret := told.get("webhook_secret_path")) else []
    return units.Facts(
        python=python,
        code=code,
        state=units.outermost(written),
        readable=sorted(set(readable)),
        settings=settings,
        state_home=state.parent,
        config_home=config.parent.parent,
    )
