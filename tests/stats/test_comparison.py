"""Comparisons of stored results: what is taken, what is left out and said, and what is refused."""

import json
from typing import Any

import numpy as np
import pytest
import xarray as xr

from jaxinv import stats
from jaxinv.errors import DataError, InputError
from jaxinv.results import cell, mean_over_steps
from tests.builders import paired_results


def sides(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    a, b = data["accuracy"].values[:2, 0, :, -1].astype(np.float64)
    return a, b


def test_every_figure_is_the_array_functions():
    data = paired_results(30)
    a, b = sides(data)
    got = stats.compare(data, "normal", "inverted", margin=0.06, alpha=0.01, seed=5, bootstrap=1000)
    t = stats.paired_t(a, b)
    assert (got.arms, got.n, got.step, got.learning_rate) == (("normal", "inverted"), 30, 50, (0.5, 0.5))
    assert (got.mean_a, got.sd_b) == (stats.summary(a).mean, stats.summary(b).sd)
    assert (got.difference, got.ci95, got.p_value) == (t.difference, t.ci95, t.p_value)
    assert got.difference == pytest.approx(0.05, abs=0.01)
    assert got.p_wilcoxon == stats.wilcoxon(a, b, resolution=2e-7).p_value
    assert got.p_permutation == stats.sign_flip(a, b, seed=5).p_value
    assert (got.effect_size, got.superiority) == (stats.cohen_dz(a, b), stats.superiority(a, b))
    assert (got.correlation, got.pairing_gain) == tuple(stats.pairing(a, b))
    assert got.equivalence == stats.tost(a, b, 0.06, alpha=0.01)
    drawn = stats.bootstrap_interval(a - b, resamples=1000, seed=5)
    assert got.ci95_bootstrap == (drawn.low, drawn.high)
    assert got.significant
    assert "not new test images" in got.covers


def test_anytime_figures_are_those_of_one_look_at_the_differences():
    data = paired_results(80).assign_attrs(test_images="10000")
    a, b = sides(data)
    got, look = stats.compare(data, "normal", "inverted"), stats.anytime_interval(a - b, grain=1e-4)
    assert (got.ci95_anytime, got.p_anytime, got.methods["p_anytime"]) == (look.ci, look.p_value, "asymptotic")
    assert got.ci95_anytime[0] < got.ci95[0] < got.ci95[1] < got.ci95_anytime[1]
    exact, look = stats.compare(data, "normal", "inverted", anytime="exact"), stats.bernstein_interval(a - b, (-1, 1))
    assert (exact.ci95_anytime, exact.p_anytime) == (look.ci, look.p_value)
    assert exact.methods["p_anytime"] == "empirical Bernstein"
    for told in (str(got), str(stats.compare_all(data)), got._repr_html_(), stats.compare_all(data)._repr_html_()):
        assert "where you looked and then added trials" in " ".join(told.split())
    fields = got.to_dict()
    assert fields["ci95_anytime"] == list(got.ci95_anytime)
    assert fields["p_anytime"] == got.p_anytime
    assert dict(got.rows())["anytime"].startswith("95% interval [+0.")


def test_before_its_first_look_the_anytime_interval_is_said_to_begin_later():
    got = stats.compare(paired_results(56), "normal", "inverted")
    assert dict(got.rows())["anytime"] == "56 pairs are too few for this interval, which begins with 57"
    assert got.to_dict()["ci95_anytime"] == [None, None]
    family = stats.compare_all(paired_results(56))
    assert family.anytime_table()[1][-2] == "too few"
    assert dict(family.notes())["anytime"] == "begins with 57 pairs"
    assert "anytime" not in dict(stats.compare_all(paired_results(57)).notes())


def test_a_wide_terminal_shows_each_pair_in_one_line(monkeypatch):
    data = paired_results(60).assign_coords(arm=["a_name_of_some_length", "another_name_of_length"])
    for columns, lines in (("80", 2), ("140", 1)):
        monkeypatch.setenv("COLUMNS", columns)
        told = str(stats.compare_all(data, margin=0.01)).split("\n\n")[0].splitlines()
        assert len(told) == 2 * lines + 1
        assert max(map(len, told)) <= int(columns)
        assert "open" in told[-1]


@pytest.mark.parametrize("trials", [2, 5, 6])
def test_fewer_than_six_pairs_give_no_verdict(trials):
    data = paired_results(trials)
    got, family = stats.compare(data, "normal", "inverted", margin=0.5), stats.compare_all(data, margin=0.5)
    said = dict(got.rows())
    enough = trials >= 6
    assert got.enough == got.significant == enough
    assert got.equivalence is not None
    assert got.equivalence.equivalent == enough
    few = f"{trials} pairs are too few to speak; 6 or more are needed"
    assert (said["p-value"] == few) != enough
    assert (dict(family.notes()).get("too few") == few) != enough
    assert (family.table()[1][5:7] == ["too few"] * 2) != enough
    assert (family.anytime_table()[1][-1] == "too few") != enough
    assert [row[8] for row in family.table()] == ["in +-0.5", "yes" if enough else "too few"]
    assert "anytime 95% interval" not in str(family)  # which nobody has yet: a note says when it begins
    assert got.to_dict()["enough"] == enough
    if not enough:
        assert said["anytime"] == few
        assert "too few to speak" in said["equivalence"]


def test_accuracies_move_in_steps_of_one_test_image():
    data = paired_results(8)
    data["accuracy"].values[:] = np.array([0.9, 0.8]).reshape(2, 1, 1, 1)
    some = data.assign_attrs(test_images="50")
    got = stats.compare(some, "normal", "inverted")
    assert got.grain == 0.02
    assert got.effect_size == pytest.approx(10)
    assert got.ci95 == pytest.approx(stats.summary(np.full(8, 0.1), grain=0.02).ci95)
    assert got.ci95[1] - got.ci95[0] > 0.01
    assert stats.cell_summary(cell(some, "normal")).accuracy.ci95 == pytest.approx(
        (0.9 - 0.00836, 0.9 + 0.00836), abs=1e-5
    )
    assert stats.compare(data, "normal", "inverted").grain == pytest.approx(0.9 * 2**-22)  # where that is not known
    means = mean_over_steps(paired_results(8, steps=(10, 20)).assign_attrs(test_images="50"))
    assert stats.compare(means, "normal", "inverted").grain == 0.01
    assert stats.compare(some, "normal", "inverted", metric="test_loss").grain < 1e-5


def test_swapping_the_arms_turns_the_signs_and_nothing_else():
    data = paired_results()
    one, other = stats.compare(data, "normal", "inverted"), stats.compare(data, "inverted", "normal")
    assert one.difference == -other.difference
    assert one.ci95 == pytest.approx((-other.ci95[1], -other.ci95[0]))
    assert one.superiority == pytest.approx(1 - other.superiority)
    assert one.p_value == other.p_value
    assert one.p_permutation == other.p_permutation
    assert one.mean_a == other.mean_b


def test_the_order_of_dimensions_does_not_matter():
    data = paired_results(rates=(0.1, 0.5), steps=(10, 20))
    turned = data.transpose("step", "trial", "layer", "learning_rate", "arm")
    one, other = (stats.compare(d, "normal", "inverted", learning_rate=0.1, step=10) for d in (data, turned))
    assert one == other


def test_identical_arms_differ_by_nothing():
    got = stats.compare(paired_results(), "normal", "normal", margin=0.001)
    assert (got.difference, got.p_value, got.p_wilcoxon, got.p_permutation) == (0.0, 1.0, 1.0, 1.0)
    assert (got.effect_size, got.superiority) == (0.0, 0.5)
    for low, high in (got.ci95, got.ci95_anytime):
        assert -1e-6 < low < 0 < high < 1e-6 or np.isinf([low, high]).all()
    assert not got.significant
    assert got.equivalence is not None
    assert got.equivalence.equivalent
    assert "inf" in str(got)
    assert got.to_dict()["pairing_gain"] is None


@pytest.mark.parametrize("trials", [1, 2, 3])
def test_few_trials(trials):
    got = stats.compare(paired_results(trials), "normal", "inverted", margin=0.1, bootstrap=1000)
    assert got.n == trials
    assert np.isnan(got.p_value) == (trials == 1)
    assert got.p_permutation == 2.0 ** (1 - trials)
    assert all(len(line) <= 80 for line in str(got).splitlines())
    json.dumps(got.to_dict(), allow_nan=False)


def test_learning_rates_steps_and_metrics_are_chosen():
    data = paired_results(rates=(0.1, 0.5), steps=(10, 20, 30))
    loss = stats.compare(data, "normal", "inverted", learning_rate=0.5, step=20, metric="test_loss")
    expected = data["test_loss"].sel(learning_rate=0.5, step=20)
    assert loss.mean_a == pytest.approx(float(expected.sel(arm="normal").mean()), rel=1e-6)
    assert stats.compare(data, "normal", "inverted", learning_rate=0.1).step == 30
    own = stats.compare(data, "normal", "inverted", learning_rate=(0.5, 0.1))
    assert own.mean_a == pytest.approx(float(data["accuracy"].sel(arm="normal", learning_rate=0.5, step=30).mean()))
    assert own.mean_b == pytest.approx(float(data["accuracy"].sel(arm="inverted", learning_rate=0.1, step=30).mean()))
    assert "learning rates 0.5 (a) and 0.1 (b)" in " ".join(str(own).split())
    single = data.assign_coords(learning_rate=np.array([0.1, 0.5], np.float32))
    assert stats.compare(single, "normal", "inverted", learning_rate=0.1).n == 20


def test_the_learning_rates_that_were_used_are_told():
    data = paired_results(arms=("normal", "inverted", "adam"), rates=(0.3, 3.0))
    data = data.assign_coords(rate=(("arm", "learning_rate"), [[0.3, 3.0], [0.3, 3.0], [0.001, 0.01]]))
    pair = stats.compare(data, "normal", "adam", learning_rate=(0.3, 3.0))
    assert (pair.learning_rate, pair.rate) == ((0.3, 3.0), (0.3, 0.01))
    assert stats.paired_trials(data, "adam", "normal", learning_rate=3.0).rate == (0.01, 3.0)
    assert stats.cell_summary(cell(data, "adam", learning_rate=3.0)).rate == 0.01
    assert "learning rates 0.3 (a) and 0.01 (b)" in " ".join(str(pair).split())
    assert pair.to_dict()["rate"] == [0.3, 0.01]
    family = " ".join(str(stats.compare_all(data, learning_rate=3.0)).split())
    assert "step 50, learning rates 3 (normal), 3 (inverted) and 0.01 (adam) diverged" in family
    best = stats.compare_all(data, learning_rate={"normal": 0.3, "inverted": 3.0, "adam": 0.3})
    assert "learning rates 0.3 (normal), 3 (inverted) and 0.001 (adam) diverged" in " ".join(str(best).split())


def test_an_arm_with_two_learning_rates_in_a_family_stands_with_each():
    data = paired_results(arms=("normal", "inverted", "raw"), rates=(0.3, 3.0))
    family = stats.compare_all(data, learning_rate=(0.3, 3.0))
    assert "learning rates 0.3 (a) and 3 (b)" in " ".join(str(family).split())
    data = data.assign_coords(rate=(("arm", "learning_rate"), [[0.3, 3.0], [0.3, 3.0], [0.001, 0.01]]))
    family = stats.compare_all(data, learning_rate=(0.3, 3.0))
    assert [row[:2] for row in family.table()[1:]] == [
        ["normal at 0.3", "inverted at 3"],
        ["normal at 0.3", "raw at 0.01"],
        ["inverted at 0.3", "raw at 0.01"],
    ]
    assert dict(family.notes())["at"] == "accuracy, step 50"


def test_diverged_trials_are_counted_and_in_or_out_by_choice():
    data = paired_results(10)
    data["diverged"].values[0, 0, [1, 2]] = True
    data["diverged"].values[1, 0, [2, 3, 4]] = True
    data["accuracy"].values[1, 0, [2, 3, 4], 0] = 0.1
    within = stats.compare(data, "normal", "inverted")
    without = stats.compare(data, "normal", "inverted", diverged="exclude")
    for got in (within, without):
        assert (got.diverged_a, got.diverged_b, got.diverged_either) == (2, 3, 4)
    assert (within.n, within.excluded) == (10, 0)
    assert (without.n, without.excluded) == (6, 4)
    a, b = sides(data)
    kept = [0, 5, 6, 7, 8, 9]
    assert without.difference == pytest.approx((a - b)[kept].mean())
    assert within.difference == pytest.approx((a - b).mean())
    assert "4 of 10 (2 in a, 3 in b), included" in str(within)
    assert "4 of 10 (2 in a, 3 in b), left out" in str(without)
    np.testing.assert_array_equal(stats.paired_trials(data, "normal", "inverted", diverged="exclude").trials, kept)


def test_no_trial_left_is_said_without_a_number():
    data = paired_results(10)
    data["diverged"].values[1] = True
    for made in (
        stats.compare(data, "normal", "inverted", diverged="exclude"),
        stats.compare_all(data, diverged="exclude"),
    ):
        assert "nan" not in str(made)
        assert "n/a" in str(made)


def test_a_value_that_is_not_finite_leaves_its_pair_out_and_is_said():
    data = paired_results(10)
    data["test_loss"].values[0, 0, 3, 0] = np.nan
    data["test_loss"].values[1, 0, [3, 4], 0] = np.inf
    got = stats.compare(data, "normal", "inverted", metric="test_loss")
    assert (got.n, got.omitted, got.excluded) == (8, 2, 0)
    assert "2 left out (value not finite)" in str(got)
    everything = data.assign(test_loss=data["test_loss"] * np.nan)
    nothing = stats.compare(everything, "normal", "inverted", metric="test_loss", margin=0.1, bootstrap=1000)
    assert (nothing.n, nothing.omitted) == (0, 10)
    assert np.isnan(nothing.difference)
    json.dumps(nothing.to_dict(), allow_nan=False)
    assert "n/a" in str(nothing)


def test_only_trials_that_are_done_count():
    done = np.isin(np.arange(10), [0, 2, 3, 7])
    data = paired_results(10).assign(done=("trial", done))
    data["accuracy"].values[:, :, ~done] = np.nan
    data["diverged"].values[0, 0, 9] = True
    got = stats.compare(data, "normal", "inverted")
    assert (got.n, got.done, got.planned, got.omitted, got.diverged_a) == (4, 4, 10, 0, 0)
    assert "4 of 10 trials done" in str(got)
    with pytest.raises(DataError, match=r"^results: none of 10 trials is done yet$"):
        stats.compare(data.assign(done=("trial", np.zeros(10, bool))), "normal", "inverted")


def test_all_pairs_with_adjusted_p_values():
    arms = ("normal", "inverted", "pixel_mean", "signed")
    data = paired_results(12, arms=arms)
    data["accuracy"].values[3] = data["accuracy"].values[0]
    table = stats.compare_all(data, margin=0.01)
    assert len(table) == 6
    assert [pair.arms for pair in table][:3] == [(arms[0], arm) for arm in arms[1:]]
    raw = [stats.compare(data, *pair.arms, margin=0.01).p_value for pair in table]
    np.testing.assert_allclose([pair.p_adjusted for pair in table], stats.holm(raw))
    assert table[2].p_adjusted == 1.0
    assert table[0].family == 6
    benjamini = stats.compare_all(data, adjust="bh")
    np.testing.assert_allclose([pair.p_adjusted for pair in benjamini], stats.benjamini_hochberg(raw))
    assert "Benjamini-Hochberg over 6 tests" in str(benjamini)
    assert len(json.loads(json.dumps(table.to_dict(), allow_nan=False))["comparisons"]) == 6


@pytest.mark.parametrize(
    "arms", [("normal", "inverted", "signed"), ("inverted+pixel_mean+image_standardize", "a" * 90)]
)
def test_tables_fit_80_columns_and_name_every_arm(arms):
    data = paired_results(1234, arms=arms)
    shown = str(stats.compare_all(data))
    assert all(len(line) <= 80 for line in shown.splitlines())
    for arm in arms:
        assert arm in shown.replace("\n", "")
    one = str(stats.compare(data, *arms[:2], margin=0.01, bootstrap=1000))
    assert all(len(line) <= 80 for line in one.splitlines())


def test_html_is_escaped():
    data = paired_results(5, arms=("<b>bold</b>", "a & b"))
    for shown in (stats.compare(data, "<b>bold</b>", "a & b"), stats.compare_all(data)):
        html = shown._repr_html_()
        assert "<b>" not in html
        assert "&lt;b&gt;bold&lt;/b&gt;" in html
        assert "a &amp; b" in html


def test_the_same_seed_gives_the_same_comparison_and_another_another():
    data = paired_results(60, seed=3)
    data["accuracy"].values[1] += np.float32(0.048)  # near enough for p-values that are not at their floor
    first, again, other = (stats.compare(data, "normal", "inverted", seed=s, bootstrap=1000) for s in (1, 1, 2))
    assert first == again
    assert first.p_permutation != other.p_permutation
    assert first.ci95_bootstrap != other.ci95_bootstrap
    assert first.p_value == other.p_value


def test_ranks_are_those_of_the_images_counted_not_of_float32():
    data = paired_results(60, seed=3)
    data["accuracy"].values[1] += np.float32(0.048)
    a, b = (np.round(10_000 * side).astype(int) for side in sides(data))
    exact = stats.wilcoxon(a, b).p_value
    assert 0.001 < exact < 0.999
    assert stats.compare(data, "normal", "inverted").p_wilcoxon == exact


def test_the_results_are_left_as_they_were():
    data = paired_results()
    before = data.copy(deep=True)
    stats.compare_all(data, diverged="exclude")
    xr.testing.assert_identical(data, before)


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({"arm_a": "nomal"}, "arm_a: 'nomal' is not known; did you mean 'normal'?"),
        ({"arm_b": "x"}, "arm_b: 'x' is not known; give one of normal, inverted"),
        ({"step": 11}, "step: 11 was not evaluated; give one of 10, 20"),
        ({"learning_rate": None}, "learning_rate: none given, and the results have several; give one of 0.1, 0.5"),
        ({"learning_rate": 0.3}, "learning_rate: 0.3 is not in the results; give one of 0.1, 0.5"),
        (
            {"learning_rate": (0.1, 0.5, 0.5)},
            "learning_rate: (0.1, 0.5, 0.5) is not allowed; give one, or one for each arm, of 0.1, 0.5",
        ),
        ({"metric": "acuracy"}, "metric: 'acuracy' is not known; did you mean 'accuracy'?"),
        ({"metric": "layer_delta"}, "metric: 'layer_delta' is not known"),
        ({"alpha": 0.0}, "alpha: 0.0"),
        ({"alpha": 1.0}, "alpha: 1.0"),
        ({"alpha": float("nan")}, "alpha: nan"),
        ({"margin": 0.0}, "margin: 0.0"),
        ({"margin": -0.1}, "margin: -0.1"),
        ({"margin": 0.1, "alpha": 0.6}, "alpha: 0.6"),
        ({"diverged": "drop"}, "diverged: 'drop' is not allowed; give 'include' or 'exclude'"),
        ({"anytime": "fixed"}, "anytime: 'fixed' is not allowed; give 'asymptotic' or 'exact'"),
        (
            {"anytime": "exact", "metric": "test_loss"},
            "anytime: 'exact' is not allowed for test_loss, which has no bounds; give 'asymptotic'",
        ),
        ({"seed": -1}, "seed: -1"),
        ({"bootstrap": -1}, "bootstrap: -1"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(options, start):
    data = paired_results(rates=(0.1, 0.5), steps=(10, 20))
    call: dict[str, Any] = {"arm_a": "normal", "arm_b": "inverted", "learning_rate": 0.1} | options
    with pytest.raises(InputError) as caught:
        stats.compare(data, call.pop("arm_a"), call.pop("arm_b"), **call)
    assert str(caught.value).startswith(start)
    assert "\n" not in str(caught.value)


def test_results_of_the_wrong_shape_are_refused():
    data = paired_results()
    with pytest.raises(InputError, match=r"^results: no dimension 'step'"):
        stats.compare(data.isel(step=0), "normal", "inverted")
    with pytest.raises(InputError, match=r"^results: no dimension 'arm'"):
        stats.compare_all(data.isel(arm=0))
    with pytest.raises(InputError, match=r"^arms: normal is not allowed; give results of two or more$"):
        stats.compare_all(data.isel(arm=[0]))
    with pytest.raises(InputError, match=r"^adjust: 'none'"):
        stats.compare_all(data, adjust="none")
