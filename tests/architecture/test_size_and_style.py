"""Sizes, docstrings, broad excepts, clocks: what keeps the source readable and honest."""

import ast
import re
import subprocess
from collections.abc import Iterator
from statistics import median

import pytest

from support.source import PACKAGES, ROOT, Module, modules

MAX_MODULE, MEDIAN_MODULE = 300, 120
MAX_FUNCTION, MEDIAN_FUNCTION = 50, 10

EDGES = {
    "aleph_agentd.app": "SIGHUP: whatever is wrong with a file must not end the daemon",
    "aleph_agentd.demo.run": "the edge of a process: whatever went wrong is told as the reason",
    "aleph_agentd.gateway.mcp_server": "what a tool raises must not leak its text to a client",
    "aleph_agentd.gateway.mcp_offers": "the same, where a tool answers for a resource",
    "aleph_agentd.gateway.rpc.connection": "one call's mistake must not take down the other callers",
}
"""The only modules that may catch everything, each with its reason."""

CLOCKS = {
    "aleph_agentd.domain.clock": "the clock itself",
    "aleph_agentd.adapters.aleph.signer": "a message's time is the wall clock's when it is signed",
    "aleph_agentd.adapters.aleph.market": "the age of the CRN list, shown and never decided on",
    "aleph_agentd.gateway.methods": "ping tells the time and decides nothing",
    "aleph_agentd.demo.story": "the demo watches the daemon from outside, by the clock on the wall",
    "aleph_devnet.clock": "devnet's own clock",
    "aleph_devnet.shell_commands": "`date` and `uptime` in a guest tell the time",
}
"""The only modules that may read the wall clock, each with its reason."""

_WALL = re.compile(r"\btime\.time(_ns)?\(\)|\bdatetime\.(now|utcnow|today)\(|\bdate\.today\(")


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_a_module_says_what_it_is_for_and_stays_small(module: Module) -> None:
    """A docstring, and at most 300 lines."""
    assert ast.get_docstring(module.tree), f"{module.place} has no docstring"
    assert module.lines <= MAX_MODULE, f"{module.place} has {module.lines} lines"


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_no_function_is_longer_than_a_screen(module: Module) -> None:
    """At most 50 lines."""
    long = [f"{name} ({lines})" for name, lines in module.functions() if lines > MAX_FUNCTION]
    assert not long, f"{module.place}: {', '.join(long)}"


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_the_typical_module_and_function_are_short(package: str) -> None:
    """Medians of 120 and 10 lines; empty `__init__` files do not flatter them."""
    lengths = [module.lines for module in modules(package) if module.lines > 5]
    functions = [lines for module in modules(package) for _, lines in module.functions()]
    assert median(lengths) <= MEDIAN_MODULE
    assert median(functions) <= MEDIAN_FUNCTION


def _public(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node)


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_every_public_thing_has_a_docstring(module: Module) -> None:
    """Classes, functions and methods whose name does not start with an underscore."""
    bare = [f"{node.name}:{node.lineno}" for node in _public(module.tree) if not ast.get_docstring(node)]
    assert not bare, f"{module.place}: {', '.join(bare)}"


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    reraised = bool(handler.body) and isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None
    broad = any(kind is None or ast.unparse(kind) in ("Exception", "BaseException") for kind in kinds)
    return broad and not reraised


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_only_the_edges_of_the_process_catch_everything(module: Module) -> None:
    """What cleans up and raises again catches nothing."""
    broad = [
        node.lineno
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and _catches_everything(node)
    ]
    assert not broad or module.name in EDGES, f"{module.place} catches everything in lines {broad}"


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_the_wall_clock_is_read_in_one_place(module: Module) -> None:
    """What decides on time takes a clock or an instant, so that a test can move it."""
    found = _WALL.findall(module.text)
    assert not found or module.name in CLOCKS, f"{module.place} reads the wall clock itself"


def test_no_exception_is_left_behind() -> None:
    """Each module that may catch everything or read the clock still does."""
    by_name = {module.name: module for module in modules()}
    for name in EDGES:
        nodes = ast.walk(by_name[name].tree) if name in by_name else iter(())
        assert any(isinstance(n, ast.ExceptHandler) and _catches_everything(n) for n in nodes), name
    for name in CLOCKS:
        assert name in by_name and _WALL.search(by_name[name].text), name


@pytest.mark.parametrize("folder", ["daemon", "shim", "devnet"])
def test_the_folders_of_packages_are_no_packages(folder: str) -> None:
    """A `daemon/__init__.py` would shadow python-daemon."""
    assert not (ROOT / folder / "__init__.py").exists()


def _tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.split()


def test_no_tracked_file_names_a_registry_or_a_path_of_one_machine() -> None:
    """Where packages come from, and where somebody's home is, is not the project's business."""
    # Put together here, so that this file does not find itself.
    forbidden = re.compile(
        "|".join(
            [
                r"https?://[^\s\"')]*(pypi\."
                + r"org/simple|artif"
                + r"actory|nex"
                + r"us\.|/api/py"
                + r"pi/)",
                r"(?<![\w.])/wo" + r"rk/(main|shared)",
                r"/ho" + r"me/(?!you\b|user\b|me\b|agent\b|USER\b|\.\.\.)[a-z]\w+/",
                r"--(extra-)?index" + r"-url",
            ]
        )
    )
    found = []
    for name in _tracked():
        try:
            text = (ROOT / name).read_text()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
        found += [f"{name}: {match.group(0)}" for match in forbidden.finditer(text)]
    assert not found
