"""The programs of a guest that work on files and lines of text; importing this fills PROGRAMS."""

import posixpath

from aleph_devnet.shell import Io, UsageError, to_bytes
from aleph_devnet.shell_commands import flags, number, program
from aleph_devnet.shell_files import FilesError


@program("cat")
async def cat(io: Io, arguments: list[str]) -> int:
    """Print files or standard input."""
    io.print(await io.content(flags(arguments, "u")[1]))
    return 0


@program("ls")
async def ls(io: Io, arguments: list[str]) -> int:
    """The names in directories, one per line."""
    given, names = flags(arguments, "la1hA")
    status = 0
    for name in names or ["."]:
        path = io.path(name)
        if not io.shell.files.exists(path):
            status = 2 * io.fail(f"ls: cannot access '{name}': No such file or directory")
        elif not io.shell.files.is_dir(path):
            io.print(_entry(io, path, name, given))
        else:
            shown = [n for n in io.shell.files.listing(path) if given & {"a", "A"} or not n.startswith(".")]
            io.print("".join(_entry(io, posixpath.join(path, n), n, given) for n in shown))
    return status


def _entry(io: Io, path: str, name: str, given: set[str]) -> str:
    if "l" not in given:
        return name + "\n"
    mode = "drwxr-xr-x" if io.shell.files.is_dir(path) else "-rw-r--r--"
    return f"{mode} 1 root root {io.shell.files.size(path):8} {name}\n"


@program("mkdir")
async def mkdir(io: Io, arguments: list[str]) -> int:
    """Make directories."""
    given, names = flags(arguments, "p")
    for name in _some(names):
        io.shell.files.mkdir(io.path(name), parents="p" in given)
    return 0


@program("touch")
async def touch(io: Io, arguments: list[str]) -> int:
    """Make empty files."""
    for name in _some(arguments):
        if not io.shell.files.is_dir(io.path(name)):
            io.shell.files.write(io.path(name), b"", append=True)
    return 0


@program("rm", "rmdir")
async def rm(io: Io, arguments: list[str]) -> int:
    """Delete files, and with -r directories."""
    given, names = flags(arguments, "rRf")
    for name in names if "f" in given else _some(names):
        try:
            io.shell.files.remove(io.path(name), recursive=bool(given & {"r", "R"}))
        except FilesError as problem:
            if "f" not in given or io.shell.files.is_dir(io.path(name)):
                raise FilesError(f"cannot remove '{name}': {problem}") from None
    return 0


@program("cp")
async def cp(io: Io, arguments: list[str]) -> int:
    """Copy one file."""
    source, target = _pair(io, flags(arguments, "fp")[1])
    io.shell.files.write(target, io.shell.files.read(source))
    return 0


@program("mv")
async def mv(io: Io, arguments: list[str]) -> int:
    """Move one file."""
    source, target = _pair(io, flags(arguments, "f")[1])
    if source != target:
        content = io.shell.files.read(source)
        io.shell.files.remove(source)
        try:
            io.shell.files.write(target, content)
        except FilesError:
            io.shell.files.write(source, content)
            raise
    return 0


@program("wc")
async def wc(io: Io, arguments: list[str]) -> int:
    """Count lines, words and bytes."""
    given, names = flags(arguments, "lwc")
    content = await io.content(names)
    counts = {"l": content.count(b"\n"), "w": len(content.split()), "c": len(content)}
    io.print(" ".join(str(count) for letter, count in counts.items() if letter in (given or counts)) + "\n")
    return 0


@program("head")
async def head(io: Io, arguments: list[str]) -> int:
    """The first lines, or bytes."""
    if arguments[:1] == ["-c"] and len(arguments) > 1:
        io.print((await io.content(arguments[2:]))[: max(0, int(number(arguments[1])))])
        return 0
    count, names = _count(arguments)
    io.print(b"".join((await io.content(names)).splitlines(keepends=True)[:count]))
    return 0


@program("tail")
async def tail(io: Io, arguments: list[str]) -> int:
    """The last lines."""
    count, names = _count(arguments)
    lines = (await io.content(names)).splitlines(keepends=True)
    io.print(b"".join(lines[max(0, len(lines) - count) :]))
    return 0


@program("grep")
async def grep(io: Io, arguments: list[str]) -> int:
    """The lines that contain a fixed string."""
    given, rest = flags(arguments, "qvciFE")
    if not rest:
        raise UsageError("missing pattern")
    fold = bytes.lower if "i" in given else bytes
    wanted = fold(to_bytes(rest[0]))
    lines = (await io.content(rest[1:])).splitlines()
    found = [line for line in lines if (wanted in fold(line)) != ("v" in given)]
    if "c" in given:
        io.print(f"{len(found)}\n")
    elif "q" not in given:
        io.print(b"".join(line + b"\n" for line in found))
    return 0 if found else 1


def _some(names: list[str]) -> list[str]:
    if not names:
        raise UsageError("missing operand")
    return names


def _pair(io: Io, names: list[str]) -> tuple[str, str]:
    if len(names) != 2:
        raise UsageError("takes one source and one target")
    source, target = io.path(names[0]), io.path(names[1])
    if io.shell.files.is_dir(target):
        target = posixpath.join(target, posixpath.basename(source))
    return source, target


def _count(arguments: list[str]) -> tuple[int, list[str]]:
    if arguments[:1] == ["-n"] and len(arguments) > 1:
        return max(0, int(number(arguments[1]))), arguments[2:]
    if arguments and arguments[0].startswith("-") and len(arguments[0]) > 1:
        return max(0, int(number(arguments[0].lstrip("-n")))), arguments[1:]
    return 10, arguments
