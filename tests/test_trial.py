"""One trial against an independent float64 implementation, and what must hold of it exactly."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxinv.engine.job import Job, prepare
from jaxinv.study import Study
from jaxinv.training import keys
from jaxinv.training.trial import Arm, Data, Setting, Trial, cross_entropy, whole_trial
from tests import reference


@pytest.fixture(scope="module")
def job() -> Job:
    return prepare(Study(arms=("normal", "inverted")))


def setting_of(job: Job, arm: int, trial: int = 3, rate: float = 0.5) -> Setting:
    arms = job.groups[0].arm
    one = Arm(jnp.asarray(arms.scale[arm]), jnp.asarray(arms.offset[arm]))
    return Setting(keys.trial_key(keys.root_key(0), trial), jnp.float32(rate), one)


def data_of(job: Job, fold: bool = True) -> Data:
    return jax.tree.map(jnp.asarray, job.data(dataclasses.replace(job.groups[0], fold=fold), 1000))


def batches_of(job: Job, setting: Setting, steps: int) -> np.ndarray:
    from jaxinv.training.shuffling import batch_indices

    shuffle = keys.stream(setting.key, "shuffle")
    return np.stack([batch_indices(shuffle, jnp.int32(step), 100, len(job.dataset.x_train)) for step in range(steps)])


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("steps", [1, 10])
@pytest.mark.parametrize(("arm", "name", "rate"), [(0, "normal", 0.5), (1, "inverted", 0.02)])
def test_weights_match_numpy_in_float64(job: Job, arm: int, name: str, rate: float, steps: int, fold: bool) -> None:
    trial = dataclasses.replace(job.trial(job.groups[0]), steps=steps, eval_every=steps, fold=fold)
    setting, data = setting_of(job, arm, rate=rate), data_of(job, fold)
    batches = batches_of(job, setting, steps)
    weight, bias = reference.train_softmax(job.dataset.x_train, job.dataset.y_train, batches, name, rate)

    def trained(setting: Setting, data: Data) -> tuple[Any, Any]:
        at = trial.advance(trial.start(None, setting), setting, jnp.int32(0), data)
        return at.params, trial.evaluate(at, setting, data)

    params, look = jax.jit(trained)(setting, data)
    np.testing.assert_allclose(params["first"]["weight"].T, weight, atol=2e-6)
    np.testing.assert_allclose(params["first"]["bias"], bias, atol=2e-6)
    accuracy, loss = reference.evaluate_softmax(job.dataset.x_test, job.dataset.y_test, name, weight, bias)
    assert int(look.hits) / 10_000 == pytest.approx(accuracy, abs=2e-4)
    assert float(look.test_loss) == pytest.approx(loss, rel=1e-4)


def test_fold_and_no_fold_agree_in_float64(job: Job) -> None:
    with jax.enable_x64(True):
        weights = []
        for fold in (True, False):
            trial = dataclasses.replace(job.trial(job.groups[0]), steps=10, eval_every=10, fold=fold)
            setting = jax.tree.map(lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a, setting_of(job, 1))
            data = data_of(job)
            start = jax.tree.map(lambda a: a.astype(jnp.float64), trial.start(None, setting))
            # float64 pixels, so that neither side rounds them to float32
            data = data._replace(x_train=data.x_train.astype(jnp.float64))
            weights.append(_advance_double(trial, start, setting, data))
        assert weights[0].dtype == np.float64
        assert np.abs(weights[0]).max() > 0.1
        np.testing.assert_allclose(weights[0], weights[1], atol=1e-10)


def _advance_double(trial: Trial, start: Any, setting: Setting, data: Data) -> np.ndarray:
    at = jax.jit(trial.advance)(start, setting, jnp.int32(0), data)
    return np.asarray(at.params["first"]["weight"])


def test_one_trial_has_the_stated_shapes_and_outcome(job: Job) -> None:
    trial = dataclasses.replace(job.trial(job.groups[0], keep_correct=True), steps=4, eval_every=2)
    outcome = jax.jit(lambda s, d: whole_trial(trial, s, d))(setting_of(job, 0), data_of(job))
    assert outcome.hits.shape == outcome.test_loss.shape == (2,)
    assert outcome.weight_delta is not None
    assert outcome.weight_delta.shape == (28, 28, 1)
    assert outcome.layer_delta.shape == (1,)
    assert outcome.correct is not None
    assert int(outcome.correct.sum()) == int(outcome.hits[-1])
    assert not outcome.diverged


def test_the_published_chain_is_one_long_trial(job: Job) -> None:
    """Looking at a chain does not disturb it: the last of many looks is the only look of the same chain."""
    looked = dataclasses.replace(job.trial(job.groups[0]), steps=20, eval_every=5)
    unseen = dataclasses.replace(looked, eval_every=20)
    a, b = (jax.jit(lambda s, d, t=t: whole_trial(t, s, d))(setting_of(job, 0), data_of(job)) for t in (looked, unseen))
    assert int(a.hits[-1]) == int(b.hits[-1])
    np.testing.assert_array_equal(a.weight_delta, b.weight_delta)


def test_no_learning_moves_nothing(job: Job) -> None:
    trial = dataclasses.replace(job.trial(job.groups[0]), optimizer=lambda rate: optax.set_to_zero())
    outcome = jax.jit(lambda s, d: whole_trial(trial, s, d))(setting_of(job, 1), data_of(job))
    assert outcome.weight_delta is not None
    assert float(outcome.weight_delta.max()) == 0.0
    assert float(outcome.layer_delta[0]) == 0.0
    np.testing.assert_allclose(outcome.test_loss, np.log(10), rtol=1e-6)


@pytest.mark.parametrize("steps", [0])
def test_zero_steps_give_zero_change(job: Job, steps: int) -> None:
    trial, setting = job.trial(job.groups[0]), setting_of(job, 0)
    change = trial.change(trial.start(None, setting), setting)
    assert change.weight_delta is not None
    assert float(change.weight_delta.max()) == 0.0
    assert float(change.layer_delta.max()) == 0.0


def test_test_images_that_fill_the_last_tile_do_not_count(job: Job) -> None:
    trial, setting, data = job.trial(job.groups[0]), setting_of(job, 0), data_of(job)
    at = jax.jit(trial.advance)(trial.start(None, setting), setting, jnp.int32(0), data)
    whole = trial.evaluate(at, setting, data)
    for tile in (999, 3000, 10_000):
        other = trial.evaluate(at, setting, jax.tree.map(jnp.asarray, job.data(job.groups[0], tile)))
        assert int(other.hits) == int(whole.hits)
        assert float(other.test_loss) == pytest.approx(float(whole.test_loss), rel=1e-6)


def test_divergence_is_flagged(job: Job) -> None:
    trial = job.trial(job.groups[0])
    assert trial.diverged(jnp.array([1.0, jnp.nan]))
    assert trial.diverged(jnp.array([jnp.inf]))
    assert trial.diverged(jnp.array([3000.0, 1.0]))
    assert not trial.diverged(jnp.array([60.0, 1.0]))
    wild = jax.jit(lambda s, d: whole_trial(trial, s, d))(setting_of(job, 0, rate=1e6), data_of(job))
    assert wild.diverged


def test_cross_entropy_matches_numpy() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(7, 5)) * 30, rng.integers(0, 5, 7)
    expected = -np.log(reference.softmax(logits)[np.arange(7), labels])
    np.testing.assert_allclose(
        cross_entropy(jnp.asarray(logits, jnp.float32), jnp.asarray(labels)), expected, rtol=1e-4, atol=1e-5
    )
