"""The fault points, derived from the source: where the daemon may die, and on which side of what.

A site is a call in our own code, outside of the adapters: to the network (every coroutine of the ports
`Messages`, `Hosts` and `Market`; signing is no call to the network) or to a method of the inventory that
writes (every one whose own code runs a transaction that is not a read). The store itself begins only those
transactions that make or migrate a database: sites, too. Each site makes two points: before its effect,
and after it, when the caller does not know of it yet.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from support.source import Module, modules

NETWORK = {"Messages": "messages", "Hosts": "hosts", "Market": "market"}
"""Ports, and what their instances are called."""
INVENTORY, WRITER = "inventory", "writer"
STORE = "aleph_agentd.adapters.store"
PASS_ON = ("aleph_agentd.services.witness", "aleph_agentd.services.own_key")
OUTSIDE = (
    "aleph_agentd.adapters",
    "aleph_agentd.domain",
    "aleph_agentd.ports",
    "aleph_agentd.demo",
    *PASS_ON,
)
"""Where no call of a service is: what an adapter calls is its own effect's affair, and these two pass calls on."""
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class Site:
    """One call, by the lines that it spans."""

    module: str
    function: str
    port: str
    method: str
    first_line: int
    last_line: int
    nth: int = 0
    """Which one of several such calls in its function; 0 when it is the only one."""

    @property
    def name(self) -> str:
        """What people read; without line numbers, which move."""
        place = f"{self.module.removeprefix('aleph_agentd.')}.{self.function}"
        return f"{place}: {self.port}.{self.method}" + (f" #{self.nth}" if self.nth else "")


@dataclass(frozen=True)
class Point:
    """One side of a site."""

    site: Site
    side: str

    @property
    def name(self) -> str:
        """What people read."""
        return f"{self.site.name}, {self.side}"


@cache
def network_calls() -> dict[str, frozenset[str]]:
    """By what a port is called: its coroutines. The properties and plain functions ask nobody."""
    calls = {}
    for module in modules("aleph_agentd"):
        for node in module.tree.body if module.name.startswith("aleph_agentd.ports.") else ():
            if isinstance(node, ast.ClassDef) and node.name in NETWORK:
                asked = (item.name for item in node.body if isinstance(item, ast.AsyncFunctionDef))
                calls[NETWORK[node.name]] = frozenset(asked)
    return calls


@cache
def writes() -> frozenset[str]:
    """The methods of the store that run a transaction which is not a read."""
    return frozenset(
        method.name
        for module in modules("aleph_agentd")
        if module.name.startswith(STORE)
        for method in ast.walk(module.tree)
        if isinstance(method, ast.AsyncFunctionDef) and any(map(_is_write, ast.walk(method)))
    )


def _is_write(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "self._transact"):
        return False
    return all(word.arg != "writes" for word in node.keywords)


@cache
def sites() -> tuple[Site, ...]:
    """Every site, by module and line."""
    found = []
    for module in modules("aleph_agentd"):
        inside = module.name.startswith(STORE)
        if inside or not module.name.startswith(OUTSIDE):
            calls = _sites(module, module.tree, "")
            found += _numbered([site for site in calls if inside == (site.port == WRITER)])
    return tuple(found)


@cache
def points() -> tuple[Point, ...]:
    """Every fault point; its place here is its number for a daemon that runs."""
    return tuple(Point(site, side) for site in sites() for side in (BEFORE, AFTER))


def site_at(module: str, line: int, method: str) -> Site | None:
    """The site that a running call comes from."""
    spans = (
        site
        for site in sites()
        if (site.module, site.method) == (module, method) and site.first_line <= line <= site.last_line
    )
    # Of two that are nested, the inner one begins later.
    return max(spans, key=lambda site: site.first_line, default=None)


def _sites(module: Module, tree: ast.AST, function: str) -> Iterator[Site]:
    for node in ast.iter_child_nodes(tree):
        inside = function
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inside = f"{function}.{node.name}".lstrip(".")
        if isinstance(node, ast.Call) and (called := _called(node.func)):
            yield Site(module.name, function, *called, node.lineno, node.end_lineno or node.lineno)
        yield from _sites(module, node, inside)


def _called(function: ast.expr) -> tuple[str, str] | None:
    """Port and method of `self._messages.post`, `services.inventory.note` or `messages.status`."""
    if not isinstance(function, ast.Attribute):
        return None
    match function.value:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            port = name.lstrip("_")
        case ast.Call():  # of what was opened just now: its name says nothing, so the method's must
            port = next((port for port, calls in network_calls().items() if function.attr in calls), "")
        case _:
            return None
    known = {INVENTORY: writes(), WRITER: frozenset({"begin"}), **network_calls()}.get(port, frozenset())
    return (port, function.attr) if function.attr in known else None


def _numbered(found: list[Site]) -> list[Site]:
    def same(site: Site) -> tuple[str, str, str]:
        return site.function, site.port, site.method

    total, seen, numbered = Counter(map(same, found)), Counter[tuple[str, str, str]](), []
    for site in sorted(found, key=lambda site: site.first_line):
        seen[same(site)] += 1
        nth = seen[same(site)] if total[same(site)] > 1 else 0
        numbered.append(
            Site(site.module, site.function, site.port, site.method, site.first_line, site.last_line, nth)
        )
    return numbered
