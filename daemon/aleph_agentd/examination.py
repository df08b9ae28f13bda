"""What `aleph-agentctl doctor` must know of settings, key and inventory, as JSON: a process of its own.

Run as `python -I -m aleph_agentd.examination`. It loads what the light client must not, changes nothing,
and whatever is wrong with it ends here.
"""

import json
import re
import sqlite3
import stat
import sys
from pathlib import Path
from typing import Any

from . import key_tool
from .adapters.config import ConfigError, Settings
from .adapters.config_sources import config_path, state_dir
from .adapters.store.migrations import SCHEMA_VERSION
from .domain.errors import Refusal
from .domain.model import LIVE

_WAIT_S = 2.0


def examine() -> dict[str, Any]:
    """Every fact that needs the daemon's own code; never the key itself."""
    found: dict[str, Any] = {"config": str(config_path()), "state": str(state_dir()), "config_trouble": ""}
    try:
        settings = Settings.load()
    except (ConfigError, ValueError) as problem:
        return found | {"config_trouble": str(problem)} | _where(problem, config_path())
    return found | {
        "settings": _told(settings),
        "key": _key(settings.private_key_path),
        "inventory": inventory(settings.database_path) if settings.database_url is None else None,
    }


def _where(problem: Exception, path: Path) -> dict[str, Any]:
    """The line of the file, or the variable, that the problem is about; neither where it is about more than one."""
    text = str(problem)
    variable = re.match(r"(ALEPH_AGENT_\w+) \(environment\)", text)
    if variable:
        return {"config_variable": variable[1]}
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    number = re.search(r"is not TOML: .*\(at line (\d+), column \d+\)", text)
    if number:
        return {"config_line": int(number[1])}
    name = re.match(r"([\w.-]+) \(", text)
    key = re.compile(rf"""\s*["']?{re.escape(name[1].rpartition(".")[2])}["']?\s*=""") if name else None
    found = [n for n, line in enumerate(lines, 1) if key and key.match(line)]
    return {"config_line": found[0]} if len(found) == 1 else {}


def _told(settings: Settings) -> dict[str, Any]:
    return {
        "human_address": settings.human_address,
        "ssh_pubkey_path": str(settings.ssh_pubkey_path),
        "private_key_path": str(settings.private_key_path),
        "database_path": str(settings.database_path),
        "predecessor_path": str(settings.predecessor_path),
        "escrow_dir": settings.escrow_dir and str(settings.escrow_dir),
        "network": settings.network,
        "api_hosts": list(settings.api_hosts),
        "crn_list_url": settings.crn_list_url,
        "aggregate_address": settings.aggregate_address,
    }


def _key(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {
        "path": str(path),
        "exists": path.exists(),
        "trouble": "",
        "address": "",
        "locked": False,
    }
    try:
        facts = path.stat()
        found |= {"mode": stat.S_IMODE(facts.st_mode), "uid": facts.st_uid}
    except OSError:
        found |= {"mode": None, "uid": None}
    try:
        found["locked"] = key_tool.needs_passphrase(path)
        found["address"] = "" if found["locked"] else key_tool.address(path, "")
    except Refusal as refusal:
        found["trouble"] = refusal.message
    return found


def inventory(path: Path) -> dict[str, Any]:
    """The integrity and schema of an SQLite inventory, read without changing it."""
    found: dict[str, Any] = {"path": str(path), "exists": path.exists(), "known": SCHEMA_VERSION}
    if not found["exists"]:
        return found
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_WAIT_S)
        try:
            found["quick_check"] = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
            found["schema"] = _schema(connection)
            found["live"] = _live(connection) if found["schema"] is not None else None
        finally:
            connection.close()
    except sqlite3.OperationalError as busy:
        found["unread"] = str(busy)
    except (sqlite3.DatabaseError, ValueError) as broken:
        found["quick_check"] = str(broken)
    return found


def _live(connection: sqlite3.Connection) -> int:
    """The VMs that the network may hold and bill, intents among them."""
    marks = ", ".join("?" for _ in LIVE)
    count = connection.execute(f"SELECT count(*) FROM vms WHERE state IN ({marks})", sorted(LIVE))  # noqa: S608 - only question marks
    return int(count.fetchone()[0])


def _schema(connection: sqlite3.Connection) -> int | None:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return None
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    return int(row[0]) if row else None


if __name__ == "__main__":
    json.dump(examine(), sys.stdout)
