"""Where the spread over trials comes from: against the definitions, and simulations with known truth."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

import jaxinv as ji
from jaxinv import cli, stats
from jaxinv.stats.training_variance import variance_interval
from tests.cli.test_compare import call
from tests.datasets import tiny


def table(trials: int, images: int, spread: float, seed: int) -> np.ndarray:
    """Whether trial t has image i right: each image's own odds, moved together by a trial's own luck."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(1.5, 1.5, images) + spread * rng.standard_normal((trials, 1))
    return rng.random((trials, images)) < 1 / (1 + np.exp(-odds))


def true_sd(spread: float) -> float:
    """Standard deviation of a trial's accuracy on all images that there are, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    accuracy = (weights / (1 + np.exp(-(1.5 + 1.5 * nodes + spread * nodes[:, None])))).sum(axis=1)
    return float(np.sqrt(max(0.0, weights @ accuracy**2 - (weights @ accuracy) ** 2)))


def test_each_part_is_what_it_is_defined_as():
    c = table(12, 9, 0.8, seed=1)
    found = stats.training_variance(c)
    covariances = np.cov(c.astype(float), rowvar=False)  # of two images over trials
    alone = np.trace(covariances) / 9**2
    together = (covariances.sum() - np.trace(covariances)) / (9 * 8)
    np.testing.assert_allclose(found.sd**2, c.mean(axis=1).var(ddof=1))
    np.testing.assert_allclose(found.sd**2, covariances.sum() / 9**2)
    np.testing.assert_allclose(found.sd_test_set**2, alone)
    np.testing.assert_allclose(found.sd_training**2, max(0.0, together))
    np.testing.assert_allclose(found.share_test_set, alone / found.sd**2)
    assert found.sd_training > 0
    residual = c - c.mean(axis=1, keepdims=True) - c.mean(axis=0) + c.mean()
    rest = float(np.square(residual).sum()) / (11 * 8)
    np.testing.assert_allclose(found.dependence, 9 * found.sd**2 / rest)
    np.testing.assert_allclose(found.p_independent, scipy.stats.f.sf(found.dependence, 11, 88))
    np.testing.assert_allclose(found.sd_calibrated**2, (1 - c.mean()) / (2 * 9))
    t = scipy.stats.t.interval(0.95, 11, c.mean(), c.mean(axis=1).std(ddof=1) / np.sqrt(12))
    np.testing.assert_allclose(found.new_trials.ci95, t)


@pytest.mark.parametrize("spread", [0.0, 0.1, 0.5])
def test_what_training_spreads_is_found_without_bias_and_inside_its_interval(spread):
    truth, runs = true_sd(spread), 300
    found = [stats.training_variance(table(25, 400, spread, seed)) for seed in range(runs)]
    signed = [one.sd**2 * 400 / 399 - one.sd_test_set**2 * 400 / 399 for one in found]  # before it is cut at 0
    error = np.std(signed) / np.sqrt(runs)
    assert np.mean(signed) == pytest.approx(truth**2, abs=4 * error)
    inside = np.mean([one.sd_training_ci95[0] <= truth <= one.sd_training_ci95[1] for one in found])
    assert 0.9 <= inside <= 0.99
    rejected = np.mean([one.p_independent < 0.05 for one in found])
    assert rejected < 0.09 if spread == 0 else rejected > 0.25


def test_calibrated_ensembles_of_two_classes_leave_half_of_the_errors_as_variance():
    """Votes q for class 1, which is right with chance q: independent errors, and sqrt(error / 2M) of spread."""
    rng = np.random.default_rng(0)
    votes = rng.beta(0.5, 0.5, 3000)
    labels = rng.random(3000) < votes
    correct = (rng.random((400, 3000)) < votes) == labels
    found = stats.training_variance(correct)
    assert found.sd == pytest.approx(found.sd_calibrated, rel=0.1)
    assert found.sd_test_set == pytest.approx(found.sd_calibrated, rel=0.05)
    assert found.p_independent > 0.01
    assert found.dependence_ci95[0] < 1 < found.dependence_ci95[1]


@pytest.mark.parametrize("draw", ["standard_normal", "exponential", "random"])
def test_the_interval_of_a_variance_holds_it(draw):
    rng = np.random.default_rng(7)
    truth = {"standard_normal": 1.0, "exponential": 1.0, "random": 1 / 12}[draw]
    ends = np.array([variance_interval(getattr(rng, draw)(size=40)) for _ in range(1000)])
    assert 0.88 < np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])) < 0.99
    large = rng.standard_normal(20_000)
    chi = scipy.stats.chi2.ppf([0.975, 0.025], 19_999)
    np.testing.assert_allclose(variance_interval(large), large.var(ddof=1) * 19_999 / chi, rtol=5e-3)
    assert variance_interval(np.full(8, 0.7)) == (0.0, 0.0)


def test_tables_without_spread_and_small_ones():
    same = np.tile(np.arange(10) < 7, (8, 1))
    found = stats.training_variance(same)
    assert (found.sd, found.sd_training, found.sd_test_set) == (0, 0, 0)
    assert np.isnan([found.dependence, found.p_independent, found.share_test_set]).all()
    one = stats.training_variance(same[:1])
    assert np.isnan([one.sd, one.sd_training, one.p_independent]).all()
    few = stats.training_variance(table(5, 50, 0.3, 0))
    assert np.isnan([*few.sd_ci95, *few.sd_training_ci95]).all()
    assert "NaN" not in json.dumps(one.to_dict(), allow_nan=False)
    with pytest.raises(ji.InputError, match=r"correct_a: float64 \(3, 3\) is not allowed; give booleans"):
        stats.training_variance(np.eye(3))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("variance") / "run"
    study = ji.Study(dataset=tiny(), arms=("normal", "pixel_mean", "inverted"), steps=6, batch_size=30, trials=20)
    ji.run(study, out=folder, keep="correct")
    return folder


@pytest.mark.slow
def test_the_command_tells_arms_and_pairs(capsys, run):
    results = ji.load(run)
    correct = results.correct.values[:, 0]
    status, out, err = call(capsys, "variance", run, "--json")
    assert (status, err) == (cli.DONE, "")
    found = json.loads(out)
    for position, arm in enumerate(found["arms"]):
        own = stats.training_variance(correct[position]).to_dict()
        assert {name: arm[name] for name in own} == own
        assert arm["sd"] == pytest.approx(results.accuracy.values[position, 0, :, -1].std(ddof=1), rel=1e-5)
    assert [pair["arms"] for pair in found["pairs"]] == [
        ["normal", "pixel_mean"],
        ["normal", "inverted"],
        ["pixel_mean", "inverted"],
    ]
    own = stats.variation(correct[0], correct[2])
    assert found["pairs"][1]["new_trials_and_images"]["ci95"] == list(own.new_trials_and_images.ci95)
    status, out, _ = call(capsys, "variance", run)
    assert "20 trials, 60 test images" in out
    assert max(map(len, out.splitlines())) <= 80
    assert out.isascii()


@pytest.mark.slow
def test_comparisons_have_both_intervals(run):
    results = ji.load(run)
    pair = ji.compare(results, "normal", "inverted")
    both = stats.variation(results.correct.values[0, 0], results.correct.values[2, 0])
    assert pair.ci95_new_images == both.new_trials_and_images.ci95
    np.testing.assert_allclose(pair.ci95, both.new_trials.ci95, atol=1e-6)
    assert "for new trials and new test images" in " ".join(str(pair).split())
    assert pair.to_dict()["ci95_new_images"] == list(both.new_trials_and_images.ci95)
    every = ji.compare_all(results)
    assert "new trials and new test images" in str(every)
    assert len(every.images_table()) == 4
    assert max(map(len, str(every).splitlines())) <= 80
    some = results.isel(trial=slice(8))
    some = some.assign(diverged=some.diverged | (some.trial == 3))
    left = np.arange(8) != 3
    less = ji.compare(some, "normal", "inverted", diverged="exclude")
    own = stats.variation(results.correct.values[0, 0, :8][left], results.correct.values[2, 0, :8][left])
    assert less.ci95_new_images == own.new_trials_and_images.ci95
    assert ji.compare(results, "normal", "inverted", metric="test_loss").ci95_new_images is None


@pytest.mark.slow
def test_runs_that_did_not_keep_it_are_refused(capsys, tmp_path):
    ji.run(ji.Study(dataset=tiny(), steps=2, batch_size=10, trials=2), out=tmp_path / "run")
    status, out, err = call(capsys, "variance", tmp_path / "run")
    assert (status, out) == (cli.SENSELESS, "")
    assert err == 'jaxinv: results: no "correct"; give those of a run with keep="correct" (--keep correct)\n'
    every = ji.compare_all(ji.load(tmp_path / "run"))
    assert every.images_table() == []
    assert every[0].ci95_new_images is None
