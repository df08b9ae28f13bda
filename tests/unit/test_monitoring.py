"""The alert file and the dashboard: each figure that they name is one that the daemon has."""

import json
import re
from typing import Any

import pytest

from aleph_agentd.domain.metrics import PREFIX
from aleph_agentd.services.measuring import About, Measuring
from aleph_agentd.services.meters import Meters
from support.source import ROOT
from support.world import World
from support.world_fixtures import machine, short_pauses, world

__all__ = ["machine", "short_pauses", "world"]

MONITORING = ROOT / "docs" / "monitoring"
_NAME = re.compile(PREFIX + r"[a-z_]+")


@pytest.fixture
async def names(world: World) -> set[str]:
    """Every name under which Prometheus knows a figure."""
    about = About("0.1.0", world.clock.now(), lambda: 0)
    families = await Measuring(world.services, Meters(), about).families()
    plain = {PREFIX + family.name for family in families}
    histograms = {PREFIX + family.name for family in families if family.kind == "histogram"}
    return plain | {name + suffix for name in histograms for suffix in ("_bucket", "_sum", "_count")}


def _expressions(node: Any) -> list[str]:
    """Whatever is called `expr`, wherever it lies."""
    if isinstance(node, dict):
        here = [node["expr"]] if isinstance(node.get("expr"), str) else []
        return here + [text for value in node.values() for text in _expressions(value)]
    return [text for value in node for text in _expressions(value)] if isinstance(node, list) else []


async def test_a_figure_that_the_dashboard_shows_exists(names: set[str]) -> None:
    """A panel on a name that nothing has would stay empty for ever."""
    expressions = _expressions(json.loads((MONITORING / "grafana.json").read_text()))
    used = {name for expression in expressions for name in _NAME.findall(expression)}
    assert len(expressions) >= 15
    assert used
    assert used <= names


async def test_a_figure_that_an_alert_watches_exists(names: set[str]) -> None:
    """An alert on a name that nothing has would never fire."""
    rules = (MONITORING / "alerts.yml").read_text().split("- alert: ")[1:]
    assert len(rules) >= 8
    assert len({rule.splitlines()[0] for rule in rules}) == len(rules)
    for rule in rules:
        used = set(_NAME.findall(rule))
        assert used <= names
        assert used or rule.startswith("AlephAgentdDown")
        assert all(f"{part}:" in rule for part in ("expr", "severity", "summary", "description"))
        assert rule.count("(") == rule.count(")")


def test_the_panels_do_not_overlap_and_all_have_a_source() -> None:
    """Two panels on one place would hide each other."""
    dashboard = json.loads((MONITORING / "grafana.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        taken |= cells
