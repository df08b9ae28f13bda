"""Hundreds of failures of every kind, and the key, each half of it and its passphrase in nothing that is left."""

import asyncio
import base64
import contextlib
import json
import os
import re
import resource
import secrets
import signal
import socket
import subprocess
import sys
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import msgpack
import pytest

from aleph_agentd.domain.errors import Refusal
from support import broken_keys, cli
from support.attacks import ATTACKS, FRAMES, REQUESTS
from support.broken_keys import PASSPHRASE
from support.daemon import DaemonProcess
from support.devnet import DevnetProcess
from support.echo import Echo, echo
from support.needles import forms, needles, seen

AT_LEAST = 200
EACH_S = 20.0
"""No call of these may take longer; one that does is told as a failure of its own."""
WHOLE = "SECRETS_WHOLE" in os.environ
"""`make secrets`: a daemon is also started on each broken key."""
STATUSES = (400, 401, 403, 404, 418, 422, 429, 500, 502, 503)
HOSTILE = (None, -1, 2**63, "", "x" * 9000, "\x1b]0;\x07", "../../etc", [], {}, True, "🔑", 0.5)
FIELDS = ("name", "item_hash", "ttl_hours", "ssh_pubkey", "compute_units", "os_image", "crn_hash")
VERBS = ("key.unlock", "vms.get", "vms.list", "ledger.list", "audit.list", "audit.verify", "passphrase.set",
         "panic", "panic.status", "unfreeze", "backup.read", "escrow.export", "approvals.deny",
         "approvals.approve", "orphans.adopt", "orphans.destroy", "recover", "sweep.run", "spend", "no.such",
         "hello", "mcp.open", "tools.call")  # fmt: skip
COMMANDS = ("status", "spend", "vms", "vm nobody", "vm", "destroy nobody", "destroy", "extend nobody 1h",
            "extend nobody x", "audit", "audit --verify", "orphans", "orphans adopt nobody", "recover",
            "escrow", "escrow /proc/no", "backup", "backup /proc/no", "approvals", "approve ap-0", "deny ap-0",
            "passphrase set", "unfreeze", "panic", "unlock", "key", "key show", "key show /no/such",
            "key show /", "key show /dev/null", "key new /proc/no", "key encrypt", "key encrypt /etc/passwd",
            "events --no-such", "upgrade-check", "no-such", "--no-such", "status --json=1", "vm \x1b[2J")  # fmt: skip


_WENT_WELL = ", answered"
_VARIES = re.compile(r"0x\w+|\b[0-9a-f]{8,}|\d{5,}|\d+-\d+-\d+T\S+|\bpid \d+|\d+\.\d+|/\S+")


class Told:
    """What failures said, by kind."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    def add(self, kind: str, text: object) -> None:
        """One failure."""
        self.texts.append((kind, str(text)))

    def different(self) -> Counter[str]:
        """How many failures differ in more than a hash, an instant, a long number or a path; by kind."""
        failed = [(kind, text) for kind, text in self.texts if not kind.endswith(_WENT_WELL)]
        plain = {(kind, _VARIES.sub("#", text)[:1000]) for kind, text in failed}
        return Counter(kind for kind, _ in plain)

    def refusal(self, kind: str, refusal: BaseException) -> None:
        """Its text, its fields, and the traceback."""
        where = "".join(traceback.format_exception(refusal)[-1:])
        self.add(kind, f"{refusal!r} {vars(refusal)} {where}")


@pytest.mark.parametrize("secret", [bytes(range(1, 33)), b"\xfb\xff\xfe" * 10 + b"?>", PASSPHRASE.encode()])
def test_the_search_finds_what_is_planted(secret: bytes) -> None:
    """The positive control: each form of the whole and of each half, at each place of a longer text."""
    for form, needle in needles(secret).items():
        assert form in seen(secret, b"before" + needle + b"after")
    for part in (secret, secret[: len(secret) // 2], secret[len(secret) // 2 :]):
        for planted in (
            repr(part),
            repr({"key": part}),
            json.dumps(list(part)),
            f"0x{part.hex()}",
            f"{list(part)}",
        ):
            assert seen(secret, planted.encode()), planted
        for shift in range(3):
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                assert seen(secret, encode(b"p" * shift + part + b"tail"))
    assert not seen(secret, b"nothing of it")


async def _ask(told: Told, kind: str, asking: Any) -> None:
    try:
        async with asyncio.timeout(EACH_S):
            told.add(f"{kind}{_WENT_WELL}", json.dumps(await asking, default=str))
    except (Refusal, OSError) as refusal:  # a time-out is an OSError, too
        told.refusal(kind, refusal)


async def _break_the_key(told: Told, daemon: DaemonProcess, secret: bytes) -> None:
    """A running daemon finds each of them in its key's place, and is asked to sign."""
    path = daemon.key_file
    broken = {name: lambda content=content: broken_keys.plant(path, content) for name, content in broken_keys.contents(secret).items()}  # fmt: skip
    placed = broken_keys.places(secret)
    broken |= {name: lambda put=put: (broken_keys.clear(path), put(path)) for name, put in placed.items()}
    for put in broken.values():
        put()
        await _ask(told, "key", daemon.call("aleph_create_vm", {"name": "x", "ttl_hours": 1}))
        await _ask(told, "status", daemon.control("status"))
        for passphrase in ("wrong", PASSPHRASE):
            await _ask(told, "unlock", daemon.control("key.unlock", {"passphrase": passphrase}))
    broken_keys.plant(path, broken_keys.sealed(secret))
    await _ask(told, "unlock", daemon.control("key.unlock", {"passphrase": PASSPHRASE[:-1]}))
    assert (await daemon.control("key.unlock", {"passphrase": PASSPHRASE}))["address"] == daemon.address


