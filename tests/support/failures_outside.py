"""What goes wrong around a daemon, provoked: its owner's commands, its settings, the shim, files, the network."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from aleph_agentd.adapters.config import Settings
from support import cli
from support.daemon import RICH_UNITS, DaemonProcess
from support.echo import Echo
from support.failures import EACH_S, WHOLE, ask
from support.told import Told

STATUSES = (400, 401, 403, 404, 418, 422, 429, 500, 502, 503)
COMMANDS = ("status", "spend", "vms", "vm nobody", "vm", "destroy nobody", "destroy", "extend nobody 1h",
            "extend nobody x", "extend", "extend nobody -1", "audit", "audit --verify", "audit --no-such",
            "orphans", "orphans adopt nobody", "orphans adopt", "orphans destroy nobody", "recover",
            "recover --no-such", "escrow", "escrow /proc/no", "backup", "backup /proc/no", "approvals",
            "approve ap-0", "approve", "deny ap-0", "deny", "passphrase set", "passphrase", "freeze --no-such",
            "unfreeze", "panic", "panic --no-such", "unlock", "key", "key show", "key show /no/such",
            "key show /", "key show /dev/null", "key new /proc/no", "key new", "key encrypt",
            "key encrypt /etc/passwd", "key encrypt /no/such", "events --no-such", "upgrade-check",
            "doctor --no-such", "install --no-such", "uninstall --no-such", "install --dry-run --system x",
            "no-such", "--no-such", "status --json=1", "vm \x1b[2J", "spend --no-such", "vms 1 2 3")  # fmt: skip
_CONFIGS = {
    "no TOML": "[",
    "a switch": "max_concurrent_vms = true",
    "misplaced": "[policy]\napi_host = 'x'",
    "above the tables": "max_concurrent_vms = 1",
    "policy": "policy = 1",
    "projects": "projects = 1",
    "no setting": "privat_key_path = 'x'",
    "a project's": "[projects.'/x']\nmax_daily_spent = 1",
    "a project": "[projects.x]\nmax_daily_spend = '1 cr'",
    "large": "#" * 2_000_000,
}
_SWITCHES = {
    "no JSON": "{", "a list": "[]", "another version": {"version": 9}, "no hash": {"item_hash": "x"},
    "no name": {"name": 7}, "no sender": {"sender": "x" * 9000}, "no hosts": {"api_hosts": []},
    "a hostile host": {"api_hosts": ["file:///etc/passwd"]}, "no URL": {"api_hosts": ["http://[x"]},
    "no instant": {"expires_at": "x"}, "no zone": {"expires_at": "2026-01-01"}, "no forgets": {"forgets": 0},
    "a string": {"forgets": ["x"]}, "another type": {"forgets": [{"type": "POST"}]},
}  # fmt: skip
_ASKED_BY_CREATES = ("/api/v0/price", "/api/v0/aggregates", "/api/v0/addresses", "/crns.json")
_ASKED_BY_SWEEPS = ("/api/v0/messages", "/v2/about", "/api/v0/costs")
_EFFECTS = ({"status": 418, "body": "\x1b[2Jno tea"}, {"drop": "before"}, {"garbage": True})


async def run_commands(told: Told, daemon: DaemonProcess, folder: Path, secret: bytes) -> None:
    """The owner's, with the daemon there and away; and the daemon's own, with each setting wrong."""
    lines = [["aleph-agentctl", *words.split(" ")] for words in COMMANDS]
    lines += [["aleph-agentctl", "escrow", str(folder / "by-hand")]]
    lines += [["aleph-agentctl", "backup", str(folder / "copy.db")]] * 2
    away = [[f"ALEPH_AGENT_RUNTIME_DIR={folder}/nobody", *words] for words in lines]
    settings = [_wrong(name, value) for name in Settings.model_fields for value in ("?!", "-1", secret.hex())]
    settings.append(["ALEPH_AGENT_PRIVAT_KEY=1", "aleph-agentd", "run"])
    for name, text in _CONFIGS.items():
        (folder / f"{name}.toml").write_text(text)
        settings.append([f"ALEPH_AGENT_CONFIG={folder}/{name}.toml", "aleph-agentd", "run", "-v"])
    settings += [["aleph-agentd", *words] for words in ([], ["run", "x"], ["reap-escrow"], ["no-such"])]
    for where, asked in (("command", lines), ("command, daemon away", away), ("settings", settings)):
        for code, said in await asyncio.to_thread(cli.run, asked, daemon.environment, folder):
            told.failed(where, code, said) if code else told.answered(said)


def _wrong(name: str, value: str) -> list[str]:
    return [f"ALEPH_AGENT_{name.upper()}={value}", "aleph-agentd", "run"]


async def reap_escrow(told: Told, daemon: DaemonProcess, folder: Path) -> None:
    """Kill switches that `aleph-agentctl escrow` wrote, each spoilt in its own way, and one for a dead network."""
    good = json.loads(next((folder / "by-hand").iterdir()).read_text())
    due = {"expires_at": "2020-01-01T00:00:00+00:00"}
    dead = due | {"api_hosts": ["http://127.0.0.1:1"]}
    foreign = due | {"forgets": [good["forgets"][0] | {"signature": "0x" + "11" * 65}]}
    unknown = due | {"item_hash": "ab" * 32}
    spoilt = folder / "spoilt"
    spoilt.mkdir()
    slow = {"dead": dead, "foreign": foreign, "unknown": unknown} if WHOLE else {}
    for name, change in (_SWITCHES | slow).items():
        text = change if isinstance(change, str) else json.dumps(good | change)
        (spoilt / f"{name}.kill-switch.json").write_text(text)
    (spoilt / "a link.kill-switch.json").symlink_to(daemon.key_file)
    (spoilt / "large.kill-switch.json").write_text("x" * 3_000_000)
    (spoilt / "raw.kill-switch.json").write_bytes(b"\xff")
    lines = [["aleph-agentd", "reap-escrow", str(place)] for place in (spoilt, "/no/such", daemon.key_file)]
    for code, said in await asyncio.to_thread(cli.run, lines, daemon.environment, folder):
        for line in said.splitlines():
            told.failed("reap-escrow", code, line.rpartition(".kill-switch.json: ")[2])


async def misuse_the_shim(told: Told, daemon: DaemonProcess, folder: Path) -> None:
    """Words that it does not take, lines that are none, a daemon that is away."""
    call = {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {"name": "aleph_fly", "arguments": {}},
    }
    lines = [b"{", b"\xff", b"[]", b"x" * 3_000_000, json.dumps(call).encode()]
    lines += [
        json.dumps(call | change).encode() for change in ({"method": "no/such"}, {"params": 1}, {"id": {}})
    ]
    for flags in ([], ["--no-such", "--help"]):
        for changes in ({}, {"ALEPH_AGENT_RUNTIME_DIR": str(folder / "nobody")}):
            for line in lines[: 2 if changes else None]:
                said = await asyncio.to_thread(_shim, daemon, flags, changes, line)
                for answer in said.splitlines():
                    told.failed("shim", "", answer)


def _shim(daemon: DaemonProcess, flags: list[str], changes: dict[str, str], line: bytes) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "aleph_agent_mcp", *flags],
        input=line + b"\n",
        env={**daemon.shim_environment(), **changes},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=EACH_S,
    )
    return done.stdout.decode(errors="replace")


async def start(told: Told, daemon: DaemonProcess, where: str, *, limit_s: float = EACH_S) -> None:
    """`aleph-agentd run` that does not come far, or is aborted with a traceback of every thread."""
    process = subprocess.Popen(
        [sys.executable, "-m", "aleph_agentd", "run", "-v"],
        env=daemon.environment,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.to_thread(process.communicate, timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        said, _ = await asyncio.to_thread(process.communicate, timeout=EACH_S)
    told.failed(where, process.returncode, said.decode())


async def fail_on_the_network(told: Told, daemon: DaemonProcess, ccn: Echo) -> None:
    """A CCN that answers with all that it was sent, then wrongly or not at all, everywhere a create asks."""
    for ccn.failing in STATUSES:
        for tool in ("aleph_check_balance", "aleph_list_crns"):
            await ask(told, "CCN", daemon.call(tool))
        await ask(told, "CCN", daemon.control("sweep.run"))
    ccn.failing, ccn.posts = 422, True
    await _create(told, "CCN", daemon)
    ccn.failing, ccn.posts = 0, False
    assert ccn.answered > len(STATUSES)
    for path in _ASKED_BY_CREATES + _ASKED_BY_SWEEPS:
        for effect in _EFFECTS if WHOLE else _EFFECTS[:1]:
            daemon.net.fault(effect, path=path)
            if path in _ASKED_BY_CREATES:
                await _create(told, "network", daemon)
            for verb in ("sweep.run", "recover"):
                await ask(told, "network", daemon.control(verb, {"address": daemon.address}))
            daemon.net.clear_faults()


async def _create(told: Told, where: str, daemon: DaemonProcess) -> None:
    await ask(
        told, where, daemon.call("aleph_create_vm", {"name": f"box-{os.urandom(4).hex()}", "ttl_hours": 1})
    )


async def lie_on_crns(told: Told, daemon: DaemonProcess) -> None:
    """CRNs that refuse, fail, hang up and answer rubbish when they are told of a VM."""
    effects = (
        {"status": 503, "body": "This CRN cannot host the requested instance at this time."},
        {"status": 402, "body": "pay"},
        {"status": 403, "body": "banned"},
    )
    for effect in effects:
        daemon.net.fault(effect, method="POST", path="/control/allocation/notify")
        await _create(told, "CRN", daemon)
        daemon.net.clear_faults()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            daemon.net.fault({"garbage": True}, path="/v2/about")
            await _create(told, "CRN", daemon)
    daemon.net.clear_faults()


async def be_rejected(told: Told, daemon: DaemonProcess) -> None:
    """The network takes a create that is shown a balance of before, and rejects it."""
    daemon.net.fault({"stale": True}, path="/api/v0/addresses")
    await ask(told, "rejected", daemon.call("aleph_check_balance"))
    daemon.net.credits(-RICH_UNITS + 1, address=daemon.address)
    await _create(told, "rejected", daemon)
    daemon.net.clear_faults()
