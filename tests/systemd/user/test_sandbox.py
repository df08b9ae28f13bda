"""The user unit's sandbox, probed from inside while the daemon serves; and the variant without namespaces."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.agent import session
from support.service import PROBE, SERVICE, Service

sys.path.insert(0, str(PROBE.parent))
from confinement import FILTERED, HIDDEN, IN_REACH, OUTSIDE, part


@pytest.fixture
def outside(service: Service) -> dict[str, str]:
    """What the same program finds as the same user without a sandbox."""
    folder = service.home / "outside"
    folder.mkdir(exist_ok=True)
    result = folder / "probe.json"
    subprocess.run([sys.executable, "-I", str(PROBE), result, service.ssh_key, tmp_file()], check=True)
    found: dict[str, str] = json.loads(result.read_text())
    return found


def tmp_file() -> Path:
    """Somebody's file in /tmp."""
    path = Path("/tmp/aleph-probe-user")
    path.write_text("of another program")
    return path


@pytest.fixture
def bare(service: Service) -> Iterator[Service]:
    """The units as they are rendered where user namespaces are forbidden."""
    service.install(sandbox=False)
    yield service
    service.install()
    service.systemctl("restart", SERVICE)


async def test_the_sandbox_closes_what_it_names_while_the_daemon_rents(
    service: Service, outside: dict[str, str], tmp_path: Path
) -> None:
    """Home, /usr, other programs' files, buses, namespaces and sockets: closed here, and in reach outside."""
    assert part(outside, OUTSIDE) == OUTSIDE
    found = service.probed(service.ssh_key, tmp_file())
    assert found == FILTERED | HIDDEN
    await rents(service, tmp_path)


async def test_without_namespaces_the_filters_hold_and_files_are_in_reach(
    bare: Service, tmp_path: Path
) -> None:
    """What the fallback does not promise it does not do; `install` and the doctor say so."""
    found = bare.probed(bare.ssh_key, tmp_file())
    assert part(found, FILTERED) == FILTERED
    assert part(found, IN_REACH) == IN_REACH
    await rents(bare, tmp_path)


async def rents(service: Service, folder: Path) -> None:
    """A VM on devnet, and its end."""
    async with session(service, folder) as agent:
        vm = await agent.call("aleph_create_vm", name="boxed", ttl_hours=1)
        assert service.billed() == [vm["item_hash"]]
        await agent.call("aleph_destroy_vm", item_hash=vm["item_hash"])
    service.eventually(lambda: not service.billed(), "the end of the VM")
