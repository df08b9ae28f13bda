"""What agents may send, and what they are shown."""

import json
from typing import Any

import pytest

from aleph_agentd.domain.errors import BadInput, NotFound
from aleph_agentd.tools.base import Tool
from aleph_agentd.tools.toolbox import ALL, INSTRUCTIONS, Toolbox, parse
from bench.tokens import ESTIMATE_SLACK, estimate, our_tools, over_budget, seen_by_a_model
from support.world import ALICE, World

BY_NAME = {tool.name: tool for tool in ALL}
CREATE = BY_NAME["aleph_create_vm"]
MISSION = {
    "aleph_check_balance",
    "aleph_list_crns",
    "aleph_create_vm",
    "aleph_destroy_vm",
    "aleph_list_my_vms",
    "aleph_extend_vm",
}
MISSION_ARGUMENTS = {
    "aleph_list_crns": {"min_compute_units", "gpu"},
    "aleph_create_vm": {
        "name",
        "crn_hash",
        "compute_units",
        "ttl_hours",
        "os_image",
        "dry_run",
        "purpose",
        "confirmed",
    },
    "aleph_destroy_vm": {"item_hash"},
    "aleph_extend_vm": {"item_hash", "additional_hours"},
}
each_tool = pytest.mark.parametrize("tool", ALL, ids=lambda tool: tool.name)


def _problems(tool: Tool, arguments: object) -> list[str]:
    with pytest.raises(BadInput) as refused:
        parse(tool, arguments)
    assert len(refused.value.message) < 3000
    assert refused.value.hint.startswith("Arguments: ")
    return list(refused.value.data.get("problems", [refused.value.message]))


def test_one_refusal_lists_every_problem() -> None:
    """An agent mends all of them in one go."""
    arguments = {
        "name": "a\nb",
        "compute_units": 3,
        "ttl_hours": -1,
        "os_image": 7,
        "dry_run": "perhaps",
        "max_hourly_cost": 0,
        "ssh_pubkey": "ssh-ed25519",
        "colour": "blue",
    }
    problems = _problems(CREATE, arguments)
    assert {problem.partition(":")[0] for problem in problems} == set(arguments)
    assert "colour: is not an argument of this tool" in problems
    assert any("1, 2, 4, 6, 8, 12" in problem for problem in problems)


def test_a_missing_argument_is_named() -> None:
    """And what is allowed."""
    assert _problems(CREATE, {}) == ["name: is missing"]
    assert _problems(CREATE, None) == ["name: is missing"]


@pytest.mark.parametrize(
    "number", [float("nan"), float("inf"), float("-inf"), -1, 0, "NaN", "1e400", [], {}, 8761, True]
)
@pytest.mark.parametrize(
    ("tool", "argument", "rest"),
    [
        ("aleph_create_vm", "ttl_hours", {"name": "a"}),
        ("aleph_extend_vm", "additional_hours", {"item_hash": "a"}),
        ("aleph_wait_vm", "timeout_s", {"item_hash": "a"}),
    ],
)
def test_a_number_that_is_none_or_out_of_bounds_is_refused(
    number: Any, tool: str, argument: str, rest: dict[str, Any]
) -> None:
    """NaN would pass every comparison of the policy."""
    [problem] = _problems(BY_NAME[tool], rest | {argument: number})
    assert problem.startswith(f"{argument}: ")


@pytest.mark.parametrize("size", [300_000, 10_000_000])
def test_megabytes_are_refused_and_not_echoed(size: int) -> None:
    """Neither as a value nor as a name."""
    for arguments in ({"name": "x" * size}, {"name": "a", "x" * size: 1}, {"name": ["x" * size]}):
        [problem] = _problems(CREATE, arguments)
        assert len(problem) < 200


def test_hundreds_of_unknown_arguments_are_counted_not_listed() -> None:
    """Ten of them are enough."""
    with pytest.raises(BadInput, match="and 490 more"):
        parse(CREATE, {"name": "a"} | {f"x{n}": n for n in range(500)})


@pytest.mark.parametrize("arguments", ["name", 7, ["name"], True, b"x"])
def test_arguments_are_one_object(arguments: object) -> None:
    """Anything else says so."""
    assert "are one object" in _problems(CREATE, arguments)[0]


@pytest.mark.parametrize("deep", [600, 100_000])
def test_arguments_of_any_depth_are_refused_not_crashed_upon(deep: int) -> None:
    """A stack is finite."""
    nest: Any = 1
    for _ in range(deep):
        nest = [nest]
    assert _problems(CREATE, {"name": nest})


@pytest.mark.parametrize(
    "name", ["", "a b", "a\n", "deadbeef", "../x", "-x", "x" * 65, "a\0", "\u202eabc", None, 5]
)
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    """Newlines, hashes, options, paths."""
    assert _problems(CREATE, {"name": name})


def test_a_key_s_comment_does_not_survive_parsing() -> None:
    """rules.md 10."""
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMtT6fOWe4wqZpVvMJ0sKxkC9bBKfyoGJkTtC4e6wqXX"
    parsed: Any = parse(CREATE, {"name": "a", "ssh_pubkey": f"{key} me@home"})
    assert parsed.ssh_pubkey == key


