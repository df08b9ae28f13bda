"""The binding rules, each with its tests: a test that proves one says so in its docstring (`rules.md 7`)."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

import pytest

from support.source import ROOT

BOUND = range(1, 21)
"""Rules that this version keeps; 21 (PostgreSQL) waits for fleets."""
ALL = range(1, 27)
_CITED = re.compile(r"rules\.md ((?:\d+(?:, | and )?)+)")


def _docstrings() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                yield f"{path.name}::{node.name}", ast.get_docstring(node) or ""


@cache
def cited() -> dict[int, list[str]]:
    """Rule to the tests that name it."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    for name, text in _docstrings():
        for numbers in _CITED.findall(text):
            for number in re.findall(r"\d+", numbers):
                found[int(number)].append(name)
    return found


@pytest.mark.parametrize("rule", [*BOUND, 22, 23, 24, 25, 26])
def test_a_rule_has_a_test_that_names_it(rule: int) -> None:
    """Whoever changes a rule finds what depends on it."""
    assert cited().get(rule), f"no test says that it proves rule {rule}"


def test_no_test_names_a_rule_that_there_is_not() -> None:
    """A number that was mistyped proves nothing."""
    assert not [(rule, tests) for rule, tests in cited().items() if rule not in ALL]
