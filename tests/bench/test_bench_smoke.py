"""The benchmark itself works; how fast anything is, is not judged here."""

import json

import pytest

from bench import run
from bench.figures import amount, interleaved, ratio, table


def test_a_ratio_compares_medians_and_keeps_or_misses_its_limit() -> None:
    """One slow round changes nothing."""
    pairs = [(0.002, 0.001), (0.9, 0.001), (0.002, 0.001)]
    assert ratio("a", "floor", pairs).value == pytest.approx(2)
    assert ratio("a", "floor", pairs).ok
    assert ratio("a", "floor", pairs, 2.0).ok
    assert not ratio("a", "floor", pairs, 1.9).ok


def test_what_is_measured_and_its_floor_take_turns_after_a_round_to_warm_up() -> None:
    """So that noise hits both."""
    calls: list[str] = []

    def measure() -> float:
        calls.append("a")
        return len(calls)

    def floor() -> float:
        calls.append("b")
        return len(calls)

    assert interleaved(2, measure, floor) == [(3, 4), (5, 6)]
    assert calls == ["a", "b"] * 3


def test_the_table_says_which_limit_was_missed() -> None:
    """A line per figure, a word per limit."""
    lines = table([amount("small", "MiB", [1.0], 2), amount("big", "MiB", [3.0], 2)]).splitlines()
    assert " ok " in lines[0]
    assert " MISSED " in lines[1]


@pytest.mark.parametrize(("more", "code"), [([], 1), (["--no-limits"], 0), (["--quick"], 0)])
def test_a_missed_limit_is_the_exit_code(
    more: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless nobody asked for a judgement."""
    monkeypatch.setattr(run, "run", lambda _parts, _rounds: iter([amount("big", "MiB", [3.0], 2)]))
    assert run.main(["--json", *more]) == code
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_the_round_trips_are_measured_against_their_echo(capsys: pytest.CaptureFixture[str]) -> None:
    """A devnet, a daemon and an echo, three rounds."""
    assert run.main(["--quick", "--only", "rpc", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert [figure["rounds"] for figure in figures] == [run.QUICK_ROUNDS] * 2
    assert all(figure["value"] > 0 for figure in figures)