def test_a_truth_is_a_truth_and_nothing_else() -> None:
    """Neither one hour nor one unit, and no text; where one is asked for, it is one."""
    wrong = {"ttl_hours": True, "compute_units": True, "max_hourly_cost": True, "os_image": False}
    problems = _problems(CREATE, {"name": "a", **wrong})
    assert {problem.partition(":")[0] for problem in problems} == set(wrong)
    parsed: Any = parse(CREATE, {"name": "a", "dry_run": True, "confirmed": False})
    assert (parsed.dry_run, parsed.confirmed) == (True, False)


def test_a_purpose_is_one_line_of_text() -> None:
    """The owner and other sessions read it."""
    parsed: Any = parse(CREATE, {"name": "a", "purpose": "build\n\x1b[2Jit\u202e \u200bnow\0"})
    assert parsed.purpose == "build [2Jit now"


async def test_an_unknown_tool_is_refused_with_those_there_are(world: World) -> None:
    """And a long name is cut."""
    with pytest.raises(NotFound) as refused:
        await Toolbox(world.services).call("aleph_" + "x" * 9999, {}, caller=ALICE)
    assert refused.value.code == "unknown_tool"
    assert len(refused.value.message) < 200
    assert all(name in refused.value.hint for name in BY_NAME)


@pytest.mark.parametrize(
    "reference", ["0" * 64, "not a hash", "a\nb", "%", "' or 1=1 --", "ab" * 32, "x" * 128, "deadbeef"]
)
@pytest.mark.parametrize("tool", ["aleph_destroy_vm", "aleph_extend_vm", "aleph_wait_vm"])
async def test_what_names_no_vm_is_not_found(world: World, tool: str, reference: str) -> None:
    """With the next step."""
    await world.create()
    rest = {"additional_hours": 1} if tool == "aleph_extend_vm" else {}
    with pytest.raises(NotFound) as refused:
        await Toolbox(world.services).call(tool, {"item_hash": reference, **rest}, caller=ALICE)
    assert "aleph_list_my_vms" in refused.value.hint


def test_the_mission_s_tools_and_arguments_are_kept() -> None:
    """Agents and scripts already send them."""
    assert set(BY_NAME) >= MISSION
    for name, arguments in MISSION_ARGUMENTS.items():
        assert arguments <= set(BY_NAME[name].arguments.model_fields)


@each_tool
def test_schemas_are_objects_and_closed(tool: Tool) -> None:
    """One bad schema fails the whole tools/list."""
    listed = tool.listing()
    assert listed["inputSchema"]["type"] == listed["outputSchema"]["type"] == "object"
    assert listed["inputSchema"]["additionalProperties"] is False
    json.dumps(listed)


@each_tool
def test_annotations_are_complete_and_do_not_contradict(tool: Tool) -> None:
    """Clients in unattended mode go by them."""
    listed = tool.listing()
    hints = listed["annotations"]
    assert set(hints) == {"title", "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
    assert all(isinstance(value, bool) for name, value in hints.items() if name != "title")
    assert listed["title"] == hints["title"] == tool.title
    assert not (hints["readOnlyHint"] and hints["destructiveHint"])
    destroys = {"aleph_destroy_vm", "aleph_vm_power", "aleph_vm_run", "aleph_vm_copy"}
    assert hints["destructiveHint"] is (tool.name in destroys)
    changes = destroys | {"aleph_create_vm", "aleph_extend_vm", "aleph_adopt_vm", "aleph_freeze"}
    assert hints["readOnlyHint"] is (tool.name not in changes)


@each_tool
def test_every_answer_carries_the_footer_and_dollars_beside_credits(tool: Tool) -> None:
    """expires_in, budget_left, what is stuck; each amount of credits has its `_usd` twin."""
    fields = set(tool.answer.model_fields)
    assert {"expires_in", "budget_left", "budget_left_usd", "stuck", "alerts"} <= fields
    for field in fields:
        if field.endswith(("_cost", "_estimate", "_incurred", "_credits", "rate_per_hour")):
            twin = field.removesuffix("_credits")
            assert {f"{field}_usd", f"{twin}_usd"} & fields, field


def test_the_listing_fits_its_budget() -> None:
    """Each tool and all together, as the model sees them, by the estimate of `make tokens`."""
    counts = {tool["name"]: estimate(seen_by_a_model(tool)) for tool in our_tools()}
    assert over_budget(counts, slack=ESTIMATE_SLACK) == []
    assert all(len(tool.description) <= 4096 for tool in ALL)
    assert len(INSTRUCTIONS) <= 4096


def test_a_listing_over_its_budget_is_told() -> None:
    """By tool, by number, and together."""
    assert over_budget({"aleph_create_vm": 350, "other": 150}) == []
    assert over_budget({"aleph_create_vm": 351, "other": 151}) == [
        "aleph_create_vm: 351 tokens, at most 350",
        "other: 151 tokens, at most 150",
    ]
    assert over_budget({str(n): 1 for n in range(16)}) == ["16 tools, at most 15"]
    assert over_budget({str(n): 150 for n in range(13)}) == ["1950 tokens together, at most 1900"]


def test_only_a_few_tools_are_always_loaded() -> None:
    """The core course."""
    assert 3 <= sum(tool.always_load for tool in ALL) <= 5


def test_every_tool_names_itself_in_the_mission_s_way() -> None:
    """Names are all that some clients show."""
    assert all(name.startswith("aleph_") and name.islower() for name in BY_NAME)
