"""Claims: every verdict follows from the results that it is judged by, which are made up here."""

import re
import time
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import xarray as xr

from jaxinv import registry
from jaxinv.data import Dataset
from jaxinv.experiments import claims
from jaxinv.experiments.claims import light, rates, studies, timing
from jaxinv.experiments.claims.study_cache import PerTrial, StudyCache, StudyResults, count_diverged, octaves
from jaxinv.preprocess import get_preprocess
from tests.builders import results_with_means
from tests.datasets import tiny

RNG = np.random.default_rng(0)
WIDE = {
    "inverting-lowers-accuracy",
    "zero-pixels-never-move",
    "border-up-centre-down",
    "same-functions",
    "training-finds-others",
    "border-explains-it",
    "inverting-hurts-a-convnet",
    "centring-removes-it",
    "batch-norm-removes-it",
    "batch-norm-needs-no-mean",
    "learning-rate-explains-it",
    "matter-of-time",
    "channel-mean-helps",
    "pixel-mean-helps",
    "channel-as-good-as-pixel",
    "deviation-widens-rates",
    "per-image-changing-light",
    "per-image-steady-light",
    "zeros-train-faster",
}


def judge(
    name: str, *, data: Dataset | None = None, per_trial: PerTrial | None = None, **results: Any
) -> claims.Judgement:
    """What comes out of a claim where its studies have these results."""
    cache = StudyCache(data or tiny())
    cache.results.update(results)
    if per_trial is not None:
        cache.per_trial_results["independent"] = per_trial
    return claims.CLAIMS[name].judge(cache)


def answers(right: float, other: float, trials: int = 20, images: int = 400) -> np.ndarray:
    """correct [2, T, N] with these shares right, independent of each other."""
    return np.stack([RNG.random((trials, images)) < share for share in (right, other)])


def moves(border: float, centre: tuple[float, float], trials: int = 10) -> np.ndarray:
    """weight_delta [2, T, 8, 8, 1]: the border of tiny images is their first row."""
    delta = RNG.uniform(0.9, 1.1, (2, trials, 8, 8, 1)) * np.array(centre)[:, None, None, None, None]
    delta[0, :, 0], delta[1, :, 0] = 0.0, border
    return delta.astype(np.float32)


def test_every_claim_says_what_it_is():
    assert set(claims.CLAIMS) == WIDE
    assert list(claims.CLAIMS) == list(registry.CLAIMS)
    for name, claim in claims.CLAIMS.items():
        assert name == claim.name
        assert re.fullmatch("[a-z]+(-[a-z]+)*", name)
        assert len(name) <= 25
        assert claim.source.startswith("https://stats.stackexchange.com/q/")
        assert "Supported if" in claim.rule
        assert claim.statement.endswith(".")


@pytest.mark.parametrize(
    ("other", "chained", "wanted"),
    [(0.5, 0.6, "supported"), (0.9, 0.9, "refuted"), (0.95, 0.6, "refuted"), (0.5, 0.9, "refuted")],
)
def test_inverting_lowers_accuracy_in_both_readings(other, chained, wanted):
    independent = results_with_means({"normal": 0.9, "inverted": other})
    written = results_with_means({"normal": 0.9, "inverted": chained}, steps=5)
    per_trial = PerTrial(np.zeros(0), answers(0.9, other, images=2000))
    found = judge("inverting-lowers-accuracy", per_trial=per_trial, independent=independent, as_written=written)
    assert found.verdict == wanted
    assert found.effect == pytest.approx(0.9 - other, abs=0.01)


def test_interval_of_inverting_covers_new_images_too():
    """All trials agree about every image, so that only the choice of test images is left to chance."""
    once = answers(0.9, 0.6, trials=1)
    per_trial = PerTrial(np.zeros(0), np.repeat(once, 10, axis=1))
    results: dict[str, Any] = {
        "independent": results_with_means({"normal": 0.9, "inverted": 0.6}),
        "as_written": results_with_means({"normal": 0.9, "inverted": 0.6}),
    }
    low, high = judge("inverting-lowers-accuracy", per_trial=per_trial, **results).ci95
    spread = 1.96 * (once[0, 0].astype(float) - once[1, 0]).std() / 20
    assert high - low == pytest.approx(2 * spread, rel=0.02)


