"""The programs of a guest: small, pure stand-ins for the Unix ones; importing this fills PROGRAMS."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from aleph_devnet.shell import PROGRAMS, ExitError, Io, Program, UsageError
from aleph_devnet.shell_files import MAX_BYTES

STARTED = time.monotonic()
MAX_SLEEP = 30.0
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"'}


def program(*names: str) -> Callable[[Program], Program]:
    """Register a function under the names by which the shell calls it."""

    def register(run: Program) -> Program:
        PROGRAMS.update(dict.fromkeys(names, run))
        return run

    return register


def flags(arguments: list[str], allowed: str) -> tuple[set[str], list[str]]:
    """Single-letter options and the rest; raises UsageError for one that is not known."""
    given: set[str] = set()
    rest: list[str] = []
    for position, argument in enumerate(arguments):
        if argument == "--":
            rest += arguments[position + 1 :]
            break
        if len(argument) > 1 and argument.startswith("-"):
            given |= set(argument[1:])
        else:
            rest.append(argument)
    if given - set(allowed):
        raise UsageError(f"invalid option -- '{min(given - set(allowed))}'")
    return given, rest


def number(text: str) -> float:
    """A finite number of sane size, or UsageError."""
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"invalid number '{text[:50]}'") from None
    if not -1e9 <= value <= 1e9:
        raise UsageError("number out of range")
    return value


@program("uname")
async def uname(io: Io, arguments: list[str]) -> int:
    """Kernel, host and machine."""
    given, _ = flags(arguments, "asnrvmo")
    fields = {
        "s": "Linux",
        "n": io.shell.hostname,
        "r": "6.1.0-devnet",
        "v": "#1 SMP aleph-devnet",
        "m": "x86_64",
        "o": "GNU/Linux",
    }
    wanted = fields if "a" in given else given or {"s"}
    io.print(" ".join(text for letter, text in fields.items() if letter in wanted) + "\n")
    return 0


@program("echo")
async def echo(io: Io, arguments: list[str]) -> int:
    """Print the arguments."""
    silent = arguments[:1] == ["-n"]
    io.print(" ".join(arguments[silent:]) + ("" if silent else "\n"))
    return 0


@program("printf")
async def printf(io: Io, arguments: list[str]) -> int:
    """Print a format with %s, %d and %%, without the format's reuse."""
    if not arguments:
        raise UsageError("missing operand")
    values = iter(arguments[1:])
    out: list[str] = []
    letters = iter(arguments[0])
    for letter in letters:
        following = next(letters, "") if letter in "\\%" else ""
        if letter == "\\":
            out.append(ESCAPES.get(following, "\\" + following))
        elif letter == "%" and following in ("s", "d"):
            value = next(values, "" if following == "s" else "0")
            out.append(value if following == "s" else str(int(number(value))))
        else:
            out.append("%" if following == "%" else letter + following)
    io.print("".join(out))
    return 0


@program("pwd")
async def pwd(io: Io, _arguments: list[str]) -> int:
    """The working directory."""
    io.print(io.shell.cwd + "\n")
    return 0


@program("cd")
async def cd(io: Io, arguments: list[str]) -> int:
    """Change the working directory."""
    name = arguments[0] if arguments else "/root"
    path = io.path(name)
    if not io.shell.files.is_dir(path):
        return io.fail(f"sh: cd: can't cd to {name}")
    io.shell.cwd = io.shell.variables["PWD"] = path
    return 0


@program("true", ":", "sync")
async def true(_io: Io, _arguments: list[str]) -> int:
    """Succeed."""
    return 0


@program("false")
async def false(_io: Io, _arguments: list[str]) -> int:
    """Fail."""
    return 1


@program("exit", "logout")
async def leave(io: Io, arguments: list[str]) -> int:
    """End the shell."""
    raise ExitError(int(number(arguments[0])) % 256 if arguments else io.shell.status)


@program("whoami")
async def whoami(io: Io, _arguments: list[str]) -> int:
    """Always root."""
    io.print("root\n")
    return 0


@program("id")
async def identity(io: Io, arguments: list[str]) -> int:
    """Always root."""
    io.print("0\n" if "-u" in arguments else "uid=0(root) gid=0(root) groups=0(root)\n")
    return 0


@program("hostname")
async def hostname(io: Io, _arguments: list[str]) -> int:
    """The guest's name."""
    io.print(io.shell.hostname + "\n")
    return 0


