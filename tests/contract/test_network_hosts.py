"""CRNs that refuse, lie, hang or answer with a neighbour's mess."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from aleph_agentd.adapters.aleph.checked import address, node_url
from aleph_agentd.adapters.aleph.executions import find_execution
from aleph_agentd.adapters.aleph.http import MAX_BODY_BYTES
from aleph_agentd.adapters.aleph.network import Network, open_network
from aleph_agentd.domain.model import SignedMessage, Stamp
from aleph_agentd.ports import (
    EraseOutcome,
    Execution,
    InstanceSpec,
    KeyMissing,
    NetworkTrouble,
    NotifyOutcome,
    ReserveOutcome,
)
from support.fake_network import ADA, a_crn
from support.network import HASH, SHORT, SSH_KEY, FakeNode, settings_for

pytest_plugins = ["support.network_fixtures"]

NOTIFY, ERASE = "/control/allocation/notify", f"/control/machine/{HASH}/erase"
RESERVE = "/control/reserve_resources"
V2, V1 = "/v2/about/executions/list", "/about/executions/list"
NET = {
    "host_ipv4": "8.8.8.8",
    "ipv6_ip": "2001:4860::1",
    "ipv4_ip": "172.16.3.2",
    "mapped_ports": {"22": {"host": 24000, "tcp": True, "udp": False}},
}


@pytest.mark.parametrize(
    ("status", "text", "outcome"),
    [
        (200, '{"success": true, "successful": true, "failing": [], "errors": {}}', NotifyOutcome.ACCEPTED),
        (200, '{"success": false, "errors": {"x": "y"}}', NotifyOutcome.REFUSED),
        (500, "Aleph message not found", NotifyOutcome.TOO_EARLY),
        (500, "Controller failed", NotifyOutcome.REFUSED),
        (402, "Insufficient credits", NotifyOutcome.NO_CREDITS),
        (400, "node_hash of another node", NotifyOutcome.REFUSED),
        (503, "This CRN cannot host the requested instance at this time.", NotifyOutcome.REFUSED),
    ],
)
async def test_a_notify_is_told_by_its_status(
    network: Network, node: FakeNode, status: int, text: str, outcome: NotifyOutcome
) -> None:
    """The table of aleph-network.md 4."""
    node.says(NOTIFY, text=text, status=status)
    said = await network.hosts.notify(node.url + "/", HASH)
    assert said.outcome is outcome
    assert json.loads(node.bodies[0]) == {"instance": HASH}


@pytest.mark.parametrize(
    ("status", "text", "outcome"),
    [
        (200, '{"status": "reserved", "expires": "2026-11-25T12:00:00Z"}', ReserveOutcome.RESERVED),
        (200, '{"status": "error"}', ReserveOutcome.REFUSED),
        (400, '{"status": "error", "error": "Failed to reserves all resources"}', ReserveOutcome.REFUSED),
        (503, "This CRN cannot host the requested instance at this time.", ReserveOutcome.REFUSED),
        (404, "404: Not Found", ReserveOutcome.NOT_OFFERED),
    ],
)
async def test_a_reservation_is_told_by_its_status(
    network: Network, node: FakeNode, status: int, text: str, outcome: ReserveOutcome
) -> None:
    """The CRN gets the content of the INSTANCE, as the SDK sends it."""
    node.says(RESERVE, text=text, status=status)
    create = await _with_gpu(network)
    assert (await network.hosts.reserve(node.url, create)).outcome is outcome
    sent = json.loads(node.bodies[0])
    assert sent == json.loads(json.loads(create.body)["item_content"])
    assert sent["requirements"]["gpu"][0]["device_id"] == ADA.device_id


@pytest.mark.parametrize(
    ("status", "text"),
    [(200, "<html>"), (302, "x"), (500, "x"), (502, "x"), (200, "x" * (MAX_BODY_BYTES + 1))],
)
async def test_a_reservation_with_any_other_answer_is_unknown(
    network: Network, node: FakeNode, status: int, text: str
) -> None:
    """However long it is: the SDK would read all of it."""
    node.says(RESERVE, text=text, status=status, Location="/elsewhere")
    with pytest.raises(NetworkTrouble):
        await network.hosts.reserve(node.url, await _with_gpu(network))
    assert node.asks("/elsewhere") == 0


async def test_a_reservation_that_is_cut_or_goes_nowhere_is_unknown(network: Network, node: FakeNode) -> None:
    """The SDK passes over both."""

    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    node.does(RESERVE, cut)
    create = await _with_gpu(network)
    for url in (node.url, "http://127.0.0.1:1"):
        with pytest.raises(NetworkTrouble):
            await network.hosts.reserve(url, create)


async def _with_gpu(network: Network) -> SignedMessage:
    spec = InstanceSpec(
        payer=network.signer.address,
        crn=a_crn(1),
        vcpus=3,
        memory_mib=18_432,
        disk_mib=184_320,
        rootfs="a" * 64,
        ssh_pubkey=SSH_KEY,
        stamp=Stamp("home-1", "0" * 32, datetime(2031, 1, 2, tzinfo=UTC)),
        gpu=ADA,
    )
    return await network.signer.sign_instance(spec)


@pytest.mark.parametrize(("status", "text"), [(200, "<html>"), (302, "x"), (502, "Bad Gateway"), (504, "x")])
async def test_a_notify_that_may_have_reached_the_crn_is_unknown(
    network: Network, node: FakeNode, status: int, text: str
) -> None:
    """A proxy's words are not the CRN's."""
    node.says(NOTIFY, text=text, status=status, Location="/elsewhere")
    with pytest.raises(NetworkTrouble):
        await network.hosts.notify(node.url, HASH)
    assert node.asks("/elsewhere") == 0


async def test_a_crns_words_are_cut_and_stripped(network: Network, node: FakeNode) -> None:
    """They end in front of an agent."""
    node.says(NOTIFY, text="no\x1b[2J\n" * 10_000, status=503)
    text = (await network.hosts.notify(node.url, HASH)).text
    assert text.isprintable()
    assert len(text) <= 200


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404])
async def test_an_erase_is_told_by_its_status(network: Network, node: FakeNode, status: int) -> None:
    """404 is also the answer to a second erase."""
    node.says(ERASE, text="words", status=status)
    expected = {200: EraseOutcome.ERASED, 404: EraseOutcome.NOT_THERE}.get(status, EraseOutcome.REFUSED)
    assert await network.hosts.erase(node.url, HASH) is expected


@pytest.mark.parametrize("status", [307, 429, 500, 503])
async def test_an_erase_with_any_other_answer_is_unknown(
    network: Network, node: FakeNode, status: int
) -> None:
    """Never called done on hope (promise 2); a redirect would carry our signed headers away."""
    node.says(ERASE, text="x", status=status, Location="/elsewhere")
    with pytest.raises(NetworkTrouble):
        await network.hosts.erase(node.url, HASH)
    assert node.asks("/elsewhere") == 0


async def test_an_erase_without_a_key_says_so(tmp_path: Path, node: FakeNode) -> None:
    """It waits for the key; the FORGET did not have to (rules.md 4)."""
    async with open_network(settings_for(tmp_path / "absent", node.url)) as network:
        assert "no key file" in network.signer.trouble
        with pytest.raises(KeyMissing):
            await network.hosts.erase(node.url, HASH)
    assert node.asked == []


async def test_a_crn_that_hangs_is_trouble_in_every_call(network: Network, node: FakeNode) -> None:
    """No call waits without a limit, the SDK's neither."""
    over = asyncio.Event()

    async def answer(_request: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    for path in (NOTIFY, ERASE, V2):
        node.does(path, answer)
    calls = (network.hosts.notify, network.hosts.erase, network.hosts.execution)
    for call in calls:
        with pytest.raises(NetworkTrouble, match="no answer within"):
            await call(node.url, HASH)
    over.set()


async def test_a_crn_that_is_not_there_is_trouble_in_every_call(network: Network) -> None:
    """Port 1 refuses."""
    for call in (network.hosts.notify, network.hosts.erase, network.hosts.execution):
        with pytest.raises(NetworkTrouble):
            await call("http://127.0.0.1:1", HASH)


async def test_a_private_address_is_never_called_on_a_public_network(key_path: Path, node: FakeNode) -> None:
    """A row or a list may name it; we do not go there (rules.md 18)."""
    settings = settings_for(key_path, "https://api.example.org", allow_local=False)
    async with open_network(settings) as network:
        for call in (network.hosts.notify, network.hosts.erase, network.hosts.execution):
            with pytest.raises(NetworkTrouble, match="makes no sense"):
                await call(node.url, HASH)
    assert node.asked == []


async def test_a_neighbour_that_boots_does_not_disturb_our_vm(network: Network, node: FakeNode) -> None:
    """The SDK's model refuses the whole list for one `networking: {}`."""
    node.says(V2, {"cd" * 32: {"networking": {}}, "junk": None, HASH: {"networking": NET, "running": True}})
    assert await network.hosts.execution(node.url, HASH) == Execution(True, "8.8.8.8", 24000, "2001:4860::1")


async def test_our_own_booting_vm_is_there_without_an_address(network: Network, node: FakeNode) -> None:
    """Present, not running, nothing known."""
    node.says(V2, {HASH: {"networking": {}, "running": False, "status": {}}})
    assert await network.hosts.execution(node.url, HASH) == Execution(False)


async def test_a_list_without_us_is_an_answer(network: Network, node: FakeNode) -> None:
    """None: the list answered, and the VM is not on it."""
    node.says(V2, {})
    assert await network.hosts.execution(node.url, HASH) is None


async def test_an_old_crn_is_asked_for_its_old_list(network: Network, node: FakeNode) -> None:
    """It holds only what runs, without ports."""
    node.says(V1, {HASH: {"networking": {"ipv4": "172.16.3.0/24", "ipv6": "2001:4860::1/124"}}})
    assert await network.hosts.execution(node.url, HASH) == Execution(True)
    assert [path for _, path in node.asked] == [V2, V1]


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_a_crn_without_any_list_is_trouble(network: Network, node: FakeNode, status: int) -> None:
    """A 404 of the endpoint is not the absence of the VM."""
    node.says(V1, text="x", status=status)
    with pytest.raises(NetworkTrouble):
        await network.hosts.execution(node.url, HASH)


@pytest.mark.parametrize("body", [[], "x", {HASH: "running"}, {HASH: []}])
async def test_a_list_that_makes_no_sense_is_trouble(network: Network, node: FakeNode, body: Any) -> None:
    """Not: the VM is gone."""
    node.says(V2, body)
    with pytest.raises(NetworkTrouble, match="makes no sense"):
        await network.hosts.execution(node.url, HASH)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"host_ipv4": "1.2.3.4;curl x|sh"}, Execution(True, "", 24000, "2001:4860::1")),
        ({"host_ipv4": "10.0.0.1"}, Execution(True, "", 24000, "2001:4860::1")),
        ({"host_ipv4": 134744072}, Execution(True, "", 24000, "2001:4860::1")),
        ({"host_ipv4": "2001:4860::1"}, Execution(True, "", 24000, "2001:4860::1")),
        ({"ipv6_ip": "::1"}, Execution(True, "8.8.8.8", 24000, "")),
        ({"ipv6_ip": "fe80::1%eth0;x"}, Execution(True, "8.8.8.8", 24000, "")),
        (
            {"mapped_ports": {"22": {"host": "24000 -o ProxyCommand=x"}}},
            Execution(True, "8.8.8.8", 0, "2001:4860::1"),
        ),
        ({"mapped_ports": {"22": {"host": 65536}}}, Execution(True, "8.8.8.8", 0, "2001:4860::1")),
        ({"mapped_ports": {"22": {"host": 0}}}, Execution(True, "8.8.8.8", 0, "2001:4860::1")),
        ({"mapped_ports": {"22": {"host": True}}}, Execution(True, "8.8.8.8", 0, "2001:4860::1")),
        ({"mapped_ports": []}, Execution(True, "8.8.8.8", 0, "2001:4860::1")),
    ],
)
def test_a_hostile_address_is_empty(changes: dict[str, Any], expected: Execution) -> None:
    """It would run in the agent's shell through ssh_command (rules.md 18)."""
    document = {HASH: {"networking": NET | changes, "running": True}}
    assert find_execution(document, HASH, allow_local=False) == expected


