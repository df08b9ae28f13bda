"""The script that takes a file, as a VM's own shell runs it in a home of its own."""

import os
import subprocess
from pathlib import Path

import pytest

from aleph_agentd.domain.guest_files import put_line


def put(home: Path, path: str, content: bytes, size: int | None = None) -> int:
    """Its exit code; `size` is what was to come."""
    line = put_line("0123", path, len(content) if size is None else size)
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    ran = subprocess.run(
        ["/bin/sh", "-c", "umask 022; " + line],
        cwd=home,
        env=environment,
        input=content,
        capture_output=True,
        check=False,
    )
    return ran.returncode


@pytest.mark.parametrize("name", ["file", "-rf", "a b", "two\nlines", "$(x)", "(", "!", "~/file"])
def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, name: str) -> None:
    """Cut anywhere: nothing new, nothing changed, nothing beside it."""
    place, content = tmp_path / name.removeprefix("~/"), b"new\0\n\n"
    for before in (None, b"old"):
        if before is not None:
            assert put(tmp_path, name, before) == 0
        for cut in range(len(content)):
            assert put(tmp_path, name, content[:cut], len(content)) == 1
        assert (place.read_bytes() if place.exists() else None) == before
        assert len(list(tmp_path.iterdir())) == (before is not None)
    assert put(tmp_path, name, content) == 0
    assert place.read_bytes() == content


def test_mode_and_links_stay(tmp_path: Path) -> None:
    """A program stays one, a secret is not shown, and what a link leads to is what is written."""
    for name, mode in (("program", 0o755), ("secret", 0o600)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
        (tmp_path / f"to-{name}").symlink_to(name)
        assert put(tmp_path, f"to-{name}", b"x") == 0
        assert (tmp_path / f"to-{name}").is_symlink()
        assert ((tmp_path / name).read_bytes(), (tmp_path / name).stat().st_mode & 0o777) == (b"x", mode)
    assert put(tmp_path, "fresh", b"x") == 0
    assert (tmp_path / "fresh").stat().st_mode & 0o777 == 0o644


def test_what_is_no_file_is_left_as_it_is(tmp_path: Path) -> None:
    """A directory gets nothing into it; a pipe does not block."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "folder/", "pipe", "missing/file"):
        assert put(tmp_path, name, b"x") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "pipe"]
