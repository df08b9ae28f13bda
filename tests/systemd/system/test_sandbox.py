"""The system unit's sandbox, probed from inside while the daemon serves; and the variant without namespaces."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aleph_agentd.control import units
from support.agent import session
from support.service import PROBE, SERVICE
from support.system_service import AGENT, SystemService, as_user

sys.path.insert(0, str(PROBE.parent))
from confinement import FILTERED, HIDDEN, IN_REACH, OUTSIDE, part

HERE = HIDDEN | {"user bus": "ENOENT"}


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
def bare(service: SystemService) -> Iterator[SystemService]:
    """The units as they are rendered for machines without mount namespaces."""
    service.install(sandbox=False)
    yield service
    service.install()
    service.systemctl("restart", SERVICE)


async def test_the_sandbox_closes_what_it_names_while_the_daemon_rents(
    service: SystemService, planted: list[Path]
) -> None:
    """Homes, /usr, other users' files, buses, namespaces and sockets: closed here, and in reach outside."""
    folder = Path("/run/aleph-outside")
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    words = [sys.executable, "-I", str(PROBE), str(folder / "probe.json"), *map(str, planted)]
    done = service.run_as(units.USER, *words)
    assert done.returncode == 0, done.stderr.decode()
    outside = json.loads((folder / "probe.json").read_text())
    assert part(outside, OUTSIDE) == OUTSIDE
    assert service.probed(*planted) == FILTERED | HERE
    await rents(service)


async def test_without_namespaces_the_filters_hold_and_files_are_in_reach(
    bare: SystemService, planted: list[Path]
) -> None:
    """What that variant does not promise it does not do; the key is another user's all the same."""
    found = bare.probed(*planted)
    assert part(found, FILTERED) == FILTERED
    assert part(found, IN_REACH) == IN_REACH
    await rents(bare)


async def rents(service: SystemService) -> None:
    """A VM on devnet for the agent's account, and its end."""
    async with session(service, Path("/home", AGENT), account=as_user(AGENT)) as agent:
        vm = await agent.call("aleph_create_vm", name="boxed", ttl_hours=1)
        assert service.billed() == [vm["item_hash"]]
        await agent.call("aleph_destroy_vm", item_hash=vm["item_hash"])
    service.eventually(lambda: not service.billed(), "the end of the VM")
