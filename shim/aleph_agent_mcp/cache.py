"""The last known tools and instructions, in a file of the shim's own; a missing or broken one is an empty one."""

import os

from aleph_agent_mcp.lines import parse

MAX_FILE = 2 * 1024 * 1024


def path() -> str:
    """Where the file lies."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return f"{base}/aleph-agentd/tools.json"


def load() -> dict[str, object]:
    """`tools`, a list, and `instructions`, where they are known."""
    try:
        with open(path(), "rb") as file:
            known = parse(file.read(MAX_FILE))
    except OSError:
        return {}
    return _proper(known)


def save(answers: dict[str, bytes]) -> None:
    """Keep what the daemon's answers (method -> line) say, if it is new."""
    old = load()
    new = dict(old)
    for line in answers.values():
        message = parse(line)
        result = message.get("result") if isinstance(message, dict) else None
        # A page of a longer list is not the list.
        if isinstance(result, dict) and "nextCursor" not in result:
            new |= _proper(result)
    if new == old:
        return
    try:
        _replace(path(), new)
    except OSError:
        pass  # a read-only home: then nothing is known while the daemon is away


def _proper(known: object) -> dict[str, object]:
    if not isinstance(known, dict):
        return {}
    wanted = (("tools", list), ("instructions", str))
    return {key: known[key] for key, kind in wanted if isinstance(known.get(key), kind)}


def _replace(target: str, known: dict[str, object]) -> None:
    import json  # 11 ms, paid only when something changed and nobody waits

    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    draft = f"{target}.{os.getpid()}"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
        json.dump(known, file)
    os.replace(draft, target)