@asynccontextmanager
async def _server(greet: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[int]:
    connections: list[asyncio.StreamWriter] = []

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        greet(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for writer in connections:
            writer.transport.abort()


async def test_ssh_answers_when_it_greets(network: Network) -> None:
    """The first four bytes are enough."""
    async with _server(lambda writer: writer.write(b"SSH-2.0-x\r\n")) as port:
        assert await network.hosts.ssh_answers("127.0.0.1", port) is True


@pytest.mark.parametrize(
    "greet",
    [lambda w: w.write(b"HTTP/1.1 400\r\n"), lambda w: w.write(b"SS"), lambda w: w.close()],
    ids=["http", "silent", "closed"],
)
async def test_ssh_does_not_answer_otherwise(
    network: Network, greet: Callable[[asyncio.StreamWriter], None]
) -> None:
    """Another service, silence, a hang-up."""
    async with _server(greet) as port:
        assert await network.hosts.ssh_answers("127.0.0.1", port) is False


async def test_ssh_is_asked_only_at_sound_addresses(network: Network, key_path: Path) -> None:
    """Never a name, and never our own network from a public one."""
    assert await network.hosts.ssh_answers("localhost", 22) is False
    assert await network.hosts.ssh_answers("127.0.0.1", 0) is False
    settings = settings_for(key_path, "https://api.example.org", allow_local=False, timeouts=SHORT)
    async with (
        _server(lambda writer: writer.write(b"SSH-2.0-x\r\n")) as port,
        open_network(settings) as public,
    ):
        assert await public.hosts.ssh_answers("127.0.0.1", port) is False


_EVIL = ";curl x|sh"


@pytest.mark.parametrize("allow_local", [True, False])
@pytest.mark.parametrize(
    "said",
    [
        *(
            f"{sound}{evil}"
            for sound in ("1.2.3.4", "2a01:4f8::1")
            for evil in (_EVIL, "\n", " ", "\x1b[2J", "/24")
        ),
        *(f"2a01:4f8::1%{scope}" for scope in (_EVIL, "$(curl x|sh)", "eth0", "\n")),
        "::ffff:1.2.3.4%`id`",
        "0x7f.1",
        "1.2.3",
        "-oProxyCommand=id",
        "",
        None,
        16909060,
        ["1.2.3.4"],
    ],
)
def test_what_is_no_address_is_none(said: Any, allow_local: bool) -> None:
    """Python takes any text behind a % for the scope of an IPv6 address, and gives it back."""
    assert [address(said, version, allow_local) for version in (4, 6)] == ["", ""]


@pytest.mark.parametrize(
    "port", [0, -1, 65_536, 70_000, 22.0, 22.5, "22", f"22{_EVIL}", True, None, {"a": 1}, [22]]
)
def test_what_is_no_port_is_none(port: Any) -> None:
    """Then there is no command that logs in."""
    said = {HASH: {"networking": NET | {"mapped_ports": {"22": {"host": port}}}}}
    found = find_execution(said, HASH, allow_local=False)
    assert found is not None and found.ssh_port == 0


@pytest.mark.parametrize("allow_local", [True, False])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "rest",
    [
        f"crn.example.org/{_EVIL}",
        f"crn.example.org{_EVIL}",
        f"crn.example.org:22{_EVIL}",
        "crn.example.org:70000",
        "$(curl).example.org",
        "`id`@crn.example.org",
        "crn.example.org\ncurl",
        "crn.example.org\x1b[2J",
        f"[2a01:4f8::1%{_EVIL}]",
        f"[2a01:4f8::1%25{_EVIL}]:80",
        "[2a01:4f8::1]:22;id",
        "crn.example.org?`id`",
        "crn.example.org#;id",
        "-oProxyCommand=id",
    ],
)
def test_what_is_more_than_a_url_of_a_host_is_none(scheme: str, rest: str, allow_local: bool) -> None:
    """Whoever pastes it into a shell runs nothing."""
    with pytest.raises(ValueError, match=r".+"):
        node_url(f"{scheme}://{rest}", allow_local)
