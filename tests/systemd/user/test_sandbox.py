"""The user unit's sandbox, probed from inside while the daemon serves; and the variant without namespaces."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.confinement import Confined
from support.service import PROBE, Service


@pytest.fixture
def planted(service: Service) -> list[Path]:
    """The user's own key, and somebody's file in /tmp."""
    path = Path("/tmp/aleph-probe-user")
    path.write_text("of another program")
    return [service.ssh_key, path]


@pytest.fixture
def outside(service: Service, planted: list[Path]) -> dict[str, str]:
    """What the same program finds as the same user without a sandbox."""
    folder = service.home / "outside"
    folder.mkdir(exist_ok=True)
    result = folder / "probe.json"
    subprocess.run([sys.executable, "-I", str(PROBE), result, *planted], check=True)
    found: dict[str, str] = json.loads(result.read_text())
    return found


class TestSandbox(Confined):
    """Under the user's own manager, where user namespaces make it."""
