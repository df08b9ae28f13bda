"""systemd's units, rendered for one installation: the templates of `systemd/` with their @NAMES@ filled in.

A placeholder stands for a whole value and may have several: its line is then repeated. One without a value takes
its line away, and the comment above it.

| placeholder | in | |
|---|---|---|
| `@PYTHON@` | both | the interpreter that has aleph_agentd |
| `@CODE@` | both | what must be readable for it to run: environment, base interpreter, sources |
| `@STATE@` | both | directories that the daemon writes; they must exist when it starts |
| `@READABLE@` | both | what it only reads; may be missing |
| `@SETTING@` | both | `ALEPH_AGENT_…=value` |
| `@STATE_HOME@` `@CONFIG_HOME@` | user | `$XDG_STATE_HOME` and `$XDG_CONFIG_HOME` of daemon and aleph-agentctl |
| `@ENCRYPTED_CREDENTIAL@` `@PLAIN_CREDENTIAL@` | system | the key for systemd to hand over; one of the two |
"""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["user", "system"]

CREDENTIAL = "aleph-agentd.key"
"""The name under which the system unit is given its key, and `systemd-creds encrypt --name=` must seal it."""
UNENCRYPTED_STORE, ENCRYPTED_STORE = Path("/etc/credstore"), Path("/etc/credstore.encrypted")
"""Where systemd looks for a credential that is named without a path."""
USER, AGENTS, OWNERS = "aleph-agentd", "aleph-agents", "aleph-owners"
"""The account of the system unit, and the groups that may connect to agent.sock and to control.sock."""

_PLACEHOLDER = re.compile(r"@([A-Z_]+)@")
_SANDBOX = re.compile(r"^# \[sandbox.*?^# \[end of sandbox\]\n", re.MULTILINE | re.DOTALL)
_PACKAGES = ("aleph_agentd", "aleph_agent_mcp")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the units of one installation say of it. Every path is absolute."""

    python: Path
    code: Sequence[Path]
    state: Sequence[Path] = ()
    readable: Sequence[Path] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    state_home: Path = Path("/var/lib")
    config_home: Path = Path("/etc")
    encrypted: bool = True
    """Whether the system unit's key is sealed by systemd-creds, or lies in a file that only root can read."""
    credential: Path | None = None
    """Where the key is, if not in systemd's own store."""


class Unusable(ValueError):
    """A value that no unit file can carry."""


def render(kind: Kind, facts: Facts, *, sandbox: bool = True) -> dict[str, str]:
    """The unit files by name. Without `sandbox`, only what is enforced where namespaces are forbidden."""
    values = _values(facts)
    texts = {path.name: path.read_text() for path in sorted(templates(kind).iterdir()) if path.is_file()}
    if not sandbox:
        texts = {name: _SANDBOX.sub("", text) for name, text in texts.items()}
    return {name: _filled(text, values) for name, text in texts.items()}


def templates(kind: Kind) -> Path:
    """The folder of the templates: in the wheel beside the package's code, in a source tree at its top."""
    package = Path(__file__).parents[1]
    installed, source = package / "units" / kind, package.parents[1] / "systemd" / kind
    return installed if installed.is_dir() else source


def code_of_this_process() -> list[Path]:
    """What must be readable for this interpreter to run the daemon: prefixes, and packages that lie elsewhere."""
    here = Path(__file__).parents[1]
    sources = [here.parent, *(here.parents[1] / folder for folder in ("shim", "devnet", "systemd"))]
    found = [Path(sys.prefix), Path(sys.base_prefix)]
    if not here.is_relative_to(sys.prefix) and not here.is_relative_to(sys.base_prefix):
        found += [source for source in sources if source.is_dir()]
    # Where a home is a symbolic link, the interpreter is named by one path and lies under another.
    return outermost([*found, *(path.resolve() for path in found)])


def outermost(paths: Iterable[Path]) -> list[Path]:
    """The paths without those that lie within another one, sorted."""
    kept: list[Path] = []
    for path in sorted(set(paths)):
        if not any(path.is_relative_to(other) for other in kept):
            kept.append(path)
    return kept


def quoted(value: str) -> str:
    """A word of a unit file that means exactly `value`. Raises Unusable for what none can carry."""
    if not value.isprintable() or "$" in value:
        raise Unusable(f"systemd cannot be told of {value!r}: it holds a control character or a $")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if re.fullmatch(r"[\w@%+=:,./-]+", escaped) and ":" not in escaped else f'"{escaped}"'


def _values(facts: Facts) -> dict[str, list[str]]:
    source = f":{quoted(str(facts.credential))}" if facts.credential else ""
    credential = [f"{CREDENTIAL}{source}"]
    return {
        "PYTHON": [_path(facts.python)],
        "CODE": [_path(path) for path in facts.code],
        "STATE": [_path(path) for path in facts.state],
        "READABLE": [_path(path) for path in facts.readable],
        "SETTING": [quoted(f"{name}={value}") for name, value in sorted(facts.settings.items())],
        "STATE_HOME": [_path(facts.state_home)],
        "CONFIG_HOME": [_path(facts.config_home)],
        "ENCRYPTED_CREDENTIAL": credential if facts.encrypted else [],
        "PLAIN_CREDENTIAL": [] if facts.encrypted else credential,
    }


def _path(path: Path) -> str:
    if not path.is_absolute():
        raise Unusable(f"{path} is not an absolute path")
    return quoted(str(path))


def _filled(template: str, values: Mapping[str, Sequence[str]]) -> str:
    lines: list[str] = []
    for line in template.splitlines():
        found = _PLACEHOLDER.search(line)
        if found is None or line.startswith("#"):
            lines.append(line)
            continue
        filled = [_in_place(line, found, value) for value in values[found[1]]]
        while not filled and lines and lines[-1].startswith("#"):
            lines.pop()
        lines += filled
    return "\n".join(lines) + "\n"


def _in_place(line: str, placeholder: re.Match[str], value: str) -> str:
    """The value instead of the placeholder; a sign or a name in front of it goes into the quotes with it."""
    start = line.index("=") + 1 if "=" in line[: placeholder.start()] else placeholder.start()
    key, before, after = line[:start], line[start : placeholder.start()], line[placeholder.end() :]
    if before and value.startswith('"'):
        return f'{key}"{before}{value[1:]}{after}'
    return f"{key}{before}{value}{after}"
