"""The source as data: modules, imports, functions. No module of ours is imported to read it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "aleph_agentd": ROOT / "daemon" / "aleph_agentd",
    "aleph_agent_mcp": ROOT / "shim" / "aleph_agent_mcp",
    "aleph_devnet": ROOT / "devnet" / "aleph_devnet",
}


@dataclass(frozen=True)
class Module:
    """One file of ours."""

    name: str
    path: Path

    @cached_property
    def text(self) -> str:
        """Its source."""
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax."""
        return ast.parse(self.text)

    @property
    def lines(self) -> int:
        """Its length."""
        return len(self.text.splitlines())

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return str(self.path.relative_to(ROOT))

    @cached_property
    def package(self) -> str:
        """The package that its relative imports start from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    def imports(self, *, at_import: bool = False) -> frozenset[str]:
        """Every module that it names; with `at_import` only those that importing it executes."""
        return frozenset(_imports(self, at_import))

    def functions(self) -> Iterator[tuple[str, int]]:
        """Each function's name and length, decorators not counted."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


@lru_cache
def modules(package: str | None = None) -> tuple[Module, ...]:
    """All modules of one package, or of all."""
    found = []
    for name, folder in PACKAGES.items():
        if package in (None, name):
            for path in sorted(folder.rglob("*.py")):
                parts = path.relative_to(folder).with_suffix("").parts
                dotted = ".".join((name, *(part for part in parts if part != "__init__")))
                found.append(Module(dotted, path))
    return tuple(found)


@lru_cache
def names() -> frozenset[str]:
    """The dotted names of all our modules."""
    return frozenset(module.name for module in modules())


def _imports(module: Module, at_import: bool) -> Iterator[str]:
    for node in _statements(module.tree, at_import):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, node)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in names() else base


def _base(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.package.split(".")
    stem = parts[: len(parts) - node.level + 1]
    return ".".join([*stem, node.module] if node.module else stem)


def _statements(tree: ast.AST, at_import: bool) -> Iterator[ast.AST]:
    """All nodes; with `at_import` without function bodies and TYPE_CHECKING blocks."""
    for child in ast.iter_child_nodes(tree):
        if at_import and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if at_import and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _statements(child, at_import)
