"""What an install writes and an uninstall takes away: units compared by hash with the record of what was written."""

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aleph_agentd import private_files
from aleph_agentd.control import units
from aleph_agentd.domain.errors import Refusal

RECORD = "install.json"
WAIT_S = 90.0


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the units of one kind lie, and the manager that reads them."""

    kind: units.Kind
    folder: Path
    state: Path

    @property
    def record(self) -> Path:
        """What was written is told here."""
        return self.state / RECORD

    @property
    def systemctl(self) -> tuple[str, ...]:
        """The command that speaks to the manager."""
        return ("systemctl", "--user") if self.kind == "user" else ("systemctl",)


def digest(text: str) -> str:
    """What tells a file that we wrote from one that was changed since."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_record(place: Place) -> dict[str, str]:
    """Path to the hash of what we wrote there; empty when nothing was installed. Raises Refusal."""
    try:
        files = json.loads(place.record.read_text())["files"]
        return {str(path): str(written) for path, written in files.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise Refusal(
            f"{place.record} cannot be read: {problem}", f"mv {place.record} {place.record}.unusable"
        ) from None


def changed_by_hand(texts: Mapping[Path, str], record: Mapping[str, str]) -> list[Path]:
    """Files that are neither as we would write them nor as we did."""
    return [
        path for path, text in texts.items() if _is_foreign(path, {digest(text), record.get(str(path), "")})
    ]


def _is_foreign(path: Path, known: set[str]) -> bool:
    return path.is_symlink() or (path.exists() and digest(path.read_text(errors="replace")) not in known)


def write(place: Place, texts: Mapping[Path, str], directories: Sequence[Path]) -> None:
    """The record first: an install that is cut off can be undone."""
    for directory in (*directories, place.state):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.folder.mkdir(parents=True, exist_ok=True)
    older = read_record(place)
    files = older | {str(path): digest(text) for path, text in texts.items()}
    private_files.write(place.record, [json.dumps({"kind": place.kind, "files": files}, indent=1).encode()])
    for path, text in texts.items():
        private_files.write(path, [text.encode()])
        path.chmod(0o600 if place.kind == "user" else 0o644)


def remove(record: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Take away what is still as we wrote it: what was removed, and what was changed and stays."""
    removed, kept = [], []
    for name, written in record.items():
        path = Path(name)
        if _is_foreign(path, {written}):
            kept.append(name)
        elif path.exists():
            path.unlink()
            removed.append(name)
    return removed, kept


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
    return units.Facts(
        python=python,
        code=code,
        state=units.outermost(written),
        readable=sorted(set(readable)),
        settings=settings,
        state_home=state.parent,
        config_home=config.parent.parent,
    )
