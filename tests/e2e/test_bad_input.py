"""What is wrong with a call is said at once and completely, over RPC and over MCP, and harms nobody."""

import socket

import msgpack
import pytest

from aleph_agentd.domain.errors import Refusal
from support.agent import session

NAN, INFINITE = float("nan"), float("inf")
WRONG = [
    ("aleph_create_vm", {}, ["name: is missing"]),
    ("aleph_create_vm", {"name": "box", "ttl_hours": NAN}, ["ttl_hours"]),
    ("aleph_create_vm", {"name": "box", "ttl_hours": INFINITE}, ["ttl_hours"]),
    ("aleph_create_vm", {"name": "box", "ttl_hours": "NaN"}, ["ttl_hours"]),
    ("aleph_create_vm", {"name": "box", "ttl_hours": 0}, ["ttl_hours: Input should be greater than 0"]),
    ("aleph_create_vm", {"name": "box", "compute_units": -1}, ["compute_units"]),
    ("aleph_create_vm", {"name": "box", "compute_units": 13}, ["compute_units"]),
    ("aleph_create_vm", {"name": "box", "max_hourly_cost": -2.5}, ["max_hourly_cost"]),
    ("aleph_create_vm", {"name": "two\nlines"}, ["name: a name starts with"]),
    ("aleph_create_vm", {"name": "deadbeefdeadbeef"}, ["name: a name must not look like a hash"]),
    ("aleph_create_vm", {"name": "box", "os_image": "windows"}, ["ubuntu22", "debian12"]),
    ("aleph_create_vm", {"name": "box", "ssh_pubkey": "not a key"}, ["ssh_pubkey"]),
    ("aleph_create_vm", {"name": "", "ttl_hours": "x", "gpus": 1}, ["name", "ttl_hours", "gpus: is not"]),
    ("aleph_create_vm", {"name": "x" * 900_000}, ["larger than 786432 bytes"]),
    ("aleph_list_crns", {"min_compute_units": "many", "gpu": "perhaps"}, ["min_compute_units", "gpu"]),
    ("aleph_extend_vm", {"item_hash": "x", "additional_hours": -1}, ["additional_hours"]),
    ("aleph_extend_vm", {"item_hash": "x", "additional_hours": INFINITE}, ["additional_hours"]),
    ("aleph_destroy_vm", {"item_hash": "../../etc/passwd"}, ["has no VM"]),
    ("aleph_destroy_vm", {"item_hash": "0" * 64}, ["has no VM"]),
    ("aleph_destroy_vm", {"item_hash": ["a"]}, ["item_hash"]),
    ("aleph_wait_vm", {"item_hash": "x", "timeout_s": NAN}, ["timeout_s"]),
    ("aleph_fly", {}, ["no tool 'aleph_fly'", "aleph_create_vm"]),
]


@pytest.mark.parametrize(("tool", "arguments", "said"), WRONG)
async def test_over_rpc_a_wrong_call_is_refused_with_every_problem(resident, tool, arguments, said):
    """A code, all problems, and what is allowed."""
    with pytest.raises(Refusal) as refused:
        await resident.call(tool, arguments)
    refusal = refused.value
    text = f"{refusal.message} {refusal.hint}"
    assert refusal.code in ("bad_input", "not_found", "unknown_tool")
    assert refusal.hint
    assert all(part in text for part in said), text
    assert len(text) < 2000
    assert resident.instances() == []


async def test_over_mcp_the_same_calls_are_tool_errors_in_words(resident, tmp_path):
    """One `isError` each; the session goes on after all of them."""
    async with session(resident, tmp_path) as agent:
        for tool, arguments, said in WRONG:
            if any(value in (INFINITE,) or value != value for value in arguments.values()):
                continue  # JSON has no such numbers
            text = await agent.refusal(tool, arguments)
            assert all(part in text for part in said), text
        assert (await agent.call("aleph_check_balance"))["balance_credits"] > 0
    assert resident.instances() == []


async def test_over_mcp_a_message_of_ten_megabytes_is_refused_and_the_session_goes_on(resident, tmp_path):
    """The shim answers for the daemon."""
    async with session(resident, tmp_path) as agent:
        text = await agent.failure("aleph_create_vm", {"name": "x" * 10_000_000})
        assert "longer than" in text
        assert (await agent.call("aleph_check_balance"))["active_vm_count"] == 0


@pytest.mark.parametrize(
    "frame",
    [
        msgpack.packb([0, 1, "tools.call", [{"name": "x" * 10_000_000}]]),
        b"\xc1" * 100,
        msgpack.packb([0, 1, "tools.call", "not a list"]),
        msgpack.packb({"not": "a message"}),
        msgpack.packb([0, 1, "no.such.method", [{}]]),
        msgpack.packb([0, 1, "tools.call", [{"name": None, "arguments": [1]}]]),
    ],
    ids=["ten-megabytes", "no-msgpack", "params", "map", "method", "types"],
)
async def test_over_rpc_a_malformed_frame_is_answered_or_closed_and_nobody_else_notices(resident, frame):
    """The other connection keeps working."""
    async with resident.open() as other:
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(20)
            door.connect(str(resident.agent_socket))
            try:
                door.sendall(frame)
                said = door.recv(65_536)
            except ConnectionError:
                said = b""  # closed while we were still writing
        assert not said or msgpack.unpackb(said)[2]
        assert (await other.call("ping"))["pong"] is True
