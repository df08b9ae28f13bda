"""Directories of kill switches: written privately and whole, read with suspicion."""

import os
import stat
from pathlib import Path

import pytest

from aleph_agentd import private_files
from aleph_agentd.adapters.escrow_dir import EscrowDir, names, read
from aleph_agentd.domain.escrow import MAX_BYTES, SUFFIX, NotOurs, write
from aleph_agentd.reap_escrow import reap
from support.escrow import a_switch


async def test_a_kill_switch_is_written_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask; and replaced in one step."""
    files = EscrowDir(tmp_path / "escrow")
    assert await files.names() == []
    old = os.umask(0)
    try:
        await files.write(f"box{SUFFIX}", "one")
        await files.write(f"box{SUFFIX}", "two")
    finally:
        os.umask(old)
    (path,) = (tmp_path / "escrow").iterdir()
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await files.remove(path.name)
    await files.remove(path.name)
    assert await files.names() == []


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    """And nothing half written beside it."""
    path = tmp_path / "file"
    private_files.write(path, [b"old"])

    def pieces():
        yield b"new"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        private_files.write(path, pieces())
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_hostile_directory_is_read_without_following_waiting_or_filling_memory(tmp_path: Path) -> None:
    """Links, pipes, directories, giants and rubbish are named and refused; other files are not looked at."""
    secret = tmp_path / "secret"
    secret.write_text(write(a_switch()))
    (tmp_path / f"link{SUFFIX}").symlink_to(secret)
    (tmp_path / f"broken{SUFFIX}").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / f"pipe{SUFFIX}")
    (tmp_path / f"folder{SUFFIX}").mkdir()
    with (tmp_path / f"giant{SUFFIX}").open("wb") as giant:
        giant.truncate(MAX_BYTES + 1)
    (tmp_path / f"bytes{SUFFIX}").write_bytes(b"\xff\xfe")
    found = names(tmp_path)
    assert set(found) == {f"{n}{SUFFIX}" for n in ("link", "broken", "pipe", "folder", "giant", "bytes")}
    for name in found:
        with pytest.raises(NotOurs):
            read(tmp_path / name)


def test_a_refused_file_is_told_in_one_line_and_fails_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its name cannot steer the terminal that it is shown on."""
    (tmp_path / f"\x1b[2J{SUFFIX}").write_text("{}")
    assert reap(tmp_path) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"?[2J{SUFFIX}: refused: not a kill switch of aleph-agentd, or of another version"


def test_a_directory_that_is_not_there_is_a_failure_and_an_empty_one_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A timer that watches the wrong place must be noticed."""
    assert reap(tmp_path / "nowhere") == 1
    assert "nowhere: No such file or directory" in capsys.readouterr().err
    assert reap(tmp_path) == 0
