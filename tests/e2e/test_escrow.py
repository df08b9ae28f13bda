"""The dead-man's switch and backups, over a real daemon and a devnet."""

import os
import pwd
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from support.daemon import DaemonProcess, eventually
from support.devnet import DevnetProcess

REAP = [sys.executable, "-m", "aleph_agentd", "reap-escrow"]
CTL = [sys.executable, "-m", "aleph_agentd.control"]
SECONDS = 1 / 3600


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetProcess]:
    """One local network."""
    with DevnetProcess(tmp_path_factory.mktemp("escrow-net")) as started:
        yield started


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users can reach, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="escrow-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def run(command: list[str], *arguments: object, **options) -> subprocess.CompletedProcess[str]:
    """A program, to its end."""
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=90, **options
    )


AS_NOBODY = """\
import asyncio, os, pwd, sys, tempfile
from contextlib import suppress
from aleph_agentd.__main__ import main
from aleph_agentd.adapters.aleph.keyless import open_keyless
from aleph_agentd.ports import NetworkTrouble
from aleph_agentd.reap_escrow import reap

async def ask_nobody():
    async with open_keyless() as messages:
        with suppress(NetworkTrouble):
            await messages(["http://127.0.0.1:1"], True).network_time()

asyncio.run(ask_nobody())
with tempfile.TemporaryDirectory() as empty:
    assert reap(__import__("pathlib").Path(empty)) == 0
nobody = pwd.getpwnam("nobody")
os.setgroups([]), os.setresgid(*[nobody.pw_gid] * 3), os.setresuid(*[nobody.pw_uid] * 3)
main(["reap-escrow", sys.argv[1]])
"""
"""Uses the program once before it drops its rights: this interpreter may lie where nobody can read it."""


def reap(escrow: Path) -> subprocess.CompletedProcess[str]:
    """`aleph-agentd reap-escrow`, of another user where we may become one, without anything of ours."""
    command = REAP
    if os.getuid() == 0:
        for path in [escrow, *escrow.iterdir()]:
            os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)
        command = [sys.executable, "-c", AS_NOBODY]
    return run(command, escrow, env={"PATH": os.environ["PATH"]}, cwd="/")


def is_over(net: DevnetProcess, created: Mapping[str, Any]) -> bool:
    """Whether the lease that the create answered is over by the network's clock."""
    shown_s = datetime.fromisoformat(created["ttl_expires_at"]).timestamp()
    return bool(net.state()["now"] > shown_s + 1)  # it is shown in whole seconds


async def test_reap_escrow_ends_what_is_due_when_everything_else_is_gone(net: DevnetProcess, place: Path):
    """Daemon, key and inventory are deleted; another user has the files; what is not due is left alone."""
    escrow = place / "escrow"
    with DaemonProcess(net) as daemon:
        short = await daemon.call("aleph_create_vm", {"name": "due", "ttl_hours": 8 * SECONDS})
        due = short["item_hash"]
        safe = (await daemon.call("aleph_create_vm", {"name": "safe", "ttl_hours": 4}))["item_hash"]
        done = run(CTL, "escrow", escrow, env=daemon.environment)
        assert done.returncode == 0, done.stderr
        assert sorted(os.listdir(escrow)) == [
            f"due-{due[:12]}.kill-switch.json",
            f"safe-{safe[:12]}.kill-switch.json",
        ]
        assert {stat.S_IMODE(path.stat().st_mode) for path in escrow.iterdir()} == {0o600}
        daemon.kill()
        daemon.key_file.unlink()
        shutil.rmtree(daemon.folder / "state")
        assert set(daemon.live_instances()) == {due, safe}
        await eventually(lambda: is_over(net, short), "the lease to end")
        first = reap(escrow)
        assert first.returncode == 0, first.stdout + first.stderr
        assert f"due-{due[:12]}.kill-switch.json: ended: the network says forgotten" in first.stdout
        assert f"safe-{safe[:12]}.kill-switch.json: ends " in first.stdout
        assert daemon.live_instances() == [safe]
        again = reap(escrow)
        assert again.returncode == 0
        assert f"due-{due[:12]}.kill-switch.json: is forgotten already" in again.stdout


