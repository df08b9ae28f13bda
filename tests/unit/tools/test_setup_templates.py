"""Start-up scripts of the owner's, asked for by name."""

import pytest

from aleph_agentd.domain.errors import NotFound
from aleph_agentd.domain.setup_templates import Templates
from aleph_agentd.tools.toolbox import Toolbox
from support.world import ALICE, World

RUST = "#!/bin/sh\n# Rust, as its authors install it\ncurl -sSf https://sh.rustup.rs | sh -s -- -y\n"


async def _create(world: World, setup: str, **more: object) -> dict[str, object]:
    arguments = {"name": "box", "ttl_hours": 1, "setup": setup, **more}
    return await Toolbox(world.services).call("aleph_create_vm", arguments, caller=ALICE)


async def test_a_template_s_script_is_what_the_vm_runs(world: World) -> None:
    """Stored with the VM as it was then: a later reload changes nothing for it."""
    world.services.templates.scripts = {"rust": RUST}
    answer = await _create(world, "@rust")
    world.services.templates.scripts = {}
    script = await world.inventory.setup_of(str(answer["item_hash"]))
    assert script and script.script == RUST
    await world.quiet()


async def test_an_unknown_name_answers_with_those_there_are(world: World) -> None:
    """Nothing is created."""
    with pytest.raises(NotFound) as none:
        await _create(world, "@rust")
    assert "The owner has set none" in none.value.hint
    world.services.templates.scripts = {"rust": RUST, "go": "true"}
    with pytest.raises(NotFound) as unknown:
        await _create(world, "@rusty\x1b[2J")
    assert unknown.value.hint == "There are: @go, @rust."
    assert await world.rows() == []


async def test_they_are_a_resource_and_no_tool(world: World) -> None:
    """With the first comment of each, and nothing else of the script."""
    world.services.templates.scripts = {"rust": RUST, "go": "true"}
    toolbox = Toolbox(world.services)
    answer = await toolbox.call("setup_templates", {}, caller=ALICE)
    assert answer["templates"] == [
        {"setup": "@go", "about": ""},
        {"setup": "@rust", "about": "Rust, as its authors install it"},
    ]
    assert "setup_templates" not in {tool["name"] for tool in toolbox.listing()}


def test_a_script_is_no_name() -> None:
    """It runs as it is, also when one of its lines begins with the sign."""
    for script in ("make\n@rust", "echo @rust", "@rust\nmake"):
        assert Templates({}).script(script) == script
