"""The system unit's sandbox, probed from inside while the daemon serves; and the variant without namespaces."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aleph_agentd.control import units
from support.confinement import Confined
from support.service import PROBE
from support.system_service import AGENT, SystemService


@pytest.fixture
def planted() -> Iterator[list[Path]]:
    """Files that everybody may read: in another user's home, and in /tmp."""
    home = Path("/home", AGENT)
    home.chmod(0o755)
    files = [home / "for-everybody", Path("/tmp/aleph-probe-system")]
    for file in files:
        file.write_text("of another user")
        file.chmod(0o644)
    yield files
    home.chmod(0o700)


@pytest.fixture
def outside(service: SystemService, planted: list[Path]) -> dict[str, str]:
    """What the same program finds as the daemon's account without a sandbox."""
    folder = Path("/run/aleph-outside")
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    words = [sys.executable, "-I", str(PROBE), str(folder / "probe.json"), *map(str, planted)]
    done = service.run_as(units.USER, *words)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, str] = json.loads((folder / "probe.json").read_text())
    return found


class TestSandbox(Confined):
    """Under the system's manager; the key is another user's all the same."""
