"""Many failures, and the key in none of what is left of them."""

import base64
import json
import signal
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aleph_agentd.adapters.aleph.keys import KeyFile
from aleph_agentd.domain.errors import Refusal
from aleph_agentd.ports import KeyMissing
from support.daemon import DaemonProcess
from support.devnet import DevnetProcess
from support.needles import needles, seen

SECRET = bytes(range(1, 33))
HOSTILE: tuple[Any, ...] = (
    None,
    -1,
    2**63,
    "",
    "x" * 9000,
    "\x1b]0;\x07",
    "../../etc",
    [],
    {},
    True,
    "🔑",
    0.5,
)
TOOLS = ("create_vm", "destroy_vm", "extend_vm", "wait_vm", "list_my_vms", "list_crns", "check_balance")
FIELDS = ("name", "item_hash", "ttl_hours", "ssh_pubkey", "compute_units", "os_image", "crn_hash", "project")


def _broken() -> Iterator[bytes]:
    """Key files that hold the key, and are none."""
    hexed, coded = SECRET.hex().encode(), base64.b64encode(SECRET)
    for junk in (b"x", b" y", b"\0", b"\n\n;", b"=", b"\xff"):
        for form in (SECRET, hexed, hexed.upper(), coded):
            yield form + junk * 3
            yield junk * 3 + form
    for text in (hexed.decode(), coded.decode()):
        for shape in ({"version": 3, "crypto": text}, {"version": 3, "crypto": {"kdf": text}}, {"key": text}):
            yield json.dumps(shape).encode()


def test_the_search_finds_what_is_planted() -> None:
    """The positive control: each form, at each place of a longer text."""
    for form, needle in needles(SECRET).items():
        assert form in seen(SECRET, b"before" + needle + b"after")
    for shift in range(3):
        assert seen(SECRET, base64.b64encode(b"p" * shift + SECRET + b"tail"))


def _file_failures(folder: Path) -> list[str]:
    told = []
    for number, content in enumerate(_broken()):
        path = folder / f"{number}.key"
        path.write_bytes(content)
        path.chmod(0o600)
        keys = KeyFile(path)
        for attempt in (keys.open, lambda keys=keys: keys.unlock("passphrase")):
            with pytest.raises(KeyMissing) as refused:
                attempt()
            told.append("".join(traceback.format_exception(refused.value)) + keys.trouble)
    return told


async def _call_failures(daemon: DaemonProcess) -> list[str]:
    told = []
    for tool in TOOLS:
        for field in FIELDS:
            for value in HOSTILE:
                try:
                    told.append(
                        json.dumps(await daemon.call(f"aleph_{tool}", {field: value, "no_such": value}))
                    )
                except Refusal as refusal:
                    told.append("".join(traceback.format_exception(refusal)) + repr(vars(refusal)))
    for verb in (
        "key.unlock",
        "vms.get",
        "audit.list",
        "passphrase.set",
        "panic",
        "backup.read",
        "approvals.deny",
    ):
        for field in ("passphrase", "item_hash", "after", "id"):
            try:
                told.append(json.dumps(await daemon.control(verb, {field: HOSTILE[3:][len(told) % 6]})))
            except Refusal as refusal:
                told.append("".join(traceback.format_exception(refusal)) + repr(vars(refusal)))
    return told


async def test_the_key_is_in_nothing_that_failures_leave_behind(net: DevnetProcess, tmp_path: Path) -> None:
    """Debug log, two files of /proc, answers, errors, tracebacks, and all files of the daemon after a SIGABRT.

    The 200 are different texts, of broken key files and hostile calls; HTTP and SDK errors are not among them.
    """
    told = _file_failures(tmp_path)
    tenant = DaemonProcess(net, environment={"ALEPH_AGENT_ESCROW_DIR": str(tmp_path / "escrow")})
    tenant.flags = ("-v",)
    secret = tenant.key_file.read_bytes()
    with tenant as daemon:
        await daemon.call("aleph_create_vm", {"name": "kept"})
        told += await _call_failures(daemon)
        told += [json.dumps(await daemon.control(verb)) for verb in ("status", "audit.list", "vms.list")]
        assert len(set(told)) >= 200, len(set(told))
        proc = Path(f"/proc/{daemon.pid}")
        left = {name: (proc / name).read_bytes() for name in ("environ", "cmdline")}
        daemon.send(signal.SIGABRT)
        assert daemon.wait() == -signal.SIGABRT
        left["log"], left["told"] = daemon.log().encode(), "\n".join(told).encode()
        for path in (p for root in (daemon.folder, tmp_path) for p in root.rglob("*") if p.is_file()):
            if path.suffix != ".key":
                left[str(path)] = path.read_bytes()
        assert not [name for name in left if Path(name).name.startswith("core")]
        assert any("inventory.db" in name for name in left)
        leaks = {name: seen(secret, hay) + seen(SECRET, hay) for name, hay in left.items()}
        assert not {name: forms for name, forms in leaks.items() if forms}
        assert seen(secret, daemon.key_file.read_bytes()) == ["raw"]
