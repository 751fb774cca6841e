"""Many pairs at once: simultaneous anytime-valid intervals, pairs at each learning rate, ranks."""

import itertools
import json

import numpy as np
import pytest

import jaxinv as ji
from jaxinv import cli, plots, stats
from jaxinv.report.pages import study_page
from tests.builders import paired_results, results_of
from tests.cli.test_compare import call, stored

ARMS = ("a", "b", "c", "d")


def made(means: tuple[float, ...], trials: int = 200, sd: float = 0.01, seed: int = 0, rates=(0.5,)):
    rng = np.random.default_rng(seed)
    level = np.array(means).reshape(-1, 1, 1, 1)
    accuracy = np.round(level + rng.normal(0, sd, (len(means), len(rates), trials, 1)), 4)
    return results_of(accuracy, arms=ARMS[: len(means)], learning_rates=rates)


def test_intervals_of_all_pairs_together_are_each_wider_by_their_number():
    results = made((0.9, 0.9, 0.88))
    every = stats.compare_all(results)
    for pair in every:
        d = np.subtract(*(results.accuracy.sel(arm=arm).values.ravel().astype(float) for arm in pair.arms))
        grain = float(results.accuracy.max()) * 2**-22
        one = stats.anytime_interval(d, grain=grain)
        together = stats.anytime_interval(d, confidence=1 - 0.05 / 3, grain=grain)
        np.testing.assert_allclose([pair.ci95_anytime, pair.ci95_anytime_family], [one.ci, together.ci])
    anytime = stats.holm([pair.p_anytime for pair in every])
    np.testing.assert_allclose([pair.p_anytime_adjusted for pair in every], anytime)
    alone = ji.compare(results, "a", "b")
    assert alone.ci95_anytime_family == alone.ci95_anytime
    exact = stats.compare_all(results, anytime="exact")[0]
    d = np.subtract(*(results.accuracy.sel(arm=arm).values.ravel().astype(float) for arm in exact.arms))
    own = stats.bernstein_interval(d, (-1, 1), confidence=1 - 0.05 / 3)
    np.testing.assert_allclose(exact.ci95_anytime_family, own.ci)


def test_no_true_difference_is_missed_by_any_of_the_intervals_at_any_look():
    """Six pairs of four arms, looked at after every ten trials: rarely one of all these looks is wrong."""
    rng = np.random.default_rng(1)
    wrong, runs = 0, 200
    confidence = 1 - 0.05 / 6
    for _ in range(runs):
        values = rng.normal(0, 0.01, (4, 400))
        wide = [stats.confidence_sequence(a - b, confidence=confidence) for a, b in itertools.combinations(values, 2)]
        wrong += any(bool(np.any((look.ci[0] > 0) | (look.ci[1] < 0))) for look in wide)
    assert wrong / runs <= 0.05


def test_ranks_are_what_the_tests_leave_open():
    every = stats.compare_all(made((0.9, 0.8999, 0.88, 0.5)))
    assert [(one.arm, one.best, one.worst) for one in every.ranks()] == [
        ("a", 1, 2),
        ("b", 1, 2),
        ("c", 3, 3),
        ("d", 4, 4),
    ]
    assert [one.text for one in every.ranks()] == ["1 to 2", "1 to 2", "3", "4"]
    assert "1 to 2" in str(every)
    assert "rank" in dict(every.notes())
    few = stats.compare_all(made((0.9, 0.8999, 0.88, 0.5), trials=5))
    assert {(one.best, one.worst) for one in few.ranks()} == {(1, 4)}  # too few to speak
    assert stats.compare_all(made((0.9, 0.8)), adjust="bh").ranks() == []


def test_the_lowest_loss_ranks_first():
    results = made((0.9, 0.8, 0.7))  # whose losses are 1 - accuracy
    by_loss = stats.compare_all(results, metric="test_loss").ranks()
    assert [one.arm for one in by_loss] == ["a", "b", "c"]


@pytest.mark.slow
def test_true_ranks_are_inside_all_together():
    inside, runs = 0, 40
    for seed in range(runs):
        found = stats.compare_all(made((0.9, 0.898, 0.896, 0.894), trials=30, seed=seed)).ranks()
        inside += all(one.best <= 1 + ARMS.index(one.arm) <= one.worst for one in found)
    assert inside / runs >= 0.95


def test_all_pairs_at_each_learning_rate_are_one_family():
    results = made((0.9, 0.88, 0.86), rates=(0.1, 0.5))
    every = stats.compare_all(results, learning_rate="each")
    assert [(pair.arms, pair.rate) for pair in every] == [
        (arms, (rate, rate)) for arms in itertools.combinations("abc", 2) for rate in (0.1, 0.5)
    ]
    assert {pair.family for pair in every} == {6}
    np.testing.assert_allclose([p.p_adjusted for p in every], stats.holm([p.p_value for p in every]))
    assert every.ranks() == []
    fixed = results.assign_coords(rate=(("arm", "learning_rate"), [[0.1, 0.5], [0.2, 0.2], [0.3, 0.3]]))
    assert len(stats.compare_all(fixed, learning_rate="each")) == 5  # b - c is the same at both
    with pytest.raises(ji.InputError, match="learning_rate: 'all' is not allowed; give a number, or 'each'"):
        stats.compare_all(results, learning_rate="all")


def test_plots_and_pages_show_them():
    results = made((0.9, 0.88, 0.86), rates=(0.1, 0.5))
    every = stats.compare_all(results, learning_rate="each")
    ax = plots.forest(every)
    thin = [line for line in ax.lines if line.get_linewidth() == 0.9]
    drawn = np.array([np.asarray(line.get_xdata()) for line in thin])
    np.testing.assert_allclose(drawn, [pair.ci95_anytime_family for pair in every])
    ranked = stats.compare_all(results, learning_rate=0.5).ranks()
    bars = plots.arm_ranks(ranked).lines
    assert [tuple(np.asarray(line.get_xdata())) for line in bars] == [(one.best, one.worst) for one in ranked]
    with pytest.raises(ji.InputError, match="ranks: none given"):
        plots.arm_ranks([])
    titles = [figure.title for figure in study_page(results).figures]
    assert {"Ranks", "Paired differences at each learning rate"} <= set(titles)
    assert "Ranks" not in [figure.title for figure in study_page(paired_results(20)).figures]


def test_the_command_compares_at_each_rate_and_draws(capsys, tmp_path):
    stored(tmp_path / "run", learning_rate=(0.1, 0.5))
    status, out, err = call(
        capsys, "compare", tmp_path / "run", "--each-rate", "--out", tmp_path / "forest.png", "--json"
    )
    assert (status, err) == (cli.DONE, "")
    assert len(json.loads(out)["comparisons"]) == 6
    assert (tmp_path / "forest.png").read_bytes().startswith(b"\x89PNG")
    status, out, err = call(capsys, "compare", tmp_path / "run", "normal", "raw", "--each-rate")
    assert (status, out) == (cli.SENSELESS, "")
    assert err.startswith("jaxinv: each_rate: --each-rate compares all pairs of one run")
    status, _, err = call(capsys, "compare", tmp_path / "run", "--each-rate", "--out", tmp_path / "forest.tiff")
    assert status == cli.SENSELESS
