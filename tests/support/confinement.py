"""The sandboxes of both kinds, probed from inside: what is to be found there, and outside of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.agent import session
from support.service import SERVICE, Service

NAMESPACES = dict.fromkeys((f"{name} namespace" for name in ("user", "mount", "net", "pid", "uts")), "EPERM")
FILTERED = {
    "own folder": "open",
    "setuid file": "EPERM",
    "raw socket": "EPERM",
    "packet socket": "EAFNOSUPPORT",
    "netlink socket": "EAFNOSUPPORT",
    "writable code": "EPERM",
    **NAMESPACES,
}
"""Also where the manager may not make namespaces."""
HIDDEN = {
    "home": "ENOENT",
    "tmp": "ENOENT",
    "usr": "EROFS",
    "etc": "EROFS",
    "system bus": "EACCES",
    "user bus": "ENOENT",
}
"""By its own view of the files."""
IN_REACH = {"home": "open", "tmp": "open", "usr": "EACCES", "system bus": "open"}
"""Outside: kept from nothing but what an ordinary user may not write."""
OUTSIDE = IN_REACH | {
    "setuid file": "open",
    "netlink socket": "open",
    "packet socket": "EPERM",
    "writable code": "open",
    "user namespace": "open",
}


def part(found: dict[str, str], expected: dict[str, str]) -> dict[str, str]:
    """The findings that the expectation is about."""
    return {name: found[name] for name in expected}


class Confined:
    """Tests of the sandbox of `service`.

    `planted` are a file in a home and one in /tmp; `outside` is what the probe finds of them without a sandbox.
    """

    @pytest.fixture
    def bare(self, service: Service) -> Iterator[Service]:
        """The units as they are rendered for machines without mount namespaces."""
        service.install(sandbox=False)
        yield service
        service.install()
        service.systemctl("restart", SERVICE)

    async def test_the_sandbox_closes_what_it_names_while_the_daemon_rents(
        self, service: Service, planted: list[Path], outside: dict[str, str], tmp_path: Path
    ) -> None:
        """Homes, /usr, others' files, buses, namespaces and sockets: closed here, and in reach outside."""
        assert part(outside, OUTSIDE) == OUTSIDE
        assert service.probed(*planted) == FILTERED | HIDDEN
        await rents(service, tmp_path)

    async def test_without_namespaces_the_filters_hold_and_files_are_in_reach(
        self, bare: Service, planted: list[Path], tmp_path: Path
    ) -> None:
        """What that variant does not promise it does not do; `install` and the doctor say so."""
        found = bare.probed(*planted)
        assert part(found, FILTERED) == FILTERED
        assert part(found, IN_REACH) == IN_REACH
        await rents(bare, tmp_path)


async def rents(service: Service, folder: Path) -> None:
    """A VM on devnet for the agent's account, and its end."""
    async with session(service, folder, account=service.agent) as agent:
        vm = await agent.call("aleph_create_vm", name="boxed", ttl_hours=1)
        assert service.billed() == [vm["item_hash"]]
        await agent.call("aleph_destroy_vm", item_hash=vm["item_hash"])
    service.eventually(lambda: not service.billed(), "the end of the VM")
