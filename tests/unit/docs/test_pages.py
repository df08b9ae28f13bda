"""The pages of README and docs: no dead link, no tool that is not, and an example that works."""

import re

import pytest

from aleph_agentd.adapters.config import Settings
from aleph_agentd.adapters.webhook import SIGNATURE, TIMESTAMP, signature
from aleph_agentd.tools.base import Tool
from support import tools_page
from support.source import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROMISED = {"tools", "policy", "security", "operations", "devnet", "writing-a-tool", "clients"}


def test_every_page_that_was_promised_is_there_and_named_on_the_front_page():
    """The README is where one begins."""
    front = PAGES[0].read_text()
    assert [name for name in sorted(PROMISED) if f"docs/{name}.md" not in front] == []
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} >= PROMISED


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_links_lead_somewhere(page):
    """To files of this repository; and to headings that are there."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text().replace("\n", " ")):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {
                re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
            }, target


def test_the_page_of_tools_is_what_the_tools_say():
    """`.venv/bin/python tests/support/tools_page.py` writes it anew."""
    text = tools_page.PAGE.read_text()
    assert tools_page.page(text) == text


def test_every_setting_has_its_place_in_the_table():
    """What can be set can be looked up."""
    table = (ROOT / "docs/policy.md").read_text()
    told = set(re.findall(r"`([A-Z][A-Z_0-9]+)`", table))
    own = {"projects", "database_url", "api_hosts", "tombstone_days"}
    missing = {name.upper() for name in Settings.model_fields.keys() - own} - told
    assert missing == set()


def test_the_example_of_a_tool_is_one():
    """It runs where the real ones are."""
    page = (ROOT / "docs/writing-a-tool.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {"__name__": "aleph_agentd.tools.hello", "__package__": "aleph_agentd.tools"}
    exec(compile(code, "writing-a-tool.md", "exec"), names)
    assert isinstance(names["TOOL"], Tool)
    assert names["TOOL"].listing()["annotations"]["readOnlyHint"] is True


def test_the_documented_way_to_verify_a_webhook_takes_ours_and_no_other():
    """Whoever copies it from the page is safe."""
    page = (ROOT / "docs/operations.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict = {}
    exec(compile(code, "operations.md", "exec"), names)
    secret, body, now = b"s" * 32, b"{}", str(int(names["time"].time()))
    headers = {TIMESTAMP: now, SIGNATURE: signature(secret, now, body)}
    assert names["is_genuine"](secret, headers, body)
    assert not names["is_genuine"](secret, headers, body + b" ")
    old = str(int(now) - 301)
    assert not names["is_genuine"](secret, {TIMESTAMP: old, SIGNATURE: signature(secret, old, body)}, body)