async def _call_wrongly(told: Told, daemon: DaemonProcess) -> None:
    tools = [tool["name"] for tool in (await daemon.control("tools.list"))["tools"]]
    for tool in tools:
        for number, field in ((n, f) for n in (0, 5) for f in FIELDS):
            value = HOSTILE[(number + len(tool) + len(field)) % len(HOSTILE)]
            await _ask(told, "tool", daemon.call(tool, {field: value, "no_such": value}))
    for attack in ATTACKS:
        await _ask(told, "attack", daemon.call(attack.tool, attack.arguments))
    for method, params, _ in REQUESTS.values():
        await _ask(told, "request", daemon.control(method, params))
    for number, verb in enumerate(VERBS):
        for field in ("passphrase", "item_hash", "after", "id", "limit", "reason"):
            value = HOSTILE[(number + len(field)) % len(HOSTILE)]
            await _ask(told, "control", daemon.control(verb, {field: value}))


def _frame(daemon: DaemonProcess, frame: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(2)
        door.connect(str(daemon.agent_socket))
        with contextlib.suppress(OSError):
            door.sendall(frame)
            door.shutdown(socket.SHUT_WR)
            return door.recv(65536)
    return b"closed"


async def _send_rubbish(told: Told, daemon: DaemonProcess) -> None:
    for frame in FRAMES.values():
        told.add("frame", await asyncio.to_thread(_frame, daemon, frame))
    opening = bytes(msgpack.packb([0, 1, "mcp.open", [{"nonce": secrets.token_hex(16), "preamble": {}}]]))
    for line in (b"{", b"[]", b'{"id":1}', b'{"jsonrpc":"2.0","id":1,"method":"no/such"}', b"\xff", b"null"):
        told.add("line", await asyncio.to_thread(_frame, daemon, opening + line + b"\n"))


async def _command(told: Told, daemon: DaemonProcess, folder: Path) -> None:
    lines = [words.split(" ") for words in COMMANDS]
    lines += [["escrow", str(folder / "escrow-2")], ["backup", str(folder / "copy.db")]]
    away = {**daemon.environment, "ALEPH_AGENT_RUNTIME_DIR": str(folder / "nobody")}
    for kind, environment in (("command", daemon.environment), ("command, daemon away", away)):
        for code, said in await asyncio.to_thread(cli.run, lines, environment, folder):
            told.add(kind if code else f"{kind}{_WENT_WELL}", f"{code} {said}")
    wrong = {
        "an amount": {"MIN_BALANCE": "x"},
        "a typing error": {"MIN_BALANC": "1"},
        "an IP": {"API_HOST": "ftp://x"},
    }
    for name, settings in wrong.items():
        hostile = {f"ALEPH_AGENT_{key}": value for key, value in settings.items()}
        told.add(f"start with {name}", await asyncio.to_thread(_start, daemon, hostile))
    told.add("start beside it", await asyncio.to_thread(_start, daemon, {}))


def _start(daemon: DaemonProcess, changes: dict[str, str], *, limit_s: float = EACH_S) -> str:
    """`aleph-agentd run` that does not come far."""
    command = [sys.executable, "-m", "aleph_agentd", "run", "-v"]
    process = subprocess.Popen(
        command,
        env={**daemon.environment, **changes},
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        said, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        said, _ = process.communicate(timeout=EACH_S)
    return f"{process.returncode} {said.decode()}"


async def _fail_on_the_network(told: Told, daemon: DaemonProcess, ccn: Echo) -> None:
    """It answers with what it was sent, headers and body; then with rubbish; then nothing."""
    for status in STATUSES:
        ccn.failing = status
        for tool in ("aleph_check_balance", "aleph_list_crns"):
            await _ask(told, "network", daemon.call(tool))
        await _ask(told, "network", daemon.control("sweep.run"))
    ccn.failing, ccn.posts = 422, True
    await _ask(told, "network", daemon.call("aleph_create_vm", {"name": "quoted", "ttl_hours": 1}))
    ccn.failing, ccn.posts = 0, False
    for effect in ({"garbage": True}, {"drop": "before"}, {"status": 500, "body": "\x1b[2J" + "x" * 5000}):
        daemon.net.fault(effect)
        await _ask(told, "network", daemon.call("aleph_create_vm", {"name": f"x{len(told.texts)}"}))
        await _ask(told, "network", daemon.control("sweep.run"))
        daemon.net.clear_faults()
    assert ccn.answered > len(STATUSES)


async def _break_the_inventory(told: Told, daemon: DaemonProcess) -> None:
    for name in ("inventory.db", "inventory.db-wal"):
        path = daemon.database.with_name(name)
        if path.exists():
            path.write_bytes(b"rubbish " * 4096)
    for tool in ("aleph_list_my_vms", "aleph_check_balance", "aleph_create_vm", "aleph_spend_report"):
        await _ask(told, "inventory", daemon.call(tool, {"name": "late"} if "create" in tool else {}))
    for verb in ("status", "vms.list", "audit.verify", "backup.begin", "recover", "escrow.export"):
        await _ask(told, "inventory", daemon.control(verb))


def _files(roots: list[Path], but: Path) -> dict[str, bytes]:
    """Every file, with its name: a name can leak as well."""
    found = {}
    for path in (path for root in roots for path in root.rglob("*") if path.is_file() and path != but):
        found[str(path)] = str(path).encode() + b"\n" + path.read_bytes()
    return found


def _dumped(daemon: DaemonProcess, folder: Path) -> dict[str, bytes]:
    """What a core dump gives: the limit is lifted from outside, and the process killed by SIGABRT."""
    proc = Path(f"/proc/{daemon.pid}")
    left = {str(proc / name): (proc / name).read_bytes() for name in ("environ", "cmdline", "comm", "status")}
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    with contextlib.suppress(OSError, ValueError):  # a root without CAP_SYS_RESOURCE may not
        resource.prlimit(daemon.pid, resource.RLIMIT_CORE, unlimited)
    daemon.send(signal.SIGABRT)
    assert daemon.wait() == -signal.SIGABRT
    places = (daemon.folder, folder, Path("/"), Path("/tmp"))
    assert not [core for place in places for core in place.glob(f"core*{proc.name}*")]
    return left


async def test_the_key_is_in_nothing_that_hundreds_of_failures_leave_behind(
    net: DevnetProcess, tmp_path: Path
) -> None:
    """Debug log, /proc, answers, errors, tracebacks, output of commands, all files, copies and kill switches."""
    told = Told()
    async with echo(net.api_host) as ccn:
        changes = {"ALEPH_AGENT_ESCROW_DIR": str(tmp_path / "escrow"), "ALEPH_AGENT_API_HOST": ccn.url}
        tenant = DaemonProcess(net, environment=changes)
        tenant.flags = ("-v",)
        secret = tenant.key_file.read_bytes()
        broken_keys.plant(tenant.key_file, secret[:16])
        if WHOLE:
            for name, content in broken_keys.contents(secret).items():
                broken_keys.plant(tenant.key_file, content)
                told.add(f"start on {name}", await asyncio.to_thread(_start, tenant, {}, limit_s=4))
            broken_keys.plant(tenant.key_file, secret[:16])
        with tenant as daemon:
            await _break_the_key(told, daemon, secret)
            assert (await daemon.call("aleph_create_vm", {"name": "kept", "ttl_hours": 1}))["name"] == "kept"
            await _call_wrongly(told, daemon)
            await _send_rubbish(told, daemon)
            await _command(told, daemon, tmp_path)
            await _fail_on_the_network(told, daemon, ccn)
            left = _files([daemon.folder, tmp_path], daemon.key_file)
            assert any(name.endswith("copy.db") for name in left)
            assert any("/escrow/" in name for name in left)
            await _break_the_inventory(told, daemon)
            left |= _dumped(daemon, tmp_path)
            told.add("start on a broken inventory", await asyncio.to_thread(_start, daemon, {}))
            left |= {
                f"{name} ": text for name, text in _files([daemon.folder, tmp_path], daemon.key_file).items()
            }
    left["told"] = "\n".join(text for _, text in told.texts).encode()
    by_kind = told.different()
    assert sum(by_kind.values()) >= AT_LEAST, by_kind
    print(f"{sum(by_kind.values())} different failures: {by_kind}")
    leaks = {name: seen(secret, hay) + [f for f, n in forms(PASSPHRASE.encode()).items() if n in hay] for name, hay in left.items()}  # fmt: skip
    assert not {name: found for name, found in leaks.items() if found}
