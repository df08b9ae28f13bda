"""Hundreds of failures of every kind, and the key, each half of it and its passphrase in nothing that is left."""

import base64
import contextlib
import json
import resource
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from support import broken_keys, failures, failures_outside
from support.broken_keys import PASSPHRASE
from support.daemon import DaemonProcess
from support.devnet import DevnetProcess
from support.echo import echo
from support.failures import WHOLE, ask
from support.full_disk import fill, small_disk
from support.needles import forms, needles, seen
from support.told import Told

AT_LEAST = 200
PLACES = ("key file", "key place", "tool", "attack", "request", "control", "line", "frame", "command", "settings",
          "reap-escrow", "shim", "network", "CRN", "inventory", "start on a broken inventory")  # fmt: skip
"""Each of them tells at least one kind of failure that no other has told before."""


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


def _leaks(secret: bytes, left: Mapping[str, bytes]) -> dict[str, list[str]]:
    """Where the key, or half of it, or the whole passphrase is, and in which form."""
    passphrase = forms(PASSPHRASE.encode())
    found = {
        name: seen(secret, hay) + [form for form, needle in passphrase.items() if needle in hay]
        for name, hay in left.items()
    }
    return {name: what for name, what in found.items() if what}


async def _start_on_each_key(told: Told, daemon: DaemonProcess, secret: bytes) -> None:
    for content in broken_keys.contents(secret).values():
        broken_keys.plant(daemon.key_file, content)
        await failures_outside.start(told, daemon, "start", limit_s=4)


async def test_the_key_is_in_nothing_that_hundreds_of_failures_leave_behind(
    net: DevnetProcess, tmp_path: Path
) -> None:
    """Debug log, /proc, answers, errors, tracebacks, output of commands, all files, copies and kill switches."""
    told = Told()
    async with echo(net.api_host) as ccn:
        tenant = DaemonProcess(net, environment=_settings(tmp_path, ccn.url))
        tenant.flags = ("-v",)
        secret = tenant.key_file.read_bytes()
        if WHOLE:
            await _start_on_each_key(told, tenant, secret)
        broken_keys.plant(tenant.key_file, secret[:16])
        with tenant as daemon:
            await failures.break_the_key(told, daemon, secret)
            assert (await daemon.call("aleph_create_vm", {"name": "kept", "ttl_hours": 1}))["name"] == "kept"
            await failures.call_wrongly(told, daemon)
            await failures.send_rubbish(told, daemon)
            await failures_outside.run_commands(told, daemon, tmp_path, secret)
            await failures_outside.reap_escrow(told, daemon, tmp_path)
            await failures_outside.misuse_the_shim(told, daemon, tmp_path)
            await failures_outside.fail_on_the_network(told, daemon, ccn)
            await failures_outside.lie_on_crns(told, daemon)
            await failures_outside.start(told, daemon, "start beside it")
            left = _files([daemon.folder, tmp_path], daemon.key_file)
            assert any(name.endswith("copy.db") for name in left)
            assert any("/escrow/" in name for name in left)
            await failures.break_the_inventory(told, daemon)
            left |= _dumped(daemon, tmp_path)
            await failures_outside.start(told, daemon, "start on a broken inventory")
            after = _files([daemon.folder, tmp_path], daemon.key_file)
            left |= {f"{name}, at the end": content for name, content in after.items()}
            assert b"DEBUG" in after[str(daemon.folder / "daemon.log")]
    places = told.by_place()
    print(f"{places.total()} different failures: {places}\n{told.kinds()}")
    assert places.total() >= AT_LEAST
    assert set(PLACES) - places.keys() == set(), "one of these broke nothing"
    assert _leaks(secret, {**left, "told": told.whole()}) == {}


def _settings(folder: Path, api_host: str) -> dict[str, str]:
    found = {"ESCROW_DIR": str(folder / "escrow"), "API_HOST": api_host, "MAX_CREATES_PER_HOUR": "999"}
    found |= {"MAX_CONCURRENT_VMS": "99", "MAX_DAILY_SPEND": "off"}
    return {f"ALEPH_AGENT_{name}": value for name, value in found.items()}


async def test_a_full_disk_holds_no_key_either(net: DevnetProcess, tmp_path: Path) -> None:
    """Refused creates, a copy that does not fit, kill switches that cannot be written; a rejected create besides."""
    told = Told()
    with small_disk(tmp_path / "disk") as disk:
        settings = {"INVENTORY_PATH": str(disk / "inventory.db"), "ESCROW_DIR": str(disk / "escrow")}
        tenant = DaemonProcess(net, environment={f"ALEPH_AGENT_{k}": v for k, v in settings.items()})
        tenant.flags = ("-v",)
        with tenant as daemon:
            secret = daemon.key_file.read_bytes()
            await daemon.call("aleph_create_vm", {"name": "kept", "ttl_hours": 1})
            ballast = fill(disk)
            await ask(told, "disk", daemon.call("aleph_create_vm", {"name": "late", "ttl_hours": 1}))
            await ask(
                told, "disk", daemon.call("aleph_extend_vm", {"item_hash": "kept", "additional_hours": 1})
            )
            for verb in ("backup.begin", "escrow.export", "sweep.run", "status"):
                await ask(told, "disk", daemon.control(verb))
            await failures_outside.start(told, daemon, "start beside it")
            ballast.unlink()
            await failures_outside.be_rejected(told, daemon)
            left = _files([daemon.folder, tmp_path], daemon.key_file)
            left |= _dumped(daemon, tmp_path)
    places = told.by_place()
    assert places["disk"] >= 2 and places["rejected"] >= 1, told.kinds()
    assert _leaks(secret, {**left, "told": told.whole()}) == {}
