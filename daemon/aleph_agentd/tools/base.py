"""What a tool is: a schema, annotations, and a thin `run`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from ..domain.caller import Caller, Progress
from ..services.core import Services

_BOUNDS = ("minLength", "maxLength", "maxItems", "minimum", "maximum", "exclusiveMinimum")
_UNSAID: tuple[object, ...] = (None, "", False, [])
"""Defaults that nobody has to be told."""


class Arguments(BaseModel):
    """Base of all arguments: unknown ones are errors, NaN, infinity, true and false are not numbers."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_truth(cls, value: object, info: ValidationInfo) -> object:
        # pydantic would take true for one: an hour, a compute unit.
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation is not bool:
            raise ValueError("it is neither true nor false")
        return value


class EndsSoon(BaseModel):
    """A VM whose lease ends soon."""

    item_hash: str
    name: str
    expires_at: str
    expires_in: str


class Answer(BaseModel):
    """What every answer carries, whatever was asked."""

    expires_in: str | None = Field(None, description="Time left to the next end of a lease")
    budget_left: float | None = Field(None, description="Credits that the limits still allow; null: no limit")
    budget_left_usd: float | None = None
    ends_soon: list[EndsSoon] = Field(
        default_factory=list, description="Your VMs whose lease ends soon; each is told once per lease end"
    )
    stuck: list[str] = Field(default_factory=list, description="VMs that could not be torn down yet, and why")
    alerts: list[str] = Field(default_factory=list, description="What the owner should know now")


@dataclass(frozen=True)
class Call:
    """One call of a tool."""

    services: Services
    caller: Caller
    request_key: str | None
    request_hash: str
    progress: Progress | None

    async def report(self, done: float, total: float | None, message: str) -> None:
        """Tell a waiting client how far it is."""
        if self.progress is not None:
            await self.progress(done, total, message)


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One tool as agents see it. The four hints are true and complete (mcp.md)."""

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    answer: type[Answer]
    run: Callable[[Call, Any], Awaitable[Answer]]
    read_only: bool = False
    destructive: bool = False
    idempotent: bool = False
    open_world: bool = True
    always_load: bool = False
    most_argument_bytes: int = 256 * 1024

    def listing(self) -> dict[str, Any]:
        """MCP's form of it."""
        listed: dict[str, Any] = {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": lean_arguments(self.arguments.model_json_schema()),
            "outputSchema": lean(self.answer.model_json_schema(mode="serialization")),
            "annotations": {
                "title": self.title,
                "readOnlyHint": self.read_only,
                "destructiveHint": self.destructive,
                "idempotentHint": self.idempotent,
                "openWorldHint": self.open_world,
            },
        }
        if self.always_load:
            listed["_meta"] = {"anthropic/alwaysLoad": True}
        return listed


def lean_arguments(schema: dict[str, Any]) -> dict[str, Any]:
    """The same for arguments, whose schema a model reads: an optional one is left out, not said to be null.

    Bounds are left out as well: they are far from what is meant, and the daemon checks them and says them.
    """
    lean_schema: dict[str, Any] = lean(schema)
    lean_schema.pop("description", None)  # of the class, for us
    properties = lean_schema.get("properties", {})
    lean_schema["properties"] = {name: _without_null(field) for name, field in properties.items()}
    return lean_schema


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    branches = [branch for branch in field.get("anyOf", []) if branch != {"type": "null"}]
    rest = {
        key: value
        for key, value in field.items()
        if key not in _BOUNDS and not (key == "default" and value in _UNSAID)
    }
    if len(branches) != 1:
        return rest
    del rest["anyOf"]
    return _without_null({**branches[0], **rest})


def lean(schema: Any) -> Any:
    """A JSON schema without pydantic's generated titles: agents pay for each token."""
    if isinstance(schema, list):
        return [lean(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: lean(sub) for name, sub in value.items()}
        if key in ("properties", "$defs")
        else lean(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }
