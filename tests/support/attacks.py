"""What a hostile client sends over agent.sock, as data: each with the code that must come back.

In arguments `$hash`, `$name`, `$quote` and `$approval` stand for another session's VM, its name, a quote that it
was shown and an approval that it waits for.
"""

import math
from typing import Any, NamedTuple

import msgpack

FILE_NAMES = [
    "two\nlines",
    "../../../etc/passwd",
    "$(reboot)",
    "`reboot`; reboot",
    "'quoted' \"twice\"",
    "-rf",
    "a b\\c",
    "~/at home",
    "é\u202e.txt",
    "x > hostname",
]
"""Of files in a VM: for a shell, a terminal or a path they would be something else."""


class Attack(NamedTuple):
    """One tool call."""

    why: str
    tool: str
    arguments: dict[str, Any]
    code: str
    """With which it is refused; of what is answered: its `status`."""


def _create(why: str, code: str, **arguments: Any) -> Attack:
    return Attack(why, "aleph_create_vm", {"name": "mine", **arguments}, code)


BIG = {"ttl_hours": 24, "compute_units": 2}
"""Above the threshold of confirmation, and of a human."""
DEAR = {"ttl_hours": 4, "compute_units": 2}
"""Above the threshold of confirmation alone."""

APPROVING = [
    _create("says that it is approved", "bad_input", **BIG, approved=True),
    _create("names an approval", "bad_input", **BIG, approval_id="$approval"),
    _create("says yes to nothing that was shown", "awaiting_approval", **BIG, confirmed=True),
    _create(
        "another session's approval as a quote",
        "awaiting_approval",
        **BIG,
        confirmed=True,
        quote_id="$approval",
    ),
    _create("says yes without a quote", "requires_confirmation", **DEAR, confirmed=True),
    _create("another session's quote", "requires_confirmation", **DEAR, confirmed=True, quote_id="$quote"),
    _create("a forged quote", "requires_confirmation", **DEAR, confirmed=True, quote_id="q-0123456789abcdef"),
    _create("a quote of SQL", "requires_confirmation", **DEAR, confirmed=True, quote_id="' OR 1=1 --"),
    Attack("asks itself", "approvals.approve", {"id": "$approval"}, "unknown_tool"),
    Attack("asks itself as a tool", "aleph_approve", {"id": "$approval"}, "unknown_tool"),
    Attack("lifts a freeze as a tool", "aleph_unfreeze", {}, "unknown_tool"),
]

LOOSER = [
    _create("a lease beyond the limit", "max_ttl", ttl_hours=25),
    _create("its own limit as an argument", "bad_input", ttl_hours=25, max_ttl_hours=100),
    _create("its own threshold", "bad_input", **BIG, human_approval_threshold="off"),
    _create("another session's name in the call", "bad_input", session="alice"),
    _create("a human by argument", "bad_input", peer={"human": True}),
    _create("a negative price", "bad_input", max_hourly_cost=-1),
    _create("no number of hours", "bad_input", ttl_hours=math.nan),
    _create("endless hours", "bad_input", ttl_hours=math.inf),
    _create("no hours", "bad_input", ttl_hours=0),
    _create("hours before now", "bad_input", ttl_hours=-4),
    _create("more hours than a year has", "bad_input", ttl_hours=1e300),
    _create("hours as a truth", "bad_input", ttl_hours=True),
    _create("hours in a list", "bad_input", ttl_hours=[24]),
    _create("hours of money", "bad_input", ttl_hours="5 USD"),
    _create("hours in words", "bad_input", ttl_hours="1e9"),
    _create("hours of the largest number", "bad_input", ttl_hours=1.7e308),
    _create("a price of money", "bad_input", max_hourly_cost="5 USD"),
    _create("a price in words", "bad_input", max_hourly_cost="1e9"),
    _create("no price", "bad_input", max_hourly_cost=math.nan),
    _create("units as a truth", "bad_input", compute_units=True),
    _create("units in words", "bad_input", compute_units="1e9"),
    _create("units of money", "bad_input", compute_units="5 USD"),
    _create("units below nothing", "bad_input", compute_units=-1),
    _create("a part of a unit", "bad_input", compute_units=0.5),
    _create("more units than 64 bits", "bad_input", compute_units=2**63),
    Attack("time taken back", "aleph_extend_vm", {"item_hash": "$hash", "additional_hours": -1}, "bad_input"),
    Attack(
        "time as a truth", "aleph_extend_vm", {"item_hash": "$hash", "additional_hours": True}, "bad_input"
    ),
    Attack(
        "time without end",
        "aleph_extend_vm",
        {"item_hash": "$hash", "additional_hours": math.inf},
        "bad_input",
    ),
]