def framed(order: np.ndarray | None = None) -> Dataset:
    """Images that are never dark, in a dark frame of two pixels; or their pixels in another order."""
    data = tiny()
    pad = ((0, 0), (2, 2), (2, 2), (0, 0))
    train, test = (np.pad(np.maximum(x, 1), pad) for x in (data.x_train, data.x_test))
    if order is not None:
        train, test = (x.reshape(len(x), -1)[:, order].reshape(x.shape) for x in (train, test))
    return Dataset(x_train=train, y_train=data.y_train, x_test=test, y_test=data.y_test)


@pytest.mark.parametrize(("moved", "wanted"), [(0.0, "supported"), (1e-9, "refuted")])
def test_zero_pixels_never_move(moved, wanted):
    results = results_with_means({"normal": 0.9, "inverted": 0.5})
    delta = np.where(framed().x_train.any(axis=0), 0.3, moved).astype(np.float32)
    results["weight_delta"] = (("arm", "learning_rate", "row", "col", "channel"), np.stack([delta, delta])[:, None])
    found = judge("zero-pixels-never-move", data=framed(), independent=results)
    assert found.verdict == wanted
    assert (found.effect, found.n) == (1.0, 80)


def test_zero_pixels_that_are_no_border_refute_it():
    data = framed(np.random.default_rng(3).permutation(144))
    results = results_with_means({"normal": 0.9, "inverted": 0.5})
    delta = np.where(data.x_train.any(axis=0), 0.3, 0.0).astype(np.float32)
    results["weight_delta"] = (("arm", "learning_rate", "row", "col", "channel"), np.stack([delta, delta])[:, None])
    assert judge("zero-pixels-never-move", data=data, independent=results).verdict == "refuted"


@pytest.mark.parametrize(
    ("border", "centre", "wanted"),
    [(0.3, (0.5, 0.3), "supported"), (0.3, (0.5, 0.7), "refuted"), (0.01, (0.5, 0.3), "refuted")],
)
def test_border_moves_and_centre_moves_less(border, centre, wanted):
    independent = results_with_means({"normal": 0.9, "inverted": 0.5})
    per_trial = PerTrial(moves(border, centre), answers(0.9, 0.5))
    found = judge("border-up-centre-down", per_trial=per_trial, independent=independent)
    assert found.verdict == wanted
    assert found.effect == pytest.approx(1 - centre[1] / centre[0], abs=0.03)


@pytest.mark.parametrize("name", ["zero-pixels-never-move", "border-up-centre-down", "border-explains-it"])
def test_images_without_a_border_leave_claims_about_it_open(name):
    data = tiny()
    lit = Dataset(x_train=255 - data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test)
    found = judge(name, data=lit, independent=results_with_means({"normal": 0.9, "inverted": 0.5}))
    assert (found.verdict, found.n) == ("premise absent", 0)
    assert "no border" in found.explanation


def test_training_finds_others():
    independent = results_with_means({"normal": 0.9, "inverted": 0.9})
    same = answers(0.9, 0.9)
    same[1] = same[0]
    for correct, wanted in ((answers(0.9, 0.9), "supported"), (same, "refuted")):
        found = judge("training-finds-others", per_trial=PerTrial(np.zeros(0), correct), independent=independent)
        assert found.verdict == wanted


@pytest.mark.parametrize(("other", "wanted"), [(0.85, "supported"), (0.9, "refuted"), (0.895, "inconclusive")])
def test_inverting_hurts_a_convnet(other, wanted):
    assert (
        judge("inverting-hurts-a-convnet", convnet=results_with_means({"normal": 0.9, "inverted": other})).verdict
        == wanted
    )


