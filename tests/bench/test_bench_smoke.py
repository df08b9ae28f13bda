"""The benchmark itself works; how fast anything is, is not judged here."""

import json
from pathlib import Path

import pytest

from bench import crowd, run, scale
from bench.figures import amount, interleaved, ratio, table, worst
from support.devnet import DevnetProcess


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


def test_what_ninety_nine_of_a_hundred_keep_is_not_their_maximum() -> None:
    """One of a hundred may be worse, two may not."""
    assert worst("late", "s", [0.1] * 99 + [9.0], 1.0).ok
    assert not worst("late", "s", [0.1] * 98 + [9.0] * 2, 1.0).ok


def test_a_crowd_lives_on_the_network_and_in_the_inventory_and_ends_when_it_should(tmp_path: Path) -> None:
    """Sixty leases instead of ten thousand; a daemon that did not know them would end none."""
    sizes = scale.QUICK
    with DevnetProcess(tmp_path, crns=sizes.crns) as net, scale.idle_daemon(net) as daemon:
        crowd.settle(net, {daemon: sizes.leases}, mortal=2 + sizes.spread + sizes.mass)
        figures = list(scale.ends(net, daemon, sizes))
        left = crowd.charged_until(net, crowd.oldest(daemon, sizes.leases))
    assert [figure.rounds for figure in figures[:4]] == [1, 1 + sizes.spread, 1, sizes.mass]
    assert all(figure.value < scale.PATIENCE_S for figure in figures)
    assert sum(at is None for at in left.values()) == sizes.leases - (2 + sizes.spread + sizes.mass)
