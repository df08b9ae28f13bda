"""What aleph-agentd's scripts that look and save do in a guest without a real shell."""

import tarfile
from io import BytesIO

from aleph_devnet.shell import Io, UsageError
from aleph_devnet.shell_commands import number
from aleph_devnet.shell_files import Files


def look(io: Io, words: list[str], running: int) -> int:
    """Nobody is logged in but who asks, and nothing is busy but jobs."""
    load = f"{running}.00"
    io.print(f"{words[0]} {load} {load} 1 {running}\n")
    return 0


def save(io: Io, words: list[str]) -> int:
    """A file as it is, a directory as a tar."""
    if len(words) != 3:
        raise UsageError("three words")
    path, most, nonce = io.path(words[0]), int(number(words[1])), words[2]
    files = io.shell.files
    if not files.exists(path):
        return io.fail("there is no such file or directory")
    if files.is_dir(path):
        io.print(f"{nonce} directory\n")
        io.print(_tar(files, path)[:most])
    else:
        io.print(f"{nonce} file\n")
        io.print(files.read(path)[:most])
    return 0


def _tar(files: Files, path: str) -> bytes:
    """The files right below a directory."""
    whole = BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for name in files.listing(path):
            place = f"{path.rstrip('/')}/{name}"
            if not files.is_dir(place):
                entry = tarfile.TarInfo(f"./{name}")
                entry.size = files.size(place)
                tar.addfile(entry, BytesIO(files.read(place)))
    return whole.getvalue()