@pytest.mark.parametrize(("dark", "wanted"), [(0.85, "supported"), (0.55, "refuted"), (0.7, "inconclusive")])
def test_border_explains_it(dark, wanted):
    results = results_with_means({"normal": 0.9, "inverted": 0.5, "inverted_dark_border": dark})
    found = judge("border-explains-it", dark_border=results)
    assert found.verdict == wanted
    assert found.effect == pytest.approx((dark - 0.5) / 0.4, abs=0.01)
    assert [one["share"] for one in found.causes] == [found.effect]
    none = results_with_means({"normal": 0.9, "inverted": 0.9, "inverted_dark_border": dark})
    assert judge("border-explains-it", dark_border=none).verdict == "premise absent"


@pytest.mark.parametrize(
    ("shift", "hidden", "wanted"),
    [(0.0, 0.9, "supported"), (0.01, 0.9, "refuted"), (0.0, 0.8, "refuted"), (0.0, 0.895, "inconclusive")],
)
def test_centring_removes_it(shift, hidden, wanted):
    results = results_with_means(dict.fromkeys(studies.CENTRED, 0.88))
    results.accuracy[1::2] = results.accuracy.values[::2]
    results.accuracy[3, 0, 7] += shift
    mlp = results_with_means({"normal": 0.9, "inverted": 0.1, "pixel_mean": 0.9, "inverted+pixel_mean": hidden})
    found = judge("centring-removes-it", centred=results, mlp=mlp)
    assert found.verdict == wanted
    assert [one["share"] for one in found.causes] == pytest.approx([1 - (0.9 - hidden) / 0.8], abs=0.01)


@pytest.mark.parametrize(
    ("gentle", "fast", "wanted"),
    [(0.9, 0.93, "supported"), (0.9, 0.90, "refuted"), (0.87, 0.93, "refuted"), (0.9, 0.925, "inconclusive")],
)
def test_batch_norm(gentle, fast, wanted):
    usual, other = np.array([0.9, 0.93]), np.array([gentle, fast])
    for name, arm in (("batch-norm-removes-it", "inverted"), ("batch-norm-needs-no-mean", "channel_mean")):
        means = {"normal": usual, "inverted": usual, "channel_mean": usual, "pixel_mean": usual} | {arm: other}
        mlp = results_with_means({"normal": 0.9, "inverted": 0.1})
        found = judge(name, **by_statistics(means, means), mlp=mlp)
        assert found.verdict == wanted
        brought_back = [1 - (0.93 - fast) / 0.8] if arm == "inverted" else []
        assert [one["share"] for one in found.causes] == pytest.approx(brought_back, abs=0.01)


def by_statistics(recomputed: Any, running: Any) -> dict[str, Any]:
    """Results behind batch normalisation, evaluated in either way."""
    two = (studies.GENTLE_RATE, studies.TUTORIAL_RATE)
    named = {"mlp_bn_recomputed": recomputed, "mlp_bn": running}
    return {name: results_with_means(means, learning_rates=two) for name, means in named.items()}


def test_lag_of_running_averages_refutes_no_claim_about_batch_norm():
    usual, late = np.array([0.9, 0.93]), np.array([0.9, 0.83])
    same = dict.fromkeys(("normal", "inverted", "channel_mean", "pixel_mean"), usual)
    for name, arm in (("batch-norm-removes-it", "inverted"), ("batch-norm-needs-no-mean", "channel_mean")):
        mlp = results_with_means({"normal": 0.9, "inverted": 0.1})
        found = judge(name, **by_statistics(same, same | {arm: late}), mlp=mlp)
        assert found.verdict == "supported"
        assert re.search(
            r"averages of training it is -?10\.\d\d points and -?0\.\d\d points, of which -?", found.explanation
        )
        assert "are lag, and the verdict would be refuted" in found.explanation


