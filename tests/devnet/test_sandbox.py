"""Guests that run any command, in a bubblewrap: what they see of this machine, and that they end."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aleph_devnet import sandbox
from aleph_devnet.__main__ import main
from aleph_devnet.sandbox import Sandbox

possible = pytest.mark.skipif(bool(sandbox.trouble()), reason=sandbox.trouble())


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Sandbox]:
    """One that has booted."""
    made = Sandbox(tmp_path / "home", "vm-1")
    await made.start()
    yield made
    await made.stop()


async def run(box: Sandbox, command: str) -> tuple[int, str]:
    """Exit code, and both streams together."""
    printed = bytearray()

    async def read() -> bytes:
        return b""

    async def write(out: bytes, err: bytes) -> None:
        printed.extend(out + err)

    async with asyncio.timeout(60):
        code = await box.run(command.encode(), read, write)
    return code, printed.decode()


@possible
async def test_its_home_is_its_own_and_the_rest_cannot_be_written(box: Sandbox, tmp_path: Path) -> None:
    """Neither this user's files nor a secret of this machine are in there."""
    code, text = await run(
        box, "id -u; pwd; hostname; echo kept > f; ls -a /root; ls /; touch /usr/x; cat /etc/shadow"
    )
    assert code != 0
    assert text.startswith("0\n/root\nvm-1\n.\n..\nf\n")
    assert "Read-only" in text
    assert not {"home", "mnt", "srv", tmp_path.parts[1]} - {"tmp", "var", "root"} & set(text.split())
    assert (tmp_path / "home" / "f").read_text() == "kept\n"
    assert (await run(box, f"ls {tmp_path}"))[0] != 0


@possible
async def test_it_has_no_network_and_sees_no_process_of_ours(box: Sandbox) -> None:
    """Only a loopback of its own; killing all that it sees kills nothing of ours."""
    _, devices = await run(box, "cat /proc/net/dev")
    assert re.findall(r"^\s*(\w+):\s+\d+\s", devices, re.MULTILINE) == ["lo"]
    _, text = await run(box, "echo /proc/[0-9]*; cat /proc/self/status")
    assert "/proc/1 " in text
    assert f"/proc/{os.getpid()} " not in text
    assert re.search(r"CapEff:\s+0+\n", text)


@possible
async def test_what_runs_in_it_ends_with_it(tmp_path: Path) -> None:
    """Also what has left its session; and a VM that is off runs nothing."""
    box = Sandbox(tmp_path / "home", "vm-1")
    await box.start()
    await run(
        box, "setsid sh -c 'while :; do date +%s%N > alive; sleep 0.05; done' >/dev/null 2>&1 </dev/null &"
    )
    waiting = asyncio.create_task(run(box, ": > begun; sleep 1000"))
    alive, begun = tmp_path / "home" / "alive", tmp_path / "home" / "begun"
    async with asyncio.timeout(30):
        while not (alive.exists() and begun.exists()):
            await asyncio.sleep(0.02)
    await box.stop()
    assert (await waiting)[0] == 255
    before = alive.read_text()
    await asyncio.sleep(0.3)
    assert alive.read_text() == before
    with pytest.raises(OSError, match="off"):
        await run(box, "true")


@possible
async def test_a_toolchain_is_lent_to_it_to_read(tmp_path: Path) -> None:
    """Its programs are on the PATH, after the machine's own; a Python is there in any case."""
    tool = tmp_path / "tools" / "bin" / "greet"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\necho hello\n")
    tool.chmod(0o755)
    box = Sandbox(tmp_path / "home", "vm-1", tmp_path / "tools")
    await box.start()
    try:
        assert await run(box, "greet; python3 -c 'print(6*7)'") == (0, "hello\n42\n")
        assert (await run(box, "echo >> $(command -v greet)"))[0] != 0
    finally:
        await box.stop()
    assert tool.read_text() == "#!/bin/sh\necho hello\n"


def test_without_bubblewrap_the_mode_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And runs nothing in place of it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox.trouble.cache_clear()
    try:
        assert main(["run", "--dir", str(tmp_path / "net"), "--port", "0", "--guest", "bwrap"]) == 1
    finally:
        sandbox.trouble.cache_clear()
    assert "--guest bwrap: bubblewrap is not installed" in capsys.readouterr().err
