"""docs/tools.md between its markers, from the tools themselves: `.venv/bin/python tests/support/tools_page.py` writes it."""

from pathlib import Path
from typing import Any

from aleph_agentd.tools.base import Tool
from aleph_agentd.tools.toolbox import ALL

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tools.md"
BEGIN, END = "<!-- the tools, as they say it themselves -->\n", "<!-- end of the tools -->\n"


def rendered() -> str:
    """Every tool with its hints, description and arguments."""
    return "\n".join(_section(tool) for tool in ALL)


def _section(tool: Tool) -> str:
    hints = {"reads only": tool.read_only, "destroys": tool.destructive, "idempotent": tool.idempotent}
    said = ", ".join(name for name, true in hints.items() if true) or "changes something"
    head = f"### {tool.name}\n\n{tool.title} ({said}). {tool.description}\n"
    properties: dict[str, Any] = tool.listing()["inputSchema"].get("properties", {})
    if not properties:
        return head
    rows = "\n".join(f"| `{name}` | {_about(field)} |" for name, field in properties.items())
    return f"{head}\n| argument | |\n|---|---|\n{rows}\n"


def _about(field: dict[str, Any]) -> str:
    words = str(field.get("description", "")).replace("|", "\\|").replace("\n", " ")
    kind = " or ".join(map(str, field["enum"])) if "enum" in field else str(field.get("type", ""))
    default = f"default {field['default']}" if "default" in field else ""
    return "; ".join(part for part in (words, kind, default) if part)


def page(text: str) -> str:
    """The page with the part between the markers made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{rendered()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
