"""From a command line to pipelines: words, quotes, redirections and the operators between commands."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

MAX_LINE = 64 * 1024
MAX_COMMANDS = 200
MAX_WORD = 16 * 1024
OPERATORS = ("&&", "||", ">>", "2>&1", "2>>", "2>", ";", "\n", "|", ">", "<")
REDIRECTS = (">", ">>", "<", "2>", "2>>", "2>&1")
UNSUPPORTED = "`()&"


class LineError(Exception):
    """The line is not one that this shell understands."""


@dataclass(frozen=True)
class Part:
    """A run of characters with one kind of quoting."""

    text: str
    expands: bool
    quoted: bool


Word = tuple[Part, ...]


@dataclass
class Command:
    """One program call: its words and where its input and output go."""

    words: list[Word] = field(default_factory=list)
    redirects: list[tuple[str, Word]] = field(default_factory=list)


@dataclass
class Pipeline:
    """Commands joined by `|`, and the operator (`;`, `&&`, `||`) that stands before them."""

    joined_by: str
    commands: list[Command]


def parse(line: str) -> list[Pipeline]:
    """Split a line into pipelines; raises LineError."""
    if len(line) > MAX_LINE or "\0" in line:
        raise LineError("line too long" if len(line) > MAX_LINE else "binary input")
    pipelines = [Pipeline(";", [Command()])]
    pending = ""
    count = 0
    for item in _tokens(line):
        if pending and isinstance(item, str):
            raise LineError(f'Syntax error: "{_shown(item)}" unexpected')
        command = pipelines[-1].commands[-1]
        if not isinstance(item, str):
            if pending:
                command.redirects.append((pending, item))
            else:
                command.words.append(item)
            pending = ""
        elif item == "2>&1":
            command.redirects.append((item, ()))
        elif item in REDIRECTS:
            pending = item
        else:
            count += 1
            _join(pipelines, item)
        if count > MAX_COMMANDS:
            raise LineError("too many commands")
    if pending or not _filled(pipelines[-1].commands[-1]):
        _check_end(pipelines, pending)
    return [pipeline for pipeline in pipelines if _filled(pipeline.commands[0])]


def expand(word: Word, variables: Mapping[str, str]) -> str | None:
    """The word with its variables replaced; None if nothing is left of an unquoted one."""
    text = "".join(_substitute(part.text, variables) if part.expands else part.text for part in word)
    if len(text) > MAX_WORD:
        raise LineError("word too long")
    return text if text or any(part.quoted for part in word) else None


def _join(pipelines: list[Pipeline], operator: str) -> None:
    if not _filled(pipelines[-1].commands[-1]):
        if operator == "\n":
            return
        raise LineError(f'Syntax error: "{_shown(operator)}" unexpected')
    if operator == "|":
        pipelines[-1].commands.append(Command())
    else:
        pipelines.append(Pipeline(operator.replace("\n", ";"), [Command()]))


def _check_end(pipelines: list[Pipeline], pending: str) -> None:
    last = pipelines[-1]
    if pending or len(last.commands) > 1 or last.joined_by != ";":
        raise LineError("Syntax error: end of file unexpected")


def _filled(command: Command) -> bool:
    return bool(command.words or command.redirects)


def _shown(operator: str) -> str:
    return "newline" if operator == "\n" else operator


def _tokens(line: str) -> Iterator[str | Word]:
    at = 0
    while at < len(line):
        if line[at] in " \t\r":
            at += 1
        elif line[at] == "#":
            end = line.find("\n", at)
            at = len(line) if end < 0 else end
        elif operator := next((o for o in OPERATORS if line.startswith(o, at)), ""):
            yield operator
            at += len(operator)
        elif line[at] in UNSUPPORTED:
            raise LineError(f'Syntax error: "{line[at]}" unexpected')
        else:
            word, at = _word(line, at)
            yield word


def _word(line: str, at: int) -> tuple[Word, int]:
    parts: list[Part] = []
    while at < len(line) and line[at] not in " \t\r\n;|<>" + UNSUPPORTED:
        read = {"'": _single, '"': _double, "\\": _escaped}.get(line[at], _plain)
        part, at = read(line, at)
        parts.append(part)
    return tuple(parts), at


def _single(line: str, at: int) -> tuple[Part, int]:
    end = line.find("'", at + 1)
    if end < 0:
        raise LineError("Syntax error: Unterminated quoted string")
    return Part(line[at + 1 : end], expands=False, quoted=True), end + 1


def _double(line: str, at: int) -> tuple[Part, int]:
    text: list[str] = []
    at += 1
    while at < len(line) and line[at] != '"':
        if line[at] == "`" or line.startswith("$(", at):
            raise LineError("Syntax error: command substitution is not supported")
        if line[at] == "\\" and line[at + 1 : at + 2] in ('"', "\\", "$", "`"):
            # A marker keeps an escaped dollar from being expanded later.
            text.append("\0" if line[at + 1] == "$" else line[at + 1])
            at += 2
        else:
            text.append(line[at])
            at += 1
    if at >= len(line):
        raise LineError("Syntax error: Unterminated quoted string")
    return Part("".join(text), expands=True, quoted=True), at + 1


def _escaped(line: str, at: int) -> tuple[Part, int]:
    return Part(line[at + 1 : at + 2], expands=False, quoted=True), at + 2


def _plain(line: str, at: int) -> tuple[Part, int]:
    end = at
    while end < len(line) and line[end] not in " \t\r\n;|<>'\"\\" + UNSUPPORTED:
        end += 1
    return Part(line[at:end], expands=True, quoted=False), end


def _substitute(text: str, variables: Mapping[str, str]) -> str:
    head, *rest = text.split("$")
    out = [head]
    total = 0
    for piece in rest:
        name, tail = _name(piece)
        out.append(variables.get(name, "") + tail if name else "$" + piece)
        total += len(out[-1])
        if total > MAX_WORD:
            raise LineError("word too long")
    return "".join(out).replace("\0", "$")


def _name(piece: str) -> tuple[str, str]:
    if piece.startswith("{"):
        name, brace, tail = piece[1:].partition("}")
        if not brace or not (name in ("?", "$") or name.isidentifier()):
            raise LineError("Bad substitution")
        return name, tail
    if piece.startswith(("?", "$")):
        return piece[0], piece[1:]
    match = re.match("[A-Za-z_][A-Za-z0-9_]*", piece)
    return (match[0], piece[match.end() :]) if match else ("", piece)
