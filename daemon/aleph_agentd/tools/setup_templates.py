"""The owner's start-up scripts by name: a resource, so that no list of tools grows by it."""

from pydantic import Field

from .base import Answer, Arguments, Call, Tool


class TemplatesAnswer(Answer):
    """What `setup` of aleph_create_vm takes besides a script."""

    templates: list[dict[str, str]] = Field(default_factory=list)
    next: str = ""


async def run(call: Call, _arguments: Arguments) -> TemplatesAnswer:
    """Their names, and what they say that they do."""
    found = call.services.templates.about()
    return TemplatesAnswer(
        templates=found,
        next="Give one of these names as setup of aleph_create_vm." if found else "The owner has set none.",
    )


TOOL = Tool(
    name="setup_templates",
    title="Setup templates",
    description="The owner's start-up scripts by name.",
    arguments=Arguments,
    answer=TemplatesAnswer,
    run=run,
    read_only=True,
    idempotent=True,
)
