"""Start-up scripts of the owner's that a create asks for by name: `@rust`."""

from collections.abc import Mapping

from .errors import NotFound
from .names import one_line

MOST, LONGEST = 32, 32_000
"""How many, and how many characters each: no more than a script that is sent whole."""
SIGN = "@"
_LONGEST_ABOUT = 80


class Templates:
    """Those in force; a reload replaces them all."""

    def __init__(self, scripts: Mapping[str, str]) -> None:
        self.scripts = scripts

    def script(self, asked: str) -> str:
        """What is to run: a template's script for its name, anything else as it is. Raises NotFound."""
        name = name_in(asked)
        if name is None:
            return asked
        if name not in self.scripts:
            known = ", ".join(SIGN + known for known in sorted(self.scripts))
            raise NotFound(
                f"There is no setup template {SIGN}{name[:40]}.",
                f"There are: {known}." if known else "The owner has set none: give the script itself.",
                code="unknown_template",
            )
        return self.scripts[name]

    def about(self) -> list[dict[str, str]]:
        """Each name, and what its first comment says."""
        return [
            {"setup": SIGN + name, "about": _about(script)} for name, script in sorted(self.scripts.items())
        ]


def name_in(asked: str) -> str | None:
    """The name in `@name`; None for a script: none begins so and has one line only."""
    words = asked.strip()
    return words[1:] if words.startswith(SIGN) and "\n" not in words else None


def _about(script: str) -> str:
    for line in script.splitlines():
        if line.startswith("#") and not line.startswith("#!"):
            return one_line(line.lstrip("# "))[:_LONGEST_ABOUT]
    return ""
