"""Who may import whom, with a reason per rule (design.md section 3)."""

import sys
from fnmatch import fnmatchcase

import pytest

from support.source import Module, modules, names

STDLIB = frozenset(sys.stdlib_module_names)
D = "aleph_agentd"

LAYERS: list[tuple[str, tuple[str, ...], str]] = [
    # who (all patterns under it), what of ours it may import, why
    (f"{D}.domain.*", ("domain",), "decisions are pure, so that they can be tried on any input"),
    (f"{D}.ports.*", ("ports", "domain"), "a contract speaks in facts, never of who keeps it"),
    (f"{D}.services.*", ("services", "ports", "domain"), "what the daemon does must run over fakes"),
    (
        f"{D}.tools.*",
        ("tools", "services", "ports", "domain"),
        "an agent's verb is thin: it adds no way to the outside",
    ),
    (
        f"{D}.adapters.aleph.*",
        ("adapters.aleph", "ports", "domain"),
        "one door to the network, that no other door leans on",
    ),
    (f"{D}.adapters.store.*", ("adapters.store", "ports", "domain"), "one door to the database"),
    (f"{D}.adapters.ssh.*", ("adapters.ssh", "ports", "domain"), "one door into the VMs"),
    (
        f"{D}.adapters.*",
        ("adapters", "ports", "domain", "runtime_dir", "private_files"),
        "the outside world does not know what we do with it",
    ),
    (
        f"{D}.gateway.*",
        ("gateway", "tools", "services", "ports", "domain"),
        "callers come in through tools and services",
    ),
    (
        f"{D}.control.*",
        ("control", "gateway.rpc", "domain", "runtime_dir", "private_files", "key_tool"),
        "the human's verbs are a client of control.sock, without logic of their own",
    ),
    (f"{D}.runtime_dir", (), "where the sockets are is known to both ends, and depends on neither"),
    (f"{D}.private_files", (), "both ends write files that nobody else may read, by one rule"),
    (
        f"{D}.demo.*",
        ("demo", "gateway.rpc", "control", "domain", "runtime_dir"),
        "the demo shows the programs from outside",
    ),
]
"""The first pattern that fits a module counts."""

SEES_ALL = {
    f"{D}.app": "the composition root: the only place that joins services and adapters",
    f"{D}.opening": "what the composition root opens first",
    f"{D}.timetable": "the composition root's list of periodic jobs",
    f"{D}.doors": "the composition root's sockets: systemd's or our own, and whom they serve",
    f"{D}.under_systemd": "the composition root's talk with systemd, about what the services do",
    f"{D}.joining_inside": "the same for what acts inside VMs",
    f"{D}.joining": "the composition root's larger half: every service over its adapters",
    f"{D}.__main__": "the command line: picks what to start",
    f"{D}.turning_away": "the composition root of a daemon that cannot start: it serves refusals",
    f"{D}.key_hold": "the composition root's part that claims the key for this process",
    f"{D}.key_tool": "the composition root of `aleph-agentctl key`, which needs no daemon",
    f"{D}.examination": "what the doctor asks of settings, key and inventory, in a process of its own",
    f"{D}.reap_escrow": "the composition root of the dead-man's switch, which is a program of its own",
}

DOORS: list[tuple[str, tuple[str, ...], str]] = [
    # third-party packages, the only modules that may import them, why
    (
        "aleph|aleph_message|eth_account|eth_keys|eth_utils",
        (f"{D}.adapters.aleph.*", "aleph_devnet.*"),
        "the network is one door; devnet checks signatures",
    ),
    (
        "sqlalchemy|aiosqlite|psycopg|alembic",
        (f"{D}.adapters.store.*",),
        "a storage engine is an engine URL, nowhere else",
    ),
    ("apscheduler", (f"{D}.adapters.timers",), "alarms may be lost: nobody else may rely on them"),
    (
        "pydantic_settings",
        (f"{D}.adapters.config", f"{D}.adapters.config_*"),
        "one frozen object of settings",
    ),
    (
        "pydantic|pydantic_core",
        (f"{D}.adapters.config", f"{D}.adapters.config_*", f"{D}.tools.*", "aleph_devnet.validation"),
        "arguments and configuration, the two things that strangers write; devnet validates messages as a CCN does",
    ),
    ("eth_hash", (f"{D}.adapters.addresses",), "the checksum of an address, without loading the SDK for it"),
    (
        "cryptography",
        ("aleph_devnet.*",),
        "CRNs check the signatures of operations; the daemon signs through the SDK",
    ),
    ("msgpack", (f"{D}.gateway.rpc.protocol",), "bytes become messages in one place"),
    (
        "mcp|mcp_types",
        (f"{D}.gateway.mcp_*", f"{D}.demo.*"),
        "the official package serves MCP; the rest of us has tools",
    ),
    ("anyio", (f"{D}.gateway.mcp_*",), "the streams that the mcp package runs over"),
    (
        "aiohttp|yarl|multidict",
        (f"{D}.adapters.aleph.*", f"{D}.adapters.webhook", "aleph_devnet.*"),
        "HTTP is how the network and the owner's webhook are spoken to, and how devnet answers",
    ),
    (
        "asyncssh",
        (f"{D}.adapters.ssh.*", f"{D}.demo.*", f"{D}.demo", "aleph_devnet.*"),
        "one door into VMs; guests of devnet, and the demo that logs in",
    ),
    ("click|rich", (f"{D}.control.*", f"{D}.__main__", f"{D}.demo.*"), "what people read"),
    (
        "platformdirs",
        (f"{D}.adapters.config", f"{D}.adapters.config_*", f"{D}.runtime_dir"),
        "where files lie is configuration",
    ),
]


