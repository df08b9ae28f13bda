"""Facts of this machine and of the clients' configuration files. Nothing is changed."""

import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aleph_agentd import runtime_dir
from aleph_agentd.control.doctor.facts import PROJECT_FILE, Answer, ClientFacts, MachineFacts

WAIT_S = 10.0
MAX_FILE = 16 * 2**20
SHIM, MODULE = "aleph-agent-mcp", "aleph_agent_mcp"


def examine(environ: Mapping[str, str]) -> Answer:
    """What needs the daemon's own code, told by a process of its own that has the daemon's environment."""
    done = _run(sys.executable, "-I", "-m", "aleph_agentd.examination", environ=environ)
    try:
        found: Answer = json.loads(done)
    except ValueError:
        return {}
    return found


def machine(examined: Answer, runtime: Path | None = None) -> MachineFacts:
    """All about this machine that a check may ask; of the sockets in `runtime`, or of those that a client finds."""
    folder = _existing(Path(str(examined.get("state") or Path.home())))
    settings = examined.get("settings") or {}
    public = str(settings.get("ssh_pubkey_path") or "")
    return MachineFacts(
        uid=os.getuid(),
        user=user(),
        lingering=lingering(),
        suspends=_suspends(),
        state_folder=str(folder),
        free_bytes=shutil.disk_usage(folder).free,
        ssh_key=_text(Path(public)) if public else None,
        ssh_private=bool(public) and Path(public.removesuffix(".pub")).is_file(),
        sockets={str(path): _modes(path) for path in _sockets(runtime)},
        mounts=_link(Path("/proc/self/ns/mnt")),
    )


def _run(*words: str, environ: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            words,
            check=False,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            cwd="/",
            env=environ,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return done.stdout


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def user() -> str:
    """The name of the account that runs this."""
    return pwd.getpwuid(os.getuid()).pw_name


def lingering() -> bool | None:
    """Whether the user's manager outlives the last logout; None when nobody says."""
    answer = _run("loginctl", "show-user", user(), "--property=Linger", "--value").strip()
    if answer in ("yes", "no"):
        return answer == "yes"
    # loginctl knows nobody who is not logged in; the file is what lingering is.
    folder = Path("/var/lib/systemd/linger")
    return (folder / user()).exists() if folder.is_dir() else None


def _suspends() -> bool:
    if not any(Path("/sys/class/power_supply").glob("BAT*")):
        return False
    return _run("systemctl", "is-enabled", "sleep.target").strip() != "masked"


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE).decode(errors="replace")
    except OSError:
        return None


def _sockets(runtime: Path | None) -> list[Path]:
    names = (runtime_dir.AGENT_SOCKET, runtime_dir.CONTROL_SOCKET)
    try:
        return [runtime / name if runtime else runtime_dir.find_socket(name, os.environ) for name in names]
    except ValueError:
        return []


def _modes(path: Path) -> tuple[int, int] | None:
    try:
        return stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)
    except OSError:
        return None


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def clients() -> tuple[ClientFacts, ...]:
    """The configuration files of clients that exist, and what they start for us."""
    home = Path.home()
    places = [
        ("Claude Code", Path(os.environ.get("CLAUDE_CONFIG_DIR", home)) / ".claude.json"),
        ("Claude Code", Path.cwd() / PROJECT_FILE),
        ("Claude Desktop", home / ".config/Claude/claude_desktop_config.json"),
        ("Claude Desktop", home / "Library/Application Support/Claude/claude_desktop_config.json"),
    ]
    return tuple(_client(name, path) for name, path in places if path.is_file())


def _client(name: str, path: Path) -> ClientFacts:
    try:
        content = json.loads(_text(path) or "")
    except (ValueError, RecursionError):
        return ClientFacts(client=name, path=str(path), trouble="it cannot be read as JSON")
    programs = tuple(sorted(set(_programs(content))))
    return ClientFacts(client=name, path=str(path), programs=programs)


def _programs(content: Any) -> Iterator[tuple[str, bool]]:
    for table in _tables(content):
        for server in table.values():
            program = server.get("command") if isinstance(server, dict) else None
            arguments = server.get("args") if isinstance(server, dict) else None
            words = [program, *(arguments if isinstance(arguments, list) else [])]
            if isinstance(program, str) and any(
                Path(str(word)).name == SHIM or word == MODULE for word in words
            ):
                yield program, shutil.which(program) is not None


def _tables(content: Any) -> Iterator[dict[str, Any]]:
    """The `mcpServers` of the file and of each project in it."""
    if not isinstance(content, dict):
        return
    projects = content.get("projects")
    for place in (content, *(projects.values() if isinstance(projects, dict) else ())):
        table = place.get("mcpServers") if isinstance(place, dict) else None
        if isinstance(table, dict):
            yield table