def test_a_difference_that_is_not_there_needs_no_remedy():
    usual = np.array([0.9, 0.93])
    same = dict.fromkeys(("normal", "inverted", "pixel_mean", "inverted+pixel_mean", "channel_mean"), usual)
    mlp = results_with_means(dict.fromkeys(same, 0.9))
    assert judge("batch-norm-removes-it", **by_statistics(same, same), mlp=mlp).verdict == "premise absent"
    centred = results_with_means(dict.fromkeys(studies.CENTRED, 0.88))
    assert judge("centring-removes-it", centred=centred, mlp=mlp).verdict == "premise absent"
    equal: Any = grid(normal=(0.9, 0.5), inverted=(0.9, 0.5))
    found = judge("learning-rate-explains-it", rates=equal, rates_500=equal)
    assert found.verdict == "premise absent"
    assert "nothing to explain" in found.explanation


def test_a_claim_names_the_images_that_it_is_tested_on():
    claim = claims.CLAIMS["inverting-lowers-accuracy"]
    assert "of MNIST" in claim.statement
    told = claim.on("CIFAR-10").statement
    assert "of CIFAR-10" in told
    assert "MNIST" not in told


def grid(**best: tuple[float, float]) -> xr.Dataset:
    """Curves over the grid of learning rates, each with its own peak: arm -> (accuracy, learning rate)."""
    log = np.log2(np.asarray(studies.RATES))
    return results_with_means(
        {arm: peak - 0.01 * (log - np.log2(rate)) ** 2 for arm, (peak, rate) in best.items()},
        learning_rates=studies.RATES,
    )


@pytest.mark.parametrize(("peak", "wanted"), [(0.9, "supported"), (0.8, "refuted"), (0.895, "inconclusive")])
def test_learning_rate_explains_it(peak, wanted):
    found = judge(
        "learning-rate-explains-it",
        rates=grid(normal=(0.9, 0.5), inverted=(peak, 1 / 64)),
        rates_500=grid(normal=(0.9, 0.5), inverted=(0.9, 1 / 64)),
    )
    assert found.verdict == wanted
    assert found.n == 20
    assert "0.5 for normal, 0.016 for inverted" in found.explanation
    assert [one["share"] for one in found.causes] == pytest.approx([0.25 / (1.15 - peak), 1.0], abs=0.02)


@pytest.mark.parametrize("name", ["channel-mean-helps", "pixel-mean-helps"])
def test_mean_helps(name):
    for peak, wanted in ((0.92, "supported"), (0.9, "refuted"), (0.905, "inconclusive")):
        arm = name.removesuffix("-helps").replace("-", "_")
        assert judge(name, rates=grid(**{"normal": (0.9, 0.5), arm: (peak, 2.0)})).verdict == wanted


def test_channel_as_good_as_pixel():
    for peak, wanted in ((0.9, "supported"), (0.88, "refuted"), (0.92, "refuted"), (0.895, "inconclusive")):
        results = grid(channel_mean=(0.9, 0.5), pixel_mean=(peak, 2.0))
        assert judge("channel-as-good-as-pixel", rates=results).verdict == wanted


def test_best_learning_rate_is_chosen_and_judged_on_different_trials():
    """Pure noise: the best of twelve learning rates, judged where it was chosen, would look better than it is."""
    results = results_with_means({"normal": np.full(12, 0.5)}, learning_rates=studies.RATES, trials=4, sd=0.0)
    results.accuracy[:] = 0.5
    results.accuracy[0, 3, ::2] = 0.9
    results.accuracy[0, 5, 1::2] = 0.95
    rate, judged = StudyResults("rates", results).at_own_best("normal")
    assert (rate, judged.values.tolist()) == (studies.RATES[3], [0.5, 0.5])