OTHERS = [
    Attack("ends another's VM", "aleph_destroy_vm", {"item_hash": "$hash"}, "not_yours"),
    Attack("ends it by name", "aleph_destroy_vm", {"item_hash": "$name"}, "not_found"),
    Attack("ends it by a part", "aleph_destroy_vm", {"item_hash": "$hash8"}, "not_found"),
    Attack("ends all of them", "aleph_destroy_vm", {"item_hash": "%"}, "not_found"),
    Attack("ends all of them in SQL", "aleph_destroy_vm", {"item_hash": "' OR '1'='1"}, "not_found"),
    Attack(
        "extends another's VM", "aleph_extend_vm", {"item_hash": "$hash", "additional_hours": 1}, "not_yours"
    ),
    Attack(
        "extends it by name", "aleph_extend_vm", {"item_hash": "$name", "additional_hours": 1}, "not_found"
    ),
    Attack("waits for it by name", "aleph_wait_vm", {"item_hash": "$name", "timeout_s": 1}, "not_found"),
    Attack(
        "waits for its approval", "aleph_wait_vm", {"item_hash": "$approval", "timeout_s": 1}, "not_found"
    ),
    Attack("takes its name", "aleph_create_vm", {"name": "$name", "ttl_hours": 1}, "name_taken"),
    Attack(
        "freezes another's project", "aleph_freeze", {"reason": "x", "project": "/home/alice"}, "bad_input"
    ),
]

NAMES = [
    _create(why, "bad_input", name=name)
    for why, name in {
        "two lines": "box\nroot",
        "a line end at its end": "box\n",
        "a terminal's escape": "\x1b[2Jbox",
        "nothing visible": "\u200b",
        "a letter that is none": "b\u043ex",
        "written backwards": "box\u202ecod.exe",
        "a NUL": "box\x00",
        "a path": "../../etc/passwd",
        "an option": "-oProxyCommand=id",
        "a shell": "$(id)",
        "a quote": "box';--",
        "a hash": "0" * 64,
        "ten thousand letters": "x" * 10_000,
        "no text": None,
        "a list": ["box"],
    }.items()
]

PLACES = [
    _create(why, code, crn_hash=crn)
    for why, code, crn in (
        ("a file for a CRN", "not_found", "file:///etc/passwd"),
        ("the cloud's own address for a CRN", "not_found", "http://169.254.169.254/latest/meta-data"),
        ("this machine for a CRN", "not_found", "http://127.0.0.1:22"),
        ("a CRN behind a user", "not_found", "https://crn.example@127.0.0.1/"),
        ("a path for a CRN", "not_found", "../../" * 20),
        ("lines for a CRN", "not_found", "x\r\nHost: evil"),
        ("too much of a CRN", "bad_input", "x" * 301),
    )
] + [
    _create("an image by URL", "bad_input", os_image="http://169.254.169.254/"),
    _create("an image by path", "bad_input", os_image="/dev/zero"),
    _create("a second SSH key", "bad_input", ssh_pubkey="ssh-ed25519 AAAA\nssh-ed25519 BBBB"),
    _create("an SSH key with a command", "bad_input", ssh_pubkey='command="id" ssh-ed25519 AAAA'),
    _create("an SSH key with a NUL", "bad_input", ssh_pubkey="ssh-ed25519 AAAA\0"),
    _create("an SSH key of ten thousand letters", "bad_input", ssh_pubkey="ssh-ed25519 " + "A" * 10_000),
    _create("an SSH key of a type that is none", "bad_input", ssh_pubkey="ssh-dss AAAA"),
    _create("an image with a line end", "bad_input", os_image="ubuntu22\n"),
    _create("a private key", "bad_input", ssh_pubkey="-----BEGIN OPENSSH PRIVATE KEY-----"),
    _create("a file for a key", "bad_input", ssh_pubkey="/etc/passwd"),
]

ATTACKS = APPROVING + LOOSER + OTHERS + NAMES + PLACES

REQUESTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a yes beside the arguments": ("tools.call", {"name": "aleph_create_vm", "confirmed": True}, "bad_input"),
    "a caller beside the arguments": (
        "tools.call",
        {"name": "aleph_create_vm", "arguments": {"name": "mine"}, "caller": {"human": True}},
        "bad_input",
    ),
    "a request key of ten thousand letters": (
        "tools.call",
        {"name": "aleph_create_vm", "request_key": "k" * 10_000},
        "bad_input",
    ),
    "a request key that is a number": (
        "tools.call",
        {"name": "aleph_create_vm", "request_key": 1},
        "bad_input",
    ),
    "a tool that is a time": (
        "tools.call",
        {"name": msgpack.Timestamp(0), "arguments": {"name": "mine"}},
        "bad_input",
    ),
    "arguments that are a text": ("tools.call", {"name": "aleph_create_vm", "arguments": "x"}, "bad_input"),
    "a session without a name": ("mcp.open", {"preamble": {}}, "bad_input"),
    "a session of another's name, almost": ("mcp.open", {"nonce": "A" * 32}, "bad_input"),
    "a session's name with a line end": ("mcp.open", {"nonce": "0" * 32 + "\n"}, "bad_input"),
    "a preamble that is none": ("mcp.open", {"nonce": "0" * 32, "preamble": ["x"]}, "bad_input"),
    "a preamble with too much": (
        "mcp.open",
        {"nonce": "0" * 32, "preamble": {"env": {str(n): "" for n in range(65)}}},
        "bad_input",
    ),
    "a preamble with too long a text": (
        "mcp.open",
        {"nonce": "0" * 32, "preamble": {"cwd": "x" * 5000}},
        "bad_input",
    ),
    "a preamble within a preamble": (
        "mcp.open",
        {"nonce": "0" * 32, "preamble": {"env": {"a": {"b": "c"}}}},
        "bad_input",
    ),
}
"""What a hostile client sends besides tool calls: a method, its parameters, and the code."""

CLAIMS: dict[str, Any] = {
    "human": True,
    "uid": 0,
    "session": "$session",
    "client_pid": "1), the owner (pid 1",
    "limits": {"max_ttl_hours": 1000, "human_approval_threshold_units": 0},
    "approved": "$approval",
    "confirmed": True,
}
"""What the preamble of its session says."""


def _request(method: Any, params: Any = (), id_: Any = 1) -> bytes:
    return bytes(msgpack.packb([0, id_, method, list(params) if params == () else params]))


_DEEP = b"\x91" * 200_000
FRAMES: dict[str, bytes] = {
    "an array of four billion": b"\xdd\xff\xff\xff\xff",
    "a map of four billion": b"\x94\x00\x01\xa4ping\x91\xdf\xff\xff\xff\xff",
    "lists in lists": b"\x94\x00\x01\xa4ping\x91\x81\xa1x" + _DEEP,
    "nothing that msgpack knows": b"\xc1" * 64,
    "an extension type": b"\x94\x00\x01\xa4ping\x91\xc7\x04\x05abcd",
    "half a character": b"\x94\x00\x01\xa4ping\x91\x81\xa4name\xa4box\x80",
    "no list": _request("ping", "params"),
    "two parameters": _request("ping", [{}, {}]),
    "a map as the whole": bytes(msgpack.packb({"method": "ping"})),
    "a method that is a number": _request(7),
    "an id that is a text": _request("ping", (), "one"),
    "an id below nothing": _request("ping", (), -1),
    "a type that is none": bytes(msgpack.packb([9, 1, "ping", []])),
    "an answer that nobody asked for": bytes(msgpack.packb([1, 1, None, {"ok": True}])),
    "an approval as an answer": bytes(
        msgpack.packb([1, 1, None, {"action": "accept", "content": {"approve": True}}])
    ),
    "HTTP": b"POST /approvals HTTP/1.1\r\nHost: x\r\n\r\n",
    "JSON": b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}\n',
    # The last ones: their price is paid by whoever asks next.
    "a text of four gigabytes": b"\x94\x00\x01\xdb\xff\xff\xff\xff" + b"x" * 2_000_000,
    "a megabyte and a byte": _request("ping", [{"x": "x" * 1_048_576}]),
}
"""Each is answered with the code `malformed`; or closed, where the answer comes while it is still being written."""

ENVIRONMENTS: dict[str, tuple[dict[str, str], str]] = {
    "looser limits": (
        {
            "ALEPH_AGENT_MAX_TTL_HOURS": "1000",
            "ALEPH_AGENT_MAX_DAILY_SPEND": "off",
            "ALEPH_AGENT_HUMAN_APPROVAL_THRESHOLD": "off",
            "ALEPH_AGENT_COST_THRESHOLD": "100000 cr",
            "ALEPH_AGENT_MAX_CONCURRENT_VMS": "99",
            "ALEPH_AGENT_BALANCE_GUARD_PERCENT": "100",
            "ALEPH_AGENT_APPROVAL_BY_CLIENT": "1",
        },
        "above 20.00 credits (US$0.20) a human decides",
    ),
    "another key": ({"ALEPH_AGENT_PRIVATE_KEY_PATH": "/tmp/mine.key"}, "PRIVATE_KEY_PATH"),
    "another payer": ({"ALEPH_AGENT_HUMAN_ADDRESS": "0x" + "11" * 20}, "HUMAN_ADDRESS"),
    "another network": ({"ALEPH_AGENT_API_HOST": "http://127.0.0.1:1"}, "API_HOST"),
    "another inventory": ({"ALEPH_AGENT_INVENTORY_PATH": "/tmp/mine.db"}, "INVENTORY_PATH"),
}
"""What the environment of a hostile shim says, and a part of what its create above the threshold is told."""
