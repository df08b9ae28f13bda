"""The text that Prometheus scrapes, read back by Prometheus' own parser."""

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aleph_agentd.domain.metrics import BOUNDS_S, Family, Sample, Timings, by_label, gauge, render


def _read(*families: Family) -> dict[str, float]:
    """Every sample that the parser finds, by name and labels."""
    return {
        sample.name
        + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(render(families))
        for sample in family.samples
    }


def test_a_gauge_is_read_back_with_its_value() -> None:
    """Whole numbers as such, others with all their digits."""
    assert _read(gauge("a", "A.", 3), gauge("b", "B.", 0.1 + 0.2)) == {
        "aleph_agentd_a": 3,
        "aleph_agentd_b": 0.1 + 0.2,
    }


def test_what_is_not_known_has_no_sample() -> None:
    """Zero credits and credits that nobody knows are two things."""
    assert _read(gauge("a", "A.", None)) == {}
    assert _read(gauge("a", "A.", 0)) == {"aleph_agentd_a": 0}


@pytest.mark.parametrize("hostile", ['a"b', "a\\", 'x"} 1\naleph_agentd_vms{state="y', "\n", "ü\u202e"])
def test_no_label_breaks_out_of_its_quotes(hostile: str) -> None:
    """Even if one were ever to hold what somebody else wrote."""
    assert _read(by_label("a", "A.", "kind", {hostile: 1})) == {f"aleph_agentd_a kind={hostile}": 1}


def test_a_help_text_stays_on_its_line() -> None:
    """And its backslashes come back."""
    [family] = text_string_to_metric_families(render([gauge("a", "one\ntwo \\ three", 1)]))
    assert family.documentation == "one\ntwo \\ three"


def test_a_histogram_counts_each_time_once_and_all_of_them_in_the_last_bucket() -> None:
    """The ends of buckets belong to them."""
    timings = Timings()
    for seconds in (0.0005, BOUNDS_S[1], 0.3, 1000.0):
        timings.add(seconds)
    found = _read(Family("t", "histogram", "T.", tuple(timings.samples((("m", "x"),)))))
    buckets = [found[f"aleph_agentd_t_bucket le={_bound(bound)} m=x"] for bound in (*BOUNDS_S, math.inf)]
    assert buckets == [1, 2, 2, 2, 3, 3, 3, 3, 4]
    assert found["aleph_agentd_t_count m=x"] == 4
    assert found["aleph_agentd_t_sum m=x"] == pytest.approx(1000.3055)


def _bound(bound: float) -> str:
    return "+Inf" if math.isinf(bound) else f"{bound:g}"


def test_every_kind_is_told_to_prometheus() -> None:
    """A counter that is read as a gauge has no rate."""
    families = [
        Family("x_total", "counter", "X.", (Sample(1),)),
        Family("h", "histogram", "H.", ()),
        gauge("g", "G.", 1),
    ]
    kinds = [family.type for family in text_string_to_metric_families(render(families))]
    assert kinds == ["counter", "histogram", "gauge"]