@program("env", "printenv", "set")
async def env(io: Io, _arguments: list[str]) -> int:
    """All variables."""
    io.print("".join(f"{name}={value}\n" for name, value in sorted(io.shell.variables.items())))
    return 0


@program("export")
async def export(io: Io, arguments: list[str]) -> int:
    """Set variables; every variable is exported here."""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not name.isidentifier():
            raise UsageError(f"{name[:50]}: bad variable name")
        if equals:
            io.shell.assign(name, value)
    return 0


@program("date")
async def date(io: Io, arguments: list[str]) -> int:
    """The time in UTC; `+%s` for seconds."""
    now = datetime.now(UTC)
    form = next((a for a in arguments if a.startswith("+")), "")
    io.print(
        (str(int(now.timestamp())) if form == "+%s" else now.strftime("%a %b %e %H:%M:%S UTC %Y")) + "\n"
    )
    return 0


@program("sleep")
async def sleep(_io: Io, arguments: list[str]) -> int:
    """Wait, but not for long."""
    if not arguments:
        raise UsageError("missing operand")
    await asyncio.sleep(max(0.0, min(number(arguments[0].removesuffix("s")), MAX_SLEEP)))
    return 0


@program("seq")
async def seq(io: Io, arguments: list[str]) -> int:
    """Count."""
    numbers = [int(number(argument)) for argument in arguments]
    if not 1 <= len(numbers) <= 3 or (len(numbers) == 3 and numbers[1] == 0):
        raise UsageError("seq [FIRST [STEP]] LAST")
    first = numbers[0] if len(numbers) > 1 else 1
    step = numbers[1] if len(numbers) == 3 else 1
    for count, value in enumerate(range(first, numbers[-1] + (1 if step > 0 else -1), step)):
        io.print(f"{value}\n")
        if count % 1000 == 0:
            await asyncio.sleep(0)
    return 0


@program("nproc")
async def nproc(io: Io, _arguments: list[str]) -> int:
    """One vCPU is all a guest shows."""
    io.print("1\n")
    return 0


@program("free")
async def free(io: Io, _arguments: list[str]) -> int:
    """Memory of the smallest plan."""
    io.print("               total        used        free\nMem:         2097152      131072     1966080\n")
    return 0


@program("df")
async def df(io: Io, _arguments: list[str]) -> int:
    """The in-memory disk."""
    used = io.shell.files.used // 1024
    size = MAX_BYTES // 1024
    io.print("Filesystem     1K-blocks  Used Available Use% Mounted on\n")
    io.print(f"/dev/vda1      {size:9} {used:5} {size - used:9} {100 * used // size:3}% /\n")
    return 0


@program("uptime")
async def uptime(io: Io, _arguments: list[str]) -> int:
    """How long this devnet has run."""
    minutes = int(time.monotonic() - STARTED) // 60
    io.print(f" {datetime.now(UTC):%H:%M:%S} up {minutes} min,  1 user,  load average: 0.00, 0.00, 0.00\n")
    return 0


@program("test", "[")
async def test(io: Io, arguments: list[str]) -> int:
    """Compare strings and numbers, look at files."""
    words = arguments[:-1] if arguments[-1:] == ["]"] else arguments
    negated = words[:1] == ["!"]
    return int(_holds(io, words[negated:]) == negated)


def _holds(io: Io, words: list[str]) -> bool:
    files = io.shell.files
    if len(words) <= 1:
        return bool(words and words[0])
    if len(words) == 2:
        if words[0] in ("-n", "-z"):
            return bool(words[1]) == (words[0] == "-n")
        path = io.path(words[1])
        looks = {"-e": files.exists(path), "-d": files.is_dir(path)}
        looks |= {"-f": looks["-e"] and not looks["-d"], "-s": looks["-e"] and files.size(path) > 0}
        if words[0] in looks:
            return looks[words[0]]
    if len(words) == 3 and words[1] in ("=", "==", "!="):
        return (words[0] == words[2]) == (words[1] != "!=")
    if len(words) == 3 and words[1] in ("-eq", "-ne", "-lt", "-le", "-gt", "-ge"):
        a, b = number(words[0]), number(words[2])
        return {"-eq": a == b, "-ne": a != b, "-lt": a < b, "-le": a <= b, "-gt": a > b, "-ge": a >= b}[
            words[1]
        ]
    raise UsageError("unexpected operator")
