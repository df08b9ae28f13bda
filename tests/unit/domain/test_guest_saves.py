"""What is taken out of a VM: which paths, the script in a shell of this machine, and answers that are none."""

import os
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from aleph_agentd.domain.guest_saves import Taken, check_paths, save_line, taken_of

NONCE = "0123456789abcdef"


def _fetched(path: Path, most: int = 10**6) -> Taken | None:
    line = save_line(NONCE, str(path), most)
    environment = {"PATH": os.environ["PATH"]}
    ran = subprocess.run(["/bin/sh", "-c", line], env=environment, capture_output=True, check=False)
    return taken_of(ran.stdout, NONCE) if ran.returncode == 0 else None


@pytest.mark.parametrize("name", ["file", "-rf", "a b", "$(touch x)", "'; touch x; '", "(", "!", "…"])
def test_a_file_comes_as_it_is_whatever_its_name(tmp_path: Path, name: str) -> None:
    """And no more of it than was asked for."""
    place, content = tmp_path / name, b"\0\n\xff" * 10
    place.write_bytes(content)
    assert _fetched(place) == Taken("file", content)
    assert _fetched(place, 7) == Taken("file", content[:7])
    assert list(tmp_path.iterdir()) == [place]


def test_a_directory_comes_as_a_tar(tmp_path: Path) -> None:
    """Relative to itself."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/result").write_bytes(b"42")
    taken = _fetched(tmp_path / "out")
    assert taken is not None
    assert taken.kind == "directory"
    with tarfile.open(fileobj=BytesIO(taken.content)) as tar:
        assert "./result" in tar.getnames()


def test_nothing_else_is_waited_for(tmp_path: Path) -> None:
    """No pipe, no device, nothing that is not there."""
    os.mkfifo(tmp_path / "pipe")
    assert _fetched(tmp_path / "pipe") is None
    assert _fetched(Path("/dev/zero")) is None
    assert _fetched(tmp_path / "none") is None


@pytest.mark.parametrize(
    "printed", [b"", b"file\n", b"x" * 40_000 + NONCE.encode() + b" file\n", b"0 file\n"]
)
def test_what_makes_no_sense_is_no_file(printed: bytes) -> None:
    """Nor what comes after more chatter than a login may print."""
    assert taken_of(printed, NONCE) is None


@pytest.mark.parametrize(
    "paths",
    [("relative",), ("",), ("/",), ("/a\nb",), ("/a\x1b[2J",), ("/" + "a" * 200,), ("~/x",), ("/a",) * 9],
)
def test_a_path_that_means_nothing_alone_is_refused(paths: tuple[str, ...]) -> None:
    """Before anything is created."""
    with pytest.raises(ValueError, match="path"):
        check_paths(paths)


def test_a_path_that_is_named_twice_is_taken_once() -> None:
    """In the order of the first."""
    assert check_paths(("/b", "/a", "/b")) == ("/b", "/a")
