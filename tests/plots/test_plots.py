"""Plots: they draw what the results and `jaxinv.stats` say, on the axes given, and leave everything else alone."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
import scipy.stats
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.text import Text

from jaxinv import Arm, plots, stats
from jaxinv.errors import DataError, InputError
from jaxinv.plots import heatmaps, style
from jaxinv.study import Study
from tests.builders import HOSTILE_ARMS, lifelike_results, study_results


def frame(side=8) -> np.ndarray:
    mask = np.ones((side, side), bool)
    mask[2:-2, 2:-2] = False
    return mask


def new_axes() -> Axes:
    return plots.new_figure().add_subplot()


DRAW = {
    "weight_change": lambda r, ax: plots.weight_change(r.weight_delta[0, 0], frame(), ax),
    "curve_over_steps": lambda r, ax: plots.curve_over_steps(r, published={"normal": 0.9}, ax=ax),
    "trial_distribution": lambda r, ax: plots.trial_distribution(r, ax),
    "learning_rate_curve": lambda r, ax: plots.learning_rate_curve(r, {"normal": 0.51}, ax, chance=0.1),
    "forest": lambda r, ax: plots.forest(stats.compare_all(r), ax),
    "contact_sheet": lambda r, ax: plots.contact_sheet({"a": np.eye(8)[None], "b": 1 - np.eye(8)[None]}, ax),
}


@pytest.mark.parametrize("name", DRAW)
def test_takes_axes_and_returns_them(name):
    ax = new_axes()
    before = dict(matplotlib.rcParams)
    assert DRAW[name](lifelike_results(), ax) is ax
    assert ax.has_data() or ax.images
    assert dict(matplotlib.rcParams) == before
    assert isinstance(DRAW[name](lifelike_results(), None), Axes)


@pytest.mark.parametrize("name", [*DRAW, "trial_distributions", "weight_changes", "arm_ranks", "throughput"])
def test_a_phone_shows_letters_of_ten_pixels(name):
    results = lifelike_results(arms=("normal", "inverted", "a_name_that_is_long"))
    others = {
        "trial_distributions": lambda: plots.trial_distributions(results),
        "weight_changes": lambda: plots.weight_changes(results, frame(), notes={"normal": "border 0.1, centre 0.2"}),
        "arm_ranks": lambda: plots.arm_ranks(stats.compare_all(results).ranks()),
        "throughput": lambda: plots.throughput([1, 10], [10.0, 90.0], ceiling=200.0, title="a"),
    }
    drawn = others[name]() if name in others else DRAW[name](results, None)
    figure = style.figure_of(drawn) if isinstance(drawn, Axes) else drawn
    shown = 390 - 2 * 16 + 2 * 12  # pixels of a phone, less the page's margins, of which page.css gives some back
    letters = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]
    assert letters
    assert min(float(text.get_fontsize()) for text in letters) / 72 / figure.get_size_inches()[0] * shown >= 10


def test_pyplot_is_never_loaded():
    code = "import sys, numpy; from jaxinv import plots; plots.weight_change(numpy.eye(3)); "
    code += "sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_heatmaps_share_one_scale_and_one_bar():
    results = lifelike_results(arms=("a", "b", "c"))
    figure = plots.weight_changes(results, frame())
    panels = [ax for ax in figure.axes if ax.images]
    assert len(panels) == 3
    assert len([ax for ax in figure.axes if ax.axison]) == 4  # the bar is the fourth
    limits = {image.get_clim() for ax in panels for image in ax.images}
    assert limits == {(0.0, float(results.weight_delta.max()))}
    for ax, arm in zip(panels, "abc", strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), results.weight_delta.sel(arm=arm)[0, ..., 0])
        assert ax.get_title() == arm


def test_heatmaps_of_colour_images_have_a_column_for_each_channel():
    deltas = {"a": np.random.default_rng(0).random((4, 4, 3)), "b": np.ones((4, 4, 3))}
    panels = [ax for ax in plots.weight_changes(deltas).axes if ax.images]
    assert len(panels) == 6
    drawn = {ax.get_title(): ax.images[0].get_array() for ax in panels}
    np.testing.assert_array_equal(drawn["a\ngreen"], deltas["a"][..., 1])


def test_outline_separates_the_border_from_the_rest():
    mask = np.random.default_rng(3).random((7, 9)) < 0.4
    expected = set()
    for r in range(7):
        for c in range(9):
            if c + 1 < 9 and mask[r, c] != mask[r, c + 1]:
                expected.add(((c + 0.5, r - 0.5), (c + 0.5, r + 0.5)))
            if r + 1 < 7 and mask[r, c] != mask[r + 1, c]:
                expected.add(((c - 0.5, r + 0.5), (c + 0.5, r + 0.5)))
    assert {tuple(segment) for segment in heatmaps.border_edges(mask)} == expected
    ax = plots.weight_change(np.ones((7, 9)), mask)
    lines = [c for c in ax.collections if isinstance(c, LineCollection)]
    colours = {matplotlib.colors.to_hex(c.get_colors()[0]) for c in lines}  # pyright: ignore[reportAttributeAccessIssue]
    assert colours == {"#000000", "#ffffff"}  # one of the two shows on any cell


def test_curve_draws_means_chains_and_published_values():
    results = lifelike_results(trials=5, steps=(10, 20, 30, 40))
    ax = plots.curve_over_steps(results, published={"normal": 0.91, "inverted": 0.84})
    lines = [np.asarray(line.get_ydata(), np.float64) for line in ax.lines]
    accuracy = results.accuracy.values[:, 0].astype(np.float64)
    for arm in range(2):
        for wanted in (
            *accuracy[arm],
            accuracy[arm].mean(axis=0),
            accuracy[arm].mean(axis=1),
            [0.91, 0.84][arm] * np.ones(2),
        ):
            assert any(line.shape == wanted.shape and np.allclose(line, wanted, atol=1e-12) for line in lines)


def test_curve_over_many_trials_has_bands_of_one_sd_and_of_the_interval():
    results = lifelike_results(trials=40, steps=(10, 20))
    ax = plots.curve_over_steps(results)
    accuracy = results.accuracy.values[1, 0].astype(np.float64)
    mean, sd = accuracy.mean(axis=0), accuracy.std(axis=0, ddof=1)
    half = scipy.stats.t.ppf(0.975, 39) * sd / np.sqrt(40)
    for band, reach in ((ax.collections[2], sd), (ax.collections[3], half)):  # of the second arm
        heights = np.asarray(band.get_paths()[0].vertices)[:, 1]
        for y in (*(mean - reach), *(mean + reach)):
            assert np.isclose(heights, y, rtol=0, atol=1e-9).any()


def test_curves_of_several_runs_share_the_axes_with_intervals_of_their_own_trials():
    runs = {"long": lifelike_results(trials=30, steps=(10, 20, 40)), "short": lifelike_results(trials=4, steps=(5, 20))}
    runs["short"].accuracy.values[:] -= 0.1
    ax = plots.curve_over_steps(runs)
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "long: normal", "long: inverted", "short: normal", "short: inverted", "95 % interval",
    ]  # fmt: skip
    assert len({line.get_color() for line in ax.lines}) == len(ax.lines) == len(ax.collections) == 4  # no trial alone
    for (run, arm), line, band in zip(
        ((r, a) for r in runs.values() for a in (0, 1)), ax.lines, ax.collections, strict=True
    ):
        values = run.accuracy.values[arm, 0].astype(np.float64)  # [T, S]
        np.testing.assert_array_equal(line.get_xdata(), run.step)
        np.testing.assert_allclose(np.asarray(line.get_ydata(), np.float64), values.mean(axis=0), atol=1e-12)
        half = scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values)
        heights = np.asarray(band.get_paths()[0].vertices)[:, 1]  # pyright: ignore
        for y in (*(values.mean(axis=0) - half), *(values.mean(axis=0) + half)):
            assert np.isclose(heights, y, rtol=0, atol=1e-9).any()
    rates = {"a": lifelike_results(rates=(0.1, 0.5)), "b": lifelike_results(rates=(0.2, 0.4))}
    drawn = plots.curve_over_steps(rates, learning_rate={"a": 0.5, "b": {"normal": 0.2, "inverted": 0.4}})
    ends = [np.asarray(line.get_ydata(), np.float64)[-1] for line in drawn.lines]
    wanted = [rates[run].accuracy.values[arm, rate, :, -1].mean() for run, arm, rate in
              (("a", 0, 1), ("a", 1, 1), ("b", 0, 0), ("b", 1, 1))]  # fmt: skip
    np.testing.assert_allclose(ends, wanted, rtol=1e-6)


def test_distribution_draws_every_trial_and_the_interval_of_scipy():
    results = lifelike_results()
    results["diverged"].values[1, 0, :3] = True
    results["accuracy"].values[1, 0, 0] = np.nan
    ax = plots.trial_distribution(results)
    dots = [np.asarray(c.get_offsets())[:, 0] for c in ax.collections]
    values = results.accuracy.values[:, 0, :, 0].astype(np.float64)
    np.testing.assert_allclose(dots[0], values[0])
    np.testing.assert_allclose(dots[2], values[1, 3:])
    np.testing.assert_allclose(dots[3], values[1, 1:3])  # diverged, yet with a value: crosses
    sample = values[0]
    expected = scipy.stats.t.interval(0.95, sample.size - 1, sample.mean(), scipy.stats.sem(sample))
    assert any(np.allclose(line.get_xdata(), expected) for line in ax.lines if np.size(line.get_xdata()) == 2)
    assert "3 diverged" in ax.get_yticklabels()[1].get_text()
    assert "n = 29" in ax.get_yticklabels()[1].get_text()


def test_close_ups_follow_the_shared_axis():
    figure = plots.trial_distributions(lifelike_results())
    shared, first, second = figure.axes
    assert first.get_xlim()[1] - first.get_xlim()[0] < 0.1 < second.get_xlim()[1] - second.get_xlim()[0]
    assert shared.get_xlim()[0] < 0.3
    assert shared.get_xlim()[1] > 0.87


def test_learning_rate_curve_is_sorted_logarithmic_and_marks_the_bounds():
    results = lifelike_results(rates=(0.5, 0.01, 0.1))
    ax = plots.learning_rate_curve(results, {"normal": 0.51, "inverted": 0.0325})
    assert ax.get_xscale() == "log"
    curves = [line for line in ax.lines if np.size(line.get_xdata()) == 3]
    for arm, line in enumerate(curves):
        x, y = (np.asarray(data, np.float64) for data in line.get_data())
        np.testing.assert_allclose(x, [0.01, 0.1, 0.5])
        np.testing.assert_allclose(y, results.accuracy.values[arm, [1, 2, 0], :, 0].mean(axis=1), rtol=1e-6)
    upright = {line.get_xdata()[0] for line in ax.lines if list(line.get_ydata()) == [0, 1]}  # pyright: ignore
    assert upright == {0.51, 0.0325}


def test_forest_marks_differences_intervals_and_significance():
    results = lifelike_results(arms=("a", "b", "c"))
    pairs = stats.compare_all(results, margin=0.02)
    ax = plots.forest(pairs)
    points = [line for line in ax.lines if line.get_marker() == "D"]
    assert [float(line.get_xdata()[0]) for line in points] == [pair.difference for pair in pairs]  # pyright: ignore
    assert [line.get_markerfacecolor() != "white" for line in points] == [pair.significant for pair in pairs]
    assert [pair.significant for pair in pairs] == [True, True, False]  # both looks are seen
    spans = [tuple(line.get_xdata()) for line in ax.lines if line.get_marker() == "|"]  # pyright: ignore
    assert spans == [pair.ci95 for pair in pairs]


def test_contact_sheet_shows_the_images():
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 5, 1)) / 255
    images[0, 0, :2, 0] = 0, 1
    ax = plots.contact_sheet({"normal": images, "inverted": 1 - images}, gap=1)
    sheet = np.asarray(ax.images[0].get_array())
    low, high = np.percentile(images, [0.5, 99.5])
    for n in range(3):
        tile = sheet[1:7, 1 + 6 * n : 6 + 6 * n]
        np.testing.assert_allclose(tile, np.repeat(np.clip((images[n] - low) / (high - low), 0, 1), 3, axis=-1))
        np.testing.assert_allclose(1 - tile, sheet[8:14, 1 + 6 * n : 6 + 6 * n], atol=1e-9)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["normal\n0 to 1", "inverted\n0 to 1"]


def test_trials_that_have_not_run_are_left_out():
    results = lifelike_results(trials=6, steps=(10, 20))
    results["done"] = ("trial", np.array([True, True, True, False, False, False]))
    results["accuracy"].values[:, :, 3:] = 0.0  # whatever stands there
    seen = stats.summary(results.accuracy.values[0, 0, :3], axis=0).mean
    ax = plots.curve_over_steps(results)
    assert any(np.array_equal(line.get_ydata(), seen) for line in ax.lines)
    assert "n = 3" in plots.trial_distribution(results).get_yticklabels()[0].get_text()
    results["done"][:] = False
    with pytest.raises(DataError, match="none of 6 trials is done"):
        plots.trial_distribution(results)


@pytest.mark.parametrize("name", DRAW)
@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_same_results_same_bytes(name, suffix):
    first, second = (
        style.to_bytes(style.figure_of(DRAW[name](lifelike_results(), None)), suffix, dpi=60) for _ in range(2)
    )
    assert first == second
    if suffix == ".svg":
        ElementTree.fromstring(first)
        assert b"<dc:date>" not in first


@pytest.mark.slow
def test_hostile_names_are_drawn_as_text():
    results = lifelike_results(arms=HOSTILE_ARMS, rates=(0.1, 0.5))
    draw = [
        plots.curve_over_steps(results, learning_rate=0.5, published=dict.fromkeys(HOSTILE_ARMS, 0.5)),
        plots.trial_distribution(results, learning_rate=dict.fromkeys(HOSTILE_ARMS, 0.1)),
        plots.learning_rate_curve(results, dict.fromkeys(HOSTILE_ARMS, 0.2)),
        plots.forest(stats.compare_all(results, learning_rate=0.5)),
        plots.contact_sheet(dict.fromkeys(HOSTILE_ARMS, np.eye(8)[None])),
    ]
    for ax in draw:
        ElementTree.fromstring(plots.to_bytes(style.figure_of(ax), ".svg"))
    ElementTree.fromstring(plots.to_bytes(plots.weight_changes(results, learning_rate=0.5), ".svg"))
    legend = draw[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()][:2] == ["$\\frac{1}$", "_private"]


def test_one_trial_and_constant_trials_can_be_drawn():
    results = lifelike_results(trials=1)
    plots.to_bytes(plots.trial_distributions(results), dpi=40)
    constant = lifelike_results(trials=4)
    constant["accuracy"].values[:] = 0.5
    for ax in (
        plots.trial_distribution(constant),
        plots.forest(stats.compare_all(constant)),
        plots.curve_over_steps(results),
    ):
        plots.to_bytes(style.figure_of(ax), dpi=40)
    nothing = lifelike_results(trials=3)
    nothing["accuracy"].values[:] = np.nan
    for ax in (
        plots.trial_distribution(nothing),
        plots.forest(stats.compare_all(nothing)),
        plots.curve_over_steps(nothing),
    ):
        plots.to_bytes(style.figure_of(ax), dpi=40)


def test_a_million_trials_are_drawn_as_a_histogram_alone():
    results = lifelike_results(trials=20_000)
    assert not [c for c in plots.trial_distribution(results).collections if c.get_offsets().size > 2]  # pyright: ignore


def test_save_is_whole_or_not_at_all(tmp_path, monkeypatch):
    figure = style.figure_of(plots.weight_change(np.eye(4)))
    path = plots.save(figure, tmp_path / "a.png")
    whole = path.read_bytes()
    assert whole.startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(DataError, match=r"a\.png: cannot be written: No space left"):
        plots.save(plots.weight_change(np.zeros((4, 4))), path)
    assert path.read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda r: plots.save(plots.weight_change(np.eye(3)), "x.jpg"),
            r"path: 'x.jpg' is not allowed; give one that ends in .png, .svg, .pdf",
        ),
        (lambda r: plots.weight_change(np.ones(5)), r"delta: shape \(5,\) is no heatmap"),
        (lambda r: plots.weight_change(np.eye(4), np.ones((3, 3), bool)), r"border_mask: shape \(3, 3\) differs"),
        (lambda r: plots.weight_changes({}), "deltas: none given"),
        (lambda r: plots.weight_changes({"a": np.eye(3), "b": np.eye(4)}), "deltas: heatmaps of shapes"),
        (lambda r: plots.weight_changes(r.drop_vars("weight_delta")), "results: no 'weight_delta'"),
        (
            lambda r: plots.curve_over_steps(r),
            "learning_rate: none given, and the results have several; give one of 0.1, 0.5",
        ),
        (lambda r: plots.curve_over_steps(r, learning_rate=0.3), "learning_rate: 0.3 is not in the results"),
        (lambda r: plots.curve_over_steps(r, published={"nomal": 0.9}), "did you mean 'normal'"),
        (lambda r: plots.curve_over_steps(r, metric="acuracy"), "did you mean 'accuracy'"),
        (lambda r: plots.curve_over_steps({}), "results: no run is given"),
        (lambda r: plots.curve_over_steps({"a": r, "b": r}, published={"normal": 0.9}), "published: not allowed"),
        (lambda r: plots.curve_over_steps({"a": r, "b": r}, learning_rate={"a": 0.5}), "learning_rate: none given"),
        (lambda r: plots.learning_rate_curve(r, {"x": 1.0}), "bounds: 'x' is not known"),
        (lambda r: plots.learning_rate_curve(r, step=7), "step: 7 was not evaluated; give one of 50"),
        (lambda r: plots.trial_distribution(r.rename(trial="t")), "results: no dimension 'trial'"),
        (lambda r: plots.forest([]), "comparisons: none given"),
        (lambda r: plots.contact_sheet({}), "images_by_arm: no arm given"),
        (lambda r: plots.contact_sheet({"a": np.ones((1, 2, 2, 2))}), "images_by_arm: 'a' has shape"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call(lifelike_results(rates=(0.1, 0.5)))
    assert "\n" not in str(caught.value)


def test_each_arm_stands_at_the_learning_rates_that_it_used():
    results = lifelike_results(arms=("sgd", "adam", "fixed"), rates=(3.0, 0.03), trials=6)
    used = [[3.0, 0.03], [0.01, 0.0001], [0.5, 0.5]]
    results = results.assign_coords(rate=(("arm", "learning_rate"), used))
    ax = plots.learning_rate_curve(results)
    lines = {line.get_marker(): line for line in ax.lines if line.get_marker() in style.MARKERS[:3]}
    expected = ([0.03, 3.0], [0.0001, 0.01], [0.5])
    means = results.accuracy.values[..., 0].astype(np.float64).mean(axis=-1)
    for arm, (marker, rates) in enumerate(zip(style.MARKERS, expected, strict=False)):
        np.testing.assert_allclose(np.asarray(lines[marker].get_xdata()), rates)
        drawn = means[arm, ::-1] if arm < 2 else means[arm, :1]
        np.testing.assert_allclose(np.asarray(lines[marker].get_ydata()), drawn)
    low, high = stats.summary(results.accuracy.values[2, 0, :, 0]).ci95
    assert [low, high] in [np.asarray(line.get_ydata()).tolist() for line in ax.lines]
    assert ax.get_xticks().tolist() == [0.0001, 0.01, 0.03, 0.5, 3.0]


def test_long_names_that_differ_at_their_ends_stay_different():
    names = [f"mlp:1000 adam shift batch_size={size}" for size in (10, 100)]
    for longest in range(12, 40):
        shown = [style.label(name, longest=longest) for name in names]
        assert max(map(len, shown)) <= longest
        assert len(set(shown)) == 2


def test_every_plot_takes_arms_of_any_kind():
    arms = ("normal", Arm("adam", optimizer="adam", learning_rate=0.01), Arm("net", model="cnn"))
    study = Study(arms=arms, learning_rate=(0.1, 0.5), steps=20, eval_every=10, trials=5)
    results = study_results(study)
    results["weight_delta"].values[2] = np.nan
    results = results.assign(train_loss=results.test_loss)
    for metric in ("accuracy", "train_loss"):
        assert len(plots.curve_over_steps(results, learning_rate=0.5, metric=metric).get_lines()) >= 3
        assert len(plots.trial_distributions(results, learning_rate=0.1, metric=metric).axes) == 4
        assert len(plots.learning_rate_curve(results, metric=metric).get_lines()) >= 3
        found = stats.compare_all(results, learning_rate=0.5, metric=metric)
        assert plots.forest(found).has_data()
    assert plots.curve_over_steps(results, learning_rate=0.5, metric="train_loss").get_ylabel() == "training loss"
    figure = plots.weight_changes(results, frame(), learning_rate=0.5)
    texts = {ax.get_title(): [text.get_text() for text in ax.texts] for ax in figure.axes if ax.images}
    assert texts == {"normal": [], "adam": [], "net": ["no value"]}


@pytest.mark.parametrize("display", [print, None])
def test_a_notebook_shows_figures_below_the_cell(monkeypatch: pytest.MonkeyPatch, display: object) -> None:
    """Notebooks show what pyplot has open when a cell ends; elsewhere pyplot learns of no figure."""
    from matplotlib import pyplot

    monkeypatch.setattr(style, "notebook_display", lambda: display)
    figures = {plots.new_figure(), style.figure_of(DRAW["learning_rate_curve"](lifelike_results(), None))}
    try:
        assert {pyplot.figure(number) for number in pyplot.get_fignums()} == (figures if display else set())
    finally:
        pyplot.close("all")