@pytest.mark.parametrize(
    ("pixel", "channel", "wanted"), [(2.0, 2.0, "supported"), (1.0, 2.0, "refuted"), (1.0, 1.0, "refuted")]
)
def test_deviation_widens_rates(pixel, channel, wanted):
    log = np.log2(np.asarray(studies.RATES)) - np.log2(0.25)
    width = {"channel_mean": 1.0, "pixel_mean": 1.0, "channel_zscore": channel, "pixel_zscore": pixel}
    means = {arm: 0.9 - 0.02 * (log / wide) ** 2 for arm, wide in width.items()}
    results = results_with_means(means, learning_rates=studies.RATES, sd=0.0002)
    assert judge("deviation-widens-rates", rates=results).verdict == wanted


def test_width_is_that_of_the_interpolated_curve():
    curves = np.concatenate([RNG.uniform(0.85, 0.9, (20, 12)), np.full((1, 12), 0.5), np.linspace(0.1, 0.9, 12)[None]])
    log = np.log2(np.asarray(studies.RATES))
    fine = np.linspace(log[0], log[-1], 200_001)
    wanted = [(np.interp(fine, log, curve) >= curve.max() - rates.NEAR).mean() * (log[-1] - log[0]) for curve in curves]
    np.testing.assert_allclose(rates.width(np.asarray(studies.RATES), curves), wanted, atol=1e-3)


@pytest.mark.parametrize(
    ("inverted", "wanted"), [(30, "supported"), (10, "refuted"), (1000, "refuted"), (11, "inconclusive")]
)
def test_matter_of_time(inverted, wanted):
    """The looks at which each arm reaches 90%; a look beyond the last is never."""

    def reaches(look: float) -> np.ndarray:
        return np.where(np.arange(80) >= look, 0.93, 0.5)[None]

    results: dict[str, Any] = {
        "half_bound_normal": results_with_means({"normal": reaches(9)}, trials=20, steps=80),
        "half_bound_inverted": results_with_means({"inverted": reaches(inverted - 1)}, trials=20, steps=80),
    }
    found = judge("matter-of-time", **results)
    assert found.verdict == wanted
    assert found.effect == pytest.approx(min(inverted, 80) / 10)


def test_level_that_normal_images_never_reach_is_lowered():
    curve = np.where(np.arange(10) >= 4, 0.4, 0.1)[None]
    late = np.where(np.arange(10) >= 8, 0.4, 0.1)[None]
    results: dict[str, Any] = {
        "half_bound_normal": results_with_means({"normal": curve}, trials=20, steps=10, sd=1e-4),
        "half_bound_inverted": results_with_means({"inverted": late}, trials=20, steps=10, sd=1e-4),
    }
    found = judge("matter-of-time", **results)
    assert (found.verdict, found.effect) == ("supported", pytest.approx(9 / 5))
    never: dict[str, Any] = {
        f"half_bound_{arm}": results_with_means({arm: 0.4}, sd=0.05) for arm in ("normal", "inverted")
    }
    assert judge("matter-of-time", **never).verdict == "inconclusive"


@pytest.mark.parametrize(("name", "study"), [("changing", "changing_light"), ("steady", "steady_light")])
def test_per_image(name, study):
    better, worse = (
        ("image_standardize", "channel_zscore") if name == "changing" else ("channel_zscore", "image_standardize")
    )
    few = octaves(1 / 128, 0.5)
    for peak, wanted in ((0.85, "supported"), (0.9, "refuted"), (0.92, "refuted"), (0.895, "inconclusive")):
        means = {better: np.linspace(0.8, 0.9, 7), worse: np.linspace(0.8, peak, 7)[::-1]}
        results: dict[str, Any] = {study: results_with_means(means, learning_rates=few)}
        assert judge(f"per-image-{name}-light", **results).verdict == wanted
    assert light.CHANGING > 0