async def test_a_file_from_before_an_extension_does_not_end_the_vm(net: DevnetProcess, place: Path):
    """The published extension is read first."""
    escrow = place / "escrow"
    with DaemonProcess(net) as daemon:
        vm = await daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 20 * SECONDS})
        assert run(CTL, "escrow", escrow, env=daemon.environment).returncode == 0
        await daemon.call("aleph_extend_vm", {"item_hash": "box", "additional_hours": 1})
        daemon.kill()
        await eventually(lambda: is_over(net, vm), "the end in the file")
        done = reap(escrow)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "in 59 min" in done.stdout
        assert daemon.live_instances() == [vm["item_hash"]]


async def test_the_daemon_keeps_the_escrow_directory_up_to_date(net: DevnetProcess, place: Path):
    """A file with the create, a later end with the extend, no file after the end; also over a restart."""
    escrow = place / "escrow"
    with DaemonProcess(net, environment={"ALEPH_AGENT_ESCROW_DIR": str(escrow)}) as daemon:
        vm = await daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1})
        file = escrow / f"box-{vm['item_hash'][:12]}.kill-switch.json"
        before = await eventually(lambda: file.exists() and file.read_text(), "the file")
        await daemon.call("aleph_extend_vm", {"item_hash": "box", "additional_hours": 1})
        await eventually(lambda: file.read_text() != before, "the later end")
        gone = escrow / file.name.replace("box", "gone")
        gone.write_text("of an installation that this daemon does not know")
        daemon.kill()
        file.unlink()
        daemon.start()
        await eventually(file.exists, "the file that was missing")
        await daemon.call("aleph_destroy_vm", {"item_hash": "box"})
        await eventually(lambda: not file.exists(), "the file to go")
        assert os.listdir(escrow) == [gone.name]


async def test_trouble_with_the_escrow_directory_is_an_alert_and_no_failed_create(
    net: DevnetProcess, place: Path
):
    """The VM runs; the alert goes when the files are there."""
    escrow = place / "escrow"
    escrow.write_text("a file where the directory should be")
    with DaemonProcess(net, environment={"ALEPH_AGENT_ESCROW_DIR": str(escrow)}) as daemon:
        vm = await daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1})
        assert vm["status"] == "running"

        async def alerts() -> int:
            return sum("ESCROW_DIR" in text for text in (await daemon.control("status"))["alerts"])

        async def quiet() -> bool:
            return not await alerts()

        await eventually(alerts, "the alert")
        escrow.unlink()
        await daemon.call("aleph_extend_vm", {"item_hash": "box", "additional_hours": 1})
        await eventually(lambda: escrow.is_dir() and os.listdir(escrow), "the file")
        await eventually(quiet, "the alert to go")
        await daemon.call("aleph_destroy_vm", {"item_hash": "box"})


async def test_a_backup_made_while_the_daemon_works_is_an_inventory(net: DevnetProcess, place: Path):
    """Restored over a lost one, it knows the VM, and ends it."""
    with DaemonProcess(net) as daemon:
        vm = await daemon.call("aleph_create_vm", {"name": "box", "ttl_hours": 1})
        file = place / "copy.db"
        done = run(CTL, "backup", file, env=daemon.environment)
        assert done.returncode == 0, done.stderr
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert [path.name for path in place.iterdir()] == [file.name]
        assert not list(daemon.database.parent.glob("*backup*"))
        refused = run(CTL, "backup", file, env=daemon.environment)
        assert refused.returncode == 1
        assert "--force" in refused.stderr
        assert run(CTL, "backup", "--force", file, env=daemon.environment).returncode == 0
        with closing(sqlite3.connect(file)) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        daemon.kill()
        for path in daemon.database.parent.glob("inventory.db*"):
            path.unlink()
        shutil.copy(file, daemon.database)
        daemon.start()
        assert (await daemon.row("box"))["item_hash"] == vm["item_hash"]
        await daemon.call("aleph_destroy_vm", {"item_hash": vm["item_hash"]})
        await eventually(daemon.leaves_nothing)


async def test_a_corrupt_database_is_named_and_kept_and_the_way_back_is_said(net: DevnetProcess):
    """One line, no traceback, exit 1; the file is as it was."""
    with DaemonProcess(net) as daemon:
        await daemon.call("aleph_check_balance")
        daemon.terminate()
        spoilt = b"\0" * 100 + daemon.database.read_bytes()[100:]
        daemon.database.write_bytes(spoilt)
        daemon.spawn()
        assert daemon.wait() == 1
        assert daemon.database.read_bytes() == spoilt
        last = daemon.log().strip().splitlines()[-1]
        for word in (str(daemon.database), "kept", "aleph-agentctl recover", "backup"):
            assert word in last
        assert "Traceback" not in daemon.log()
