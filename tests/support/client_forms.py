"""What clients that no test runs, and the MCP registry, take as a configuration: their published forms in our own words.

Only the fields that one could want for a program over stdio; anything else is a mistake, also where they would ignore it.

- VS Code: `mcpServerSchema` of `src/vs/workbench/contrib/mcp/common/mcpConfiguration.ts` (microsoft/vscode)
- Cursor and Claude Desktop: the pages on MCP of their documentations
- OpenCode: https://opencode.ai/config.json, of version 1 (version 2 has the servers in `mcp.servers`); a test runs it too
- registry: https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json, and what the registry checks
  besides. The schema itself is not kept here: it names package registries, which no file of ours does.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_RANGE = re.compile(r"^[\^~<>=]|\.[x*]|\s|\|\||^latest$")

Environment = dict[str, str | int | float | None]


class Form(BaseModel):
    """Closed, and without conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)


class Program(Form):
    """What most clients start."""

    command: str = Field(min_length=1)
    args: list[str] = []
    env: Environment = {}


class VsCodeProgram(Program):
    """It knows where, and reads variables from a file."""

    type: Literal["stdio"] = "stdio"
    cwd: str = ""
    envFile: str = ""
    dev: dict[str, Any] = {}


class CursorProgram(Program):
    """The same without a place."""

    type: Literal["stdio"] = "stdio"
    envFile: str = ""


class OpenCodeProgram(Form):
    """Its command is one list."""

    type: Literal["local"]
    command: list[str] = Field(min_length=1)
    cwd: str = ""
    environment: dict[str, str] = {}
    enabled: bool = True
    timeout: int = Field(5000, gt=0)


class VsCode(Form):
    """`.vscode/mcp.json`."""

    servers: dict[str, VsCodeProgram]
    inputs: list[dict[str, Any]] = []


class Cursor(Form):
    """`~/.cursor/mcp.json`."""

    mcpServers: dict[str, CursorProgram]


class ClaudeDesktop(Form):
    """`claude_desktop_config.json`."""

    mcpServers: dict[str, Program]


class OpenCode(Form):
    """The part of `opencode.json` that is about us."""

    schema_: Literal["https://opencode.ai/config.json"] = Field(alias="$schema")
    mcp: dict[str, OpenCodeProgram]


class Named(Form):
    """`--flag value`."""

    type: Literal["named"]
    name: str
    value: str = ""


class Positional(Form):
    """A word; one that the user gives has a hint."""

    type: Literal["positional"]
    value: str = ""
    valueHint: str = ""

    @model_validator(mode="after")
    def _is_told(self) -> Self:
        if not (self.value or self.valueHint):
            raise ValueError("neither value nor valueHint")
        return self


class Stdio(Form):
    """How the package is spoken to."""

    type: Literal["stdio"]


class Package(Form):
    """Where the server is fetched from."""

    registryType: Literal["npm", "pypi", "oci", "nuget", "mcpb"]
    identifier: str
    version: str = Field(min_length=1)
    runtimeHint: str = ""
    runtimeArguments: list[Annotated[Named | Positional, Field(discriminator="type")]] = []
    packageArguments: list[Annotated[Named | Positional, Field(discriminator="type")]] = []
    transport: Stdio

    @model_validator(mode="after")
    def _can_be_run(self) -> Self:
        if _RANGE.search(self.version):
            raise ValueError("not a specific version")
        if self.runtimeArguments and not self.runtimeHint:
            raise ValueError("runtimeArguments without a runtimeHint")
        return self


class Manifest(Form):
    """`server.json`."""

    schema_: Literal["https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"] = Field(
        alias="$schema"
    )
    name: str = Field(min_length=3, max_length=200, pattern=r"^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$")
    title: str = Field(min_length=1, max_length=100)
    description: str = Field(min_length=1, max_length=100)
    version: str = Field(max_length=255)
    packages: list[Package]

    @model_validator(mode="after")
    def _is_one_version(self) -> Self:
        if {self.version} != {package.version for package in self.packages} or _RANGE.search(self.version):
            raise ValueError("not one specific version")
        return self


OF_FILE: dict[str, type[Form]] = {
    "vscode.json": VsCode,
    "cursor.json": Cursor,
    "claude-desktop.json": ClaudeDesktop,
    "opencode.json": OpenCode,
}
