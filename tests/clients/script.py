"""What a scripted model fills in from what it was answered: `{2.ssh_command}` is from its third call's answer.

A value that is nothing but a placeholder takes over the type; `*` in a path goes through a list.
"""

import re
from collections.abc import Sequence
from typing import Any

PLACEHOLDER = re.compile(r"\{(\d+)((?:\.[\w*]+)+)\}")


def filled(value: Any, answers: Sequence[Any]) -> Any:
    """The same with every placeholder replaced."""
    if isinstance(value, dict):
        return {name: filled(one, answers) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one, answers) for one in value]
    if not isinstance(value, str):
        return value
    if alone := PLACEHOLDER.fullmatch(value):
        return _found(alone, answers)
    return PLACEHOLDER.sub(lambda found: str(_found(found, answers)), value)


def _found(placeholder: re.Match[str], answers: Sequence[Any]) -> Any:
    return _at(answers[int(placeholder[1])], placeholder[2].split(".")[1:])


def _at(value: Any, path: list[str]) -> Any:
    if not path:
        return value
    first, *rest = path
    if first == "*":
        return [_at(one, rest) for one in value]
    return _at(value[int(first) if isinstance(value, list) else first], rest)
