"""The codes with which calls of agents are refused, read from the source: no list of ours can go stale."""

import ast

from support.source import Module, modules

PLACES = (
    "aleph_agentd.domain.",
    "aleph_agentd.services.",
    "aleph_agentd.tools.",
    "aleph_agentd.gateway.mcp_server",
    "aleph_agentd.gateway.bounded",
)
REFUSALS = {"Refusal", "BadInput", "Denied", "NotFound", "Conflict", "Unavailable", "Unknown", "Dearer"}


def codes_of_agents() -> set[str]:
    """Every code that a refusal in these places can carry."""
    found = {"bad_input", "not_found", "conflict", "unavailable", "unknown"}
    for module in modules("aleph_agentd"):
        if module.name.startswith(PLACES):
            constants = _constants(module)
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Call):
                    found |= _codes(node, constants)
    return found


def _constants(module: Module) -> dict[str, str]:
    return {
        target.id: node.value.value
        for node in module.tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }


def _codes(call: ast.Call, constants: dict[str, str]) -> set[str]:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name not in REFUSALS:
        return set()
    values = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
    texts = [value.value for value in values if isinstance(value, ast.Constant)]
    texts += [
        constants[value.id] for value in values if isinstance(value, ast.Name) and value.id in constants
    ]
    return {str(text) for text in texts}