def _layer(module: Module) -> tuple[tuple[str, ...], str] | None:
    for pattern, allowed, why in LAYERS:
        if fnmatchcase(module.name, pattern) or module.name == pattern.removesuffix(".*"):
            return allowed, why
    return None


def _ours(module: Module) -> list[str]:
    return sorted(name for name in module.imports() if name.split(".")[0] == D)


def _within(name: str, allowed: tuple[str, ...]) -> bool:
    inner = name.removeprefix(D).lstrip(".")
    return inner == "" or any(inner == part or inner.startswith(part + ".") for part in allowed)


@pytest.mark.parametrize("module", modules(D), ids=lambda module: module.name)
def test_a_module_imports_only_what_its_layer_may(module: Module) -> None:
    """control, gateway → tools → services → ports, domain; adapters → ports, domain; only app.py sees all."""
    if module.name in SEES_ALL or module.name == D:
        return
    layer = _layer(module)
    assert layer, f"{module.place} is in no layer: give it one here, with a reason"
    allowed, why = layer
    wrong = [name for name in _ours(module) if not _within(name, allowed)]
    assert not wrong, f"{module.place} imports {', '.join(wrong)}; but {why}"


def _third_party(module: Module) -> set[str]:
    return {
        name.split(".")[0]
        for name in module.imports()
        if name.split(".")[0] not in STDLIB | {D, "aleph_devnet", "aleph_agent_mcp"}
    }


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_each_third_party_package_has_one_door(module: Module) -> None:
    """Also inside functions: a lazy import is an import."""
    for package in _third_party(module):
        doors = [(where, why) for what, where, why in DOORS if package in what.split("|")]
        assert doors, (
            f"{module.place} imports {package}, which has no door yet: give it one here, with a reason"
        )
        where, why = doors[0]
        through = any(
            fnmatchcase(module.name, pattern) or module.name == pattern.removesuffix(".*")
            for pattern in where
        )
        assert through, f"{module.place} imports {package}; but {why}"


@pytest.mark.parametrize("module", modules(f"{D}"), ids=lambda module: module.name)
def test_the_pure_parts_touch_no_third_party_package(module: Module) -> None:
    """domain, ports and services run on a bare Python."""
    if module.name.startswith((f"{D}.domain", f"{D}.ports", f"{D}.services")):
        assert not _third_party(module)


@pytest.mark.parametrize("module", modules("aleph_devnet"), ids=lambda module: module.name)
def test_devnet_never_imports_what_it_is_the_oracle_of(module: Module) -> None:
    """A shared mistake would prove itself right."""
    assert not [name for name in module.imports() if name.split(".")[0] in (D, "aleph_agent_mcp")]


@pytest.mark.parametrize("module", modules("aleph_agent_mcp"), ids=lambda module: module.name)
def test_the_shim_imports_the_standard_library_alone(module: Module) -> None:
    """Its start is every agent's wait."""
    foreign = {name for name in module.imports() if name.split(".")[0] not in STDLIB | {"aleph_agent_mcp"}}
    assert not foreign


@pytest.mark.parametrize("module", modules("aleph_agent_mcp"), ids=lambda module: module.name)
def test_the_shim_loads_nothing_slow_when_it_starts(module: Module) -> None:
    """mcp.md: asyncio costs 60 ms, signal 5, json and socket belong to lazy or cheap paths."""
    slow = {
        "asyncio",
        "typing",
        "dataclasses",
        "re",
        "signal",
        "subprocess",
        "pathlib",
        "logging",
        "argparse",
    }
    assert not {name.split(".")[0] for name in module.imports(at_import=True)} & slow


def test_no_module_imports_itself_in_a_circle() -> None:
    """Counted at import; a cycle makes the order of imports matter."""
    graph = {m.name: {n for n in m.imports(at_import=True) if n in names()} - {m.name} for m in modules()}
    cycles = [cycle for name in graph if (cycle := _circle(graph, name))]
    assert not cycles, " → ".join(cycles[0])


def _circle(graph: dict[str, set[str]], start: str) -> list[str]:
    paths, seen = [[start]], set[str]()
    while paths:
        path = paths.pop()
        for following in graph[path[-1]]:
            # A package's __init__ that gathers its modules is their parent, not their client.
            if following == start and len(path) > 1:
                return [*path, start]
            if following not in seen:
                seen.add(following)
                paths.append([*path, following])
    return []


def test_every_exception_named_here_is_in_use() -> None:
    """A rule that fits nothing has been left behind."""
    for name in SEES_ALL:
        assert name in names(), f"{name} is gone: take it out"
