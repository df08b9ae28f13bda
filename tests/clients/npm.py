"""Clients from npm, in a folder beside the repository's sources that git ignores."""

import json
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / ".node"
MODULES = FOLDER / "node_modules"
INSTALL_S = 300


def install(*packages: str) -> None:
    """`npm i` of `name@version`s that are not there yet; skips the test where that cannot be done."""
    if trouble := _trouble(packages):
        pytest.skip(trouble)


@lru_cache
def _trouble(packages: tuple[str, ...]) -> str:
    """Why they cannot be had; found out once for all tests."""
    if all(_is_there(package) for package in packages):
        return ""
    names = " ".join(packages)
    if shutil.which("npm") is None:
        return f"npm, which would install {names}, is not there"
    FOLDER.mkdir(exist_ok=True)
    command = ["npm", "i", "--prefix", str(FOLDER), "--save-exact", "--no-audit", "--no-fund", *packages]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        return f"npm did not install {names} within {INSTALL_S} s"
    return f"npm cannot install {names}: {done.stderr[-300:]}" if done.returncode else ""


def _is_there(package: str) -> bool:
    name, _, version = package.rpartition("@")
    manifest = MODULES / name / "package.json"
    return manifest.exists() and json.loads(manifest.read_text())["version"] == version