@pytest.mark.slow
@pytest.mark.parametrize(("wait", "wanted"), [(0.004, "supported"), (0.002, "refuted"), (0.001, "refuted")])
def test_zeros_train_faster(wait, wanted, monkeypatch):
    """What trains takes so many seconds a call."""
    made = iter([partial(time.sleep, 0.002), partial(time.sleep, wait)])
    monkeypatch.setattr(StudyCache, "trainer", lambda self, study: next(made))
    data = tiny()
    dark = Dataset(x_train=data.x_train // 200, y_train=data.y_train, x_test=data.x_test // 200, y_test=data.y_test)
    found = judge("zeros-train-faster", data=dark)
    assert found.verdict == wanted
    assert judge("zeros-train-faster", data=data).verdict == "premise absent"  # not mostly zero


@pytest.mark.slow
def test_zeros_and_no_zeros_run_the_same_program(compiled, monkeypatch):
    """Evaluation, which may leave dark pixels out, must not make two programs of them."""
    data = tiny(test=300)
    dark = Dataset(x_train=data.x_train // 200, y_train=data.y_train, x_test=data.x_test // 200, y_test=data.y_test)
    called = []

    def once(trainers: list[Any], pairs: int) -> np.ndarray:
        called.extend(len(train()) for train in trainers)
        return np.ones((2, pairs))

    monkeypatch.setattr(timing, "time_in_turn", once)
    judge("zeros-train-faster", data=dark)
    assert len(called) == 2
    assert min(called) > 0
    assert len(compiled) == 1


def test_dense_images_have_no_zero():
    images = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    data = Dataset(x_train=images, y_train=np.arange(4), x_test=images, y_test=np.arange(4))
    made = timing.dense(data)
    assert (made.x_train.min(), made.x_test.min(), made.x_train.max()) == (1, 1, 255)
    assert made.x_train.shape == images.shape


def test_dark_border_is_inverted_inside_alone():
    images = np.array([[102, 255], [51, 0]], np.uint8).reshape(1, 2, 2, 1)
    arm = studies.dark_border(np.array([[True, False], [False, False]]))
    params = arm.fit(images)
    inverted = get_preprocess("inverted")
    wanted = np.array(inverted.apply(inverted.fit(images), images))
    wanted[0, 0, 0] = 0
    np.testing.assert_allclose(arm.apply(params, images.astype(np.float32)), wanted, atol=1e-7)
    assert arm.affine is not None
    scale, offset = arm.affine(params, (2, 2, 1))
    np.testing.assert_allclose(scale * images[0] + offset, wanted[0], atol=1e-7)


def test_diverged_trainings_are_counted():
    """Those behind a figure, each once, however often it is used."""
    results = results_with_means({"normal": 0.9, "inverted": 0.5})
    results.diverged[1, 0, :3] = True
    normal, inverted = (StudyResults("independent", results).accuracy(arm) for arm in ("normal", "inverted"))
    assert count_diverged(normal) == 0
    assert count_diverged(normal, inverted) == 3
    assert count_diverged(inverted, inverted) == 3
    other = StudyResults("as_written", results)
    assert count_diverged(inverted, other.mean_accuracy("inverted"), other.odd().accuracy("inverted", 0.5)) == 6
    convnet = judge("inverting-hurts-a-convnet", convnet=results)
    assert convnet.diverged == 3


def test_verdict_and_sentences_come_from_the_criteria():
    """A rule that is changed changes all of them."""
    results = results_with_means({"normal": 0.9, "inverted": 0.85})
    claim = claims.CLAIMS["inverting-hurts-a-convnet"]
    for margin, verdict, words in ((0.005, "supported", ", more than 0.005"), (0.2, "refuted", ", not more than 0.2")):
        changed = replace(claim, criteria=[replace(claim.criteria[0], margin=margin)])
        cache = StudyCache(tiny())
        cache.results["convnet"] = results
        found = changed.judge(cache)
        assert found.verdict == verdict
        assert found.criteria[0]["verdict"] == verdict
        assert found.criteria[0]["comparison"].endswith(f"{words}.")
        assert changed.rule.endswith(f"is more than {margin}.")
