"""Packs what clients install into `dist/`: plugin, bundle, registry manifest, configurations. `make dist` runs it.

All of them start the same shim. The bundle brings its own copy of it, because Claude Desktop has no shell's PATH.
"""

import json
import shutil
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHIM = ROOT / "shim" / "aleph_agent_mcp"
PROFILE = ROOT / "docs" / "clients" / "profile.md"
SKILL = """\
---
name: aleph-agent
description: How to rent, use and end Aleph Cloud VMs with the aleph_* tools, and what to do on each of their errors
---

"""


def pack(dist: Path) -> list[Path]:
    """Everything, anew; what was made."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    dist.mkdir(parents=True, exist_ok=True)
    plugin = _plugin(dist, version)
    made = [
        plugin,
        _zip(dist / f"aleph-agent-plugin-{version}.zip", plugin),
        _bundle(dist, version),
        _manifest(dist, version),
    ]
    shutil.copytree(ROOT / "docs" / "clients", dist / "clients", dirs_exist_ok=True)
    return [*made, dist / "clients"]


def _plugin(dist: Path, version: str) -> Path:
    folder = dist / "claude-code-plugin"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "clients" / "claude-code", folder)
    _set_version(folder / ".claude-plugin" / "plugin.json", version)
    skill = folder / "skills" / "aleph-agent" / "SKILL.md"
    skill.parent.mkdir(parents=True)
    skill.write_text(SKILL + PROFILE.read_text())
    return folder


def _bundle(dist: Path, version: str) -> Path:
    folder = dist / "claude-desktop"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "clients" / "claude-desktop", folder)
    _set_version(folder / "manifest.json", version)
    shutil.copytree(SHIM, folder / "server" / SHIM.name, ignore=lambda _, names: set(names) & {"__pycache__"})
    return _zip(dist / f"aleph-agent-{version}.mcpb", folder)


def _manifest(dist: Path, version: str) -> Path:
    path = dist / "server.json"
    manifest = json.loads((ROOT / "clients" / "server.json").read_text())
    manifest["version"] = version
    for package in manifest["packages"]:
        package["version"] = version
    path.write_text(json.dumps(manifest, indent=2) + "\n")
    return path


def _set_version(path: Path, version: str) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"version": version}, indent=2) + "\n")


def _zip(path: Path, folder: Path) -> Path:
    """The same bytes for the same files: fixed order and times."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            entry = zipfile.ZipInfo(str(file.relative_to(folder)))
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())
    return path


if __name__ == "__main__":
    for made in pack(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "dist"):
        sys.stdout.write(f"{made}\n")
