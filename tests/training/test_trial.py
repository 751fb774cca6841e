"""One trial against an independent float64 implementation, and what must hold of it exactly."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxinv as ji
from jaxinv.engine.resolve import ResolvedStudy, resolve
from jaxinv.study import Study
from jaxinv.training import keys
from jaxinv.training.inputs import Affine, Data
from jaxinv.training.losses import cross_entropy
from jaxinv.training.shuffling import batch_indices
from jaxinv.training.trial import Trial
from tests import reference
from tests.datasets import tiny

pytestmark = pytest.mark.optimized

KEY = keys.trial_key(keys.root_key(0), 3)


@pytest.fixture(scope="module")
def resolved() -> ResolvedStudy:
    return resolve(Study(arms=("normal", "inverted")))


@pytest.fixture(scope="module")
def data(resolved: ResolvedStudy) -> Data:
    return data_of(resolved)


def data_of(resolved: ResolvedStudy, tile: int = 1000, **changes: Any) -> Data:
    return jax.tree.map(jnp.asarray, resolved.data(dataclasses.replace(resolved.groups[0], **changes), tile))


def affine_of(resolved: ResolvedStudy, arm: int) -> Affine:
    return Affine(*(jnp.asarray(a[arm]) for a in resolved.groups[0].affine))


def trial_of(resolved: ResolvedStudy, **changes: Any) -> Trial:
    return dataclasses.replace(resolved.groups[0].trial, **changes)


def trained(trial: Trial, affine: Affine, rate: Any, data: Data) -> Any:
    rate = jnp.float32(rate)
    return trial.train(trial.init(KEY, rate), KEY, affine, rate, jnp.int32(0), data)[0]


def run(trial: Trial, affine: Affine, data: Data, rate: float = 0.5) -> Any:
    return jax.jit(trial.run)(KEY, affine, jnp.float32(rate), data)


@pytest.mark.slow
@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize(("arm", "name", "rate"), [(0, "normal", 0.5), (1, "inverted", 0.02)])
def test_weights_match_numpy_in_float64(resolved: ResolvedStudy, arm: int, name: str, rate: float, fold: bool) -> None:
    steps = 10
    trial = trial_of(resolved, steps=steps, eval_every=steps, fold=fold)
    data = data_of(resolved) if fold else data_of(resolved, pixel_order=None)
    dataset, shuffle = resolved.dataset, keys.stream(KEY, "shuffle")
    batches = [batch_indices(shuffle, jnp.int32(step), 100, len(dataset.x_train)) for step in range(steps)]
    weight, bias = reference.train_softmax(dataset.x_train, dataset.y_train, np.stack(batches), name, rate)

    def train_and_evaluate(affine: Affine, data: Data) -> tuple[Any, Any]:
        state = trained(trial, affine, rate, data)
        return state.params, trial.evaluate(state, affine, data)[0]

    params, metrics = jax.jit(train_and_evaluate)(affine_of(resolved, arm), data)
    np.testing.assert_allclose(params["first"]["weight"].T, weight, atol=2e-6)
    np.testing.assert_allclose(params["first"]["bias"], bias, atol=2e-6)
    accuracy, loss = reference.evaluate_softmax(dataset.x_test, dataset.y_test, name, weight, bias)
    assert int(metrics.hits) / 10_000 == pytest.approx(accuracy, abs=2e-4)
    assert float(metrics.test_loss) == pytest.approx(loss, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("arm", "name", "rate"), [(0, "normal", 0.5), (1, "inverted", 0.05)])
def test_weights_of_two_hidden_layers_match_numpy_in_float64(arm: int, name: str, rate: float) -> None:
    study = Study(dataset=tiny(), arms=("normal", "inverted"), model="mlp:128,64", steps=3, batch_size=20)
    found, dataset, data = resolve(study), tiny(), data_of(resolve(study))
    trial, affine = trial_of(found), affine_of(found, arm)
    shuffle = keys.stream(KEY, "shuffle")
    batches = np.stack([batch_indices(shuffle, jnp.int32(step), 20, len(dataset.x_train)) for step in range(3)])
    begin, end = jax.jit(
        lambda affine, data: (trial.init(KEY, jnp.float32(rate)).params, trained(trial, affine, rate, data).params)
    )(affine, data)
    order = ("first", "second", "last")
    layers = [(begin[layer]["weight"], begin[layer]["bias"]) for layer in order]
    scale, offset = reference.AFFINE[name]
    x = dataset.x_train.reshape(200, -1) * scale + offset
    *_, expected = reference.train([(x[batch], dataset.y_train[batch]) for batch in batches], layers, rate)
    for layer, (weight, bias) in zip(order, expected, strict=True):
        np.testing.assert_allclose(end[layer]["weight"], weight, atol=2e-6, err_msg=layer)
        np.testing.assert_allclose(end[layer]["bias"], bias, atol=2e-6, err_msg=layer)
        assert np.abs(weight - begin[layer]["weight"]).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("models", [("mlp", "mlp:128"), ("cnn", "cnn:8,16")])
def test_a_size_that_is_the_default_changes_nothing_to_the_last_bit(models: tuple[str, str]) -> None:
    study = Study(dataset=tiny(), arms=[ji.Arm(model, model=model) for model in models], steps=3, batch_size=20)
    results = ji.run(study.replace(trials=2, learning_rate=0.1), devices=1)
    for name in ("accuracy", "test_loss", "layer_delta"):
        np.testing.assert_array_equal(results[name][0].values, results[name][1].values, err_msg=name)


@pytest.mark.slow
def test_fold_and_no_fold_agree_in_float64(resolved: ResolvedStudy) -> None:
    with jax.enable_x64(True):
        weights = []
        for fold in (True, False):
            trial = trial_of(resolved, steps=10, eval_every=10, fold=fold)
            double = lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a  # noqa: E731
            affine, rate = jax.tree.map(double, affine_of(resolved, 1)), jnp.float64(0.5)
            start = jax.tree.map(double, trial.init(KEY, rate))
            # float64 pixels, so that neither side rounds them to float32
            data = data_of(resolved)
            data = data._replace(x_train=data.x_train.astype(jnp.float64))
            state, _ = jax.jit(trial.train)(start, KEY, affine, rate, jnp.int32(0), data)
            weights.append(np.asarray(state.params["first"]["weight"]))
        assert weights[0].dtype == np.float64
        assert np.abs(weights[0]).max() > 0.1
        np.testing.assert_allclose(weights[0], weights[1], atol=1e-10)


@pytest.mark.slow
def test_one_trial_has_the_stated_shapes(resolved: ResolvedStudy, data: Data) -> None:
    result = run(trial_of(resolved, steps=4, eval_every=2, keep_predictions=True), affine_of(resolved, 0), data)
    assert result.hits.shape == result.test_loss.shape == (2,)
    assert result.weight_delta.shape == (28, 28, 1)
    assert result.layer_delta.shape == (1,)
    assert int((result.predictions == resolved.dataset.y_test).sum()) == int(result.hits[-1])
    assert not result.diverged


@pytest.mark.slow
def test_the_published_chain_is_one_long_trial(resolved: ResolvedStudy, data: Data) -> None:
    """Evaluating a chain does not disturb it: the last of many evaluations is the only one of the same chain."""
    often, once = (
        run(trial_of(resolved, steps=20, eval_every=every), affine_of(resolved, 0), data) for every in (5, 20)
    )
    assert int(often.hits[-1]) == int(once.hits[-1])
    np.testing.assert_array_equal(often.weight_delta, once.weight_delta)


@pytest.mark.slow
def test_no_learning_moves_nothing(resolved: ResolvedStudy, data: Data) -> None:
    trial = trial_of(resolved, optimizer=lambda rate: optax.set_to_zero())
    result = run(trial, affine_of(resolved, 1), data)
    assert float(result.weight_delta.max()) == 0.0
    assert float(result.layer_delta[0]) == 0.0
    np.testing.assert_allclose(result.test_loss, np.log(10), rtol=1e-6)


@pytest.mark.slow
def test_zero_steps_give_zero_change(resolved: ResolvedStudy) -> None:
    trial = trial_of(resolved)
    change = trial.weight_change(trial.init(KEY, jnp.float32(0.5)), KEY)
    assert change.weight_delta is not None
    assert float(change.weight_delta.max()) == 0.0
    assert float(change.layer_delta.max()) == 0.0


@pytest.mark.slow
def test_test_images_that_fill_the_last_tile_do_not_count(resolved: ResolvedStudy, data: Data) -> None:
    trial, affine = trial_of(resolved), affine_of(resolved, 0)
    state = jax.jit(lambda affine, data: trained(trial, affine, 0.5, data))(affine, data)
    evaluate = jax.jit(trial.evaluate)
    whole, _ = evaluate(state, affine, data)
    for tile in (999, 3000, 10_000):
        other, _ = evaluate(state, affine, data_of(resolved, tile))
        assert int(other.hits) == int(whole.hits)
        assert float(other.test_loss) == pytest.approx(float(whole.test_loss), rel=1e-6)


@pytest.mark.slow
def test_divergence_is_flagged(resolved: ResolvedStudy, data: Data) -> None:
    trial = trial_of(resolved)
    assert trial.diverged(jnp.array([1.0, jnp.nan]))
    assert trial.diverged(jnp.array([jnp.inf]))
    assert trial.diverged(jnp.array([3000.0, 1.0]))
    assert not trial.diverged(jnp.array([60.0, 1.0]))
    assert run(trial, affine_of(resolved, 0), data, rate=1e6).diverged


def test_cross_entropy_matches_numpy() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(7, 5)) * 30, rng.integers(0, 5, 7)
    expected = -np.log(reference.softmax(logits)[np.arange(7), labels])
    np.testing.assert_allclose(
        cross_entropy(jnp.asarray(logits, jnp.float32), jnp.asarray(labels)), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mlp_bn", "mlp_bn:16,8"])
def test_batch_normalisation_leaves_weights_of_constant_pixels_where_they_were_also_with_adam(model: str) -> None:
    """Their gradient is 0 in exact arithmetic, and Adam would divide rounding noise by its own size."""
    study = ji.Study(dataset=tiny(), arms=("normal", "inverted", "pixel_mean"), model=model, optimizer="adam")
    delta = ji.run(study.replace(learning_rate=0.01, steps=4, batch_size=20, trials=3)).weight_delta.values
    # No image of the set has anything in its first row. The initial weights are computed twice, equal to rounding.
    assert delta[..., 0, :, :].max() < 1e-7
    assert delta[..., 1:, :, :].min() > 0
