"""A client that tries everything it can over agent.sock: each attack has its code, and nothing is spent.

What it sends is data, in support/attacks.py. One other session owns a VM, a quote and a request for approval.
"""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import pytest

from aleph_agentd.domain.errors import Refusal
from aleph_agentd.gateway.rpc.client import Client
from support import flood
from support.agent import session
from support.attacks import ATTACKS, BIG, CLAIMS, DEAR, ENVIRONMENTS, FRAMES, REQUESTS, Attack
from support.daemon import DaemonProcess, call_tool, eventually
from support.devnet import DevnetProcess
from support.liar import liar

THRESHOLD = {"ALEPH_AGENT_HUMAN_APPROVAL_THRESHOLD": "20 cr"}
ROUNDS = 5
MOST_MEMORY = 2
"""The daemon's resident memory after all floods against before them."""
NO_REFUSALS = {"awaiting_approval", "requires_confirmation"}
"""What a call may be answered with instead of a VM."""


class Victim(NamedTuple):
    """Another session's things, and the daemon that keeps them."""

    daemon: DaemonProcess
    known: dict[str, str]
    bytes_before: int


@pytest.fixture(scope="module")
def victim(network: DevnetProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """Alice has a VM, a quote, and a request that waits for the owner. At the end all of it is as it was."""
    with DaemonProcess(network, environment=THRESHOLD) as daemon:
        known = asyncio.run(_move_in(daemon, tmp_path_factory.mktemp("alice")))
        yield Victim(daemon, known, resident_bytes(daemon))
        asyncio.run(_nothing_was_taken(daemon, known))


async def _move_in(daemon: DaemonProcess, folder: Path) -> dict[str, str]:
    async with session(daemon, folder) as alice:
        vm = await alice.call("aleph_create_vm", name="theirs", ttl_hours=1)
        quote = await alice.call("aleph_create_vm", name="mine", **DEAR, dry_run=True)
        asked = await alice.call("aleph_create_vm", name="big", **BIG)
    # What the hostile client asks for itself, and waits for in a flood.
    await daemon.call("aleph_create_vm", {"name": flood.WAITS_FOR, **BIG})
    return {
        "$hash": vm["item_hash"],
        "$hash8": vm["item_hash"][:8],
        "$name": "theirs",
        "$quote": quote["quote_id"],
        "$approval": asked["approval_id"],
        "$end": vm["ttl_expires_at"],
    }


async def _nothing_was_taken(daemon: DaemonProcess, known: dict[str, str]) -> None:
    """On the network, in the inventory, in the ledger; and the audit log that tells of it is whole."""
    vm = await daemon.row(known["$hash"])
    assert (vm["status"], vm["ttl_expires_at"]) == ("running", known["$end"])
    assert (
        [row["item_hash"] for row in await daemon.rows("live")] == daemon.live_instances() == [known["$hash"]]
    )
    states = {row["id"]: row["state"] for row in (await daemon.control("approvals.list"))["approvals"]}
    assert states.pop(known["$approval"]) == "waiting"
    assert set(states.values()) <= {"waiting"}
    made = {message["item_hash"] for message in daemon.instances()}
    assert {row["item_hash"] for row in await daemon.rows()} == made
    assert len(made) <= 2, "Alice's, and the one that was quoted and used once"
    spent = (await daemon.control("ledger.list", {"limit": 1000}))["movements"]
    assert {movement["item_hash"] for movement in spent} <= made
    assert (await daemon.control("audit.verify"))["problem"] == ""


def filled(attack: Attack, known: dict[str, str]) -> dict[str, Any]:
    """Its arguments, with what the attacker has found out of another session."""
    arguments = attack.arguments.items()
    return {key: known.get(value, value) if isinstance(value, str) else value for key, value in arguments}


async def outcome(client: Client, attack: Attack, known: dict[str, str]) -> str:
    """The code of the refusal; of an answer, what it is instead of a VM."""
    try:
        answer = await call_tool(client, attack.tool, filled(attack, known))
    except Refusal as refusal:
        return refusal.code
    return "requires_confirmation" if answer.get("requires_confirmation") else str(answer["status"])


async def test_every_attack_by_a_tool_call_is_refused_with_its_code(victim: Victim) -> None:
    """And each is in the audit log, with the rule that refused it."""
    async with victim.daemon.open() as client:
        got = {attack.why: await outcome(client, attack, victim.known) for attack in ATTACKS}
    assert got == {attack.why: attack.code for attack in ATTACKS}
    told, last = "", 0
    while log := (await victim.daemon.control("audit.list", {"after": last, "limit": 500}))["entries"]:
        told, last = told + " ".join(entry["text"] for entry in log), log[-1]["n"]
    assert [code for code in sorted({*got.values()} - NO_REFUSALS) if code not in told] == []


async def test_every_other_request_is_refused_with_its_code(victim: Victim) -> None:
    """Whatever it says of itself, or beside the arguments."""
    got = {}
    for why, (method, params, _) in REQUESTS.items():
        async with victim.daemon.open() as client:
            with pytest.raises(Refusal) as refused:
                await client.call(method, params)
            got[why] = refused.value.code
    assert got == {why: code for why, (_, _, code) in REQUESTS.items()}


async def test_a_request_that_wants_no_answer_does_nothing(victim: Victim) -> None:
    """Neither a tool call nor what the owner's socket offers; at the end, all is as it was."""
    owners = (await victim.daemon.control("hello"))["methods"]
    calls = [
        msgpack.packb([2, "tools.call", [{"name": tool, "arguments": {"name": "x", "item_hash": "x"}}]])
        for tool in ("aleph_create_vm", "aleph_destroy_vm", "aleph_freeze")
    ]
    told = [msgpack.packb([2, method, [{"id": victim.known["$approval"]}]]) for method in owners]
    said = await asyncio.to_thread(answer_to, victim.daemon, b"".join(calls + told) + flood.frame("ping"))
    assert msgpack.unpackb(said)[:3] == [1, 1, None]
    assert (await victim.daemon.control("panic.status"))["panics"] is False


async def test_what_a_preamble_claims_gives_nothing(victim: Victim) -> None:
    """Not a limit looser, nobody else's VM, no approval (rules.md 13)."""
    known = victim.known
    claims = {
        name: known.get(value, value) if isinstance(value, str) else value for name, value in CLAIMS.items()
    }
    async with liar(victim.daemon.agent_socket, claims) as session_:
        for tool, arguments, said in (
            ("aleph_create_vm", {"name": "mine", "ttl_hours": 25}, "code: max_ttl"),
            ("aleph_destroy_vm", {"item_hash": known["$hash"]}, "code: not_yours"),
            ("aleph_wait_vm", {"item_hash": known["$approval"], "timeout_s": 1}, "code: not_found"),
        ):
            assert said in await session_.refusal(tool, arguments)
        lies = {"name": "lies", **BIG, "confirmed": True}
        asked = await session_.call("aleph_create_vm", lies)
        # An answer to a question that nobody asked: the owner's policy asks no client.
        forged = {"approval": {"action": "accept", "content": {"approve": True}}}
        again = await session_.call("aleph_create_vm", lies, inputResponses=forged, requestState="forged")
        assert (again["status"], again["approval_id"]) == ("awaiting_approval", asked["approval_id"])
    rows = (await victim.daemon.control("approvals.list"))["approvals"]
    [mine] = [row for row in rows if row["id"] == asked["approval_id"]]
    assert (mine["state"], "owner" in mine["client"]) == ("waiting", False)


async def test_what_control_sock_can_do_agent_sock_cannot(victim: Victim) -> None:
    """Every method that only the owner's socket offers, with good parameters and with none."""
    async with victim.daemon.open() as client:
        offered = set((await client.call("hello"))["methods"])
        owners = set((await victim.daemon.control("hello"))["methods"]) - offered
        assert {"approvals.approve", "unfreeze", "panic", "orphans.adopt", "backup.read"} & owners
        assert len(owners) > 20
        for method in sorted(owners):
            for params in ({}, {"id": victim.known["$approval"], "item_hash": victim.known["$hash"]}):
                with pytest.raises(Refusal) as refused:
                    await client.call(method, params)
                assert refused.value.code == "unknown_method", method


@pytest.mark.parametrize("why", ENVIRONMENTS)
async def test_the_environment_of_a_shim_loosens_nothing(victim: Victim, tmp_path: Path, why: str) -> None:
    """It belongs to the agent: a hostile `.mcp.json` (rules.md 11)."""
    environment, said = ENVIRONMENTS[why]
    mine = tmp_path / "hostile"
    mine.mkdir()
    async with session(victim.daemon, mine, environment=environment) as agent:
        if why == "looser limits":
            asked = await agent.call("aleph_create_vm", name="mine", **BIG, confirmed=True)
            assert (asked["status"], asked["item_hash"]) == ("awaiting_approval", None)
            assert "owner's limit is 24" in await agent.refusal(
                "aleph_create_vm", {"name": "mine", "ttl_hours": 25}
            )
            assert any("MAX_TTL_HOURS" in warning for warning in asked["warnings"] + asked["alerts"])
        else:
            assert said in await agent.refusal("aleph_create_vm", {"name": "mine", "ttl_hours": 1})


async def test_a_quote_is_used_once_and_by_nobody_else(victim: Victim) -> None:
    """Its own one, too: shown, used, sent again."""
    async with victim.daemon.open() as client:
        quote = (await call_tool(client, "aleph_create_vm", {"name": "mine", **DEAR, "dry_run": True}))[
            "quote_id"
        ]
        yes = {"name": "mine", **DEAR, "confirmed": True, "quote_id": quote}
        vm = await call_tool(client, "aleph_create_vm", yes)
        assert vm["status"] == "running"
        await call_tool(client, "aleph_destroy_vm", {"item_hash": vm["item_hash"]})
        again = await call_tool(client, "aleph_create_vm", yes)
        assert (again["requires_confirmation"], again["item_hash"]) == (True, None)
    await eventually(lambda: vm["item_hash"] not in victim.daemon.live_instances())
    rows = {row["item_hash"] for row in await victim.daemon.rows("ended")}
    assert rows == {vm["item_hash"]}


async def test_malformed_frames_are_answered_or_closed(victim: Victim) -> None:
    """By their code; none of them lets anything through."""
    for why, frame in FRAMES.items():
        said = await asyncio.to_thread(answer_to, victim.daemon, frame)
        if said:
            message = msgpack.unpackb(said)
            error = message[2] if message[0] == 1 else message[2][0]
            assert error["code"] == "malformed", why
        else:
            assert len(frame) > 1_048_576, why
        assert (await victim.daemon.control("ping"))["pong"] is True, why


def answer_to(daemon: DaemonProcess, frame: bytes) -> bytes:
    """What comes back on a connection of its own; nothing, when it is closed."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(20)
        door.connect(str(daemon.agent_socket))
        try:
            door.sendall(frame)
            return door.recv(65_536)
        except ConnectionError:
            return b""


@pytest.mark.parametrize("kind", flood.KINDS)
def test_a_flood_slows_only_itself(victim: Victim, kind: str) -> None:
    """Another session's pings: the median at most 3 times, the slowest hundredth at most 50 times that of idle."""
    rounds = list[tuple[float, float]]()
    with another_session(victim.daemon) as pings:
        while len(rounds) < ROUNDS and not (rounds and fair(*rounds[-1])):
            idle = pings()
            with flooding(victim.daemon, kind):
                flooded = pings()
            rounds.append((flooded[0] / idle[0], flooded[1] / idle[1]))
    assert any(fair(*one) for one in rounds), rounds
    assert resident_bytes(victim.daemon) <= MOST_MEMORY * victim.bytes_before


def fair(median: float, slowest: float) -> bool:
    """Whether nobody else was harmed; each figure is a ratio to idle."""
    return median <= 3 and slowest <= 50


@contextmanager
def another_session(daemon: DaemonProcess) -> Iterator[Callable[[], list[float]]]:
    """A connection of another process; each call gives the median and the slowest hundredth, in seconds."""
    command = [sys.executable, flood.__file__, "pings", daemon.agent_socket]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        asked, told = process.stdin, process.stdout

        def pings() -> list[float]:
            asked.write("again\n")
            asked.flush()
            return [float(figure) for figure in told.readline().split()]

        try:
            yield pings
        finally:
            process.kill()


@contextmanager
def flooding(daemon: DaemonProcess, kind: str) -> Iterator[None]:
    """While another process floods."""
    command = [sys.executable, flood.__file__, kind, daemon.agent_socket]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "flooding\n"
            yield
        finally:
            process.kill()


def resident_bytes(daemon: DaemonProcess) -> int:
    """Of the daemon."""
    assert daemon._process is not None
    pages = Path(f"/proc/{daemon._process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096
