"""Statistics of batch normalisation that are computed anew before each evaluation, against NumPy and PyTorch."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import jaxinv as ji
from jaxinv.errors import InputError
from jaxinv.models import get_model
from jaxinv.preprocess import get_preprocess
from tests.datasets import tiny
from tests.models.test_models import batch, randomised, torch_network

EPSILON = 1e-5


def begun(name: str, shape: tuple[int, int, int]) -> tuple[Any, Any]:
    """A network of everyday size that has had seven updates."""
    params, state = randomised(name, shape)
    return params, jax.tree.map_with_path(lambda path, leaf: leaf * 0 + 7 if path[-1].key == "updates" else leaf, state)


def forward(params: Any, images: np.ndarray, statistics: dict[str, Any] | None = None) -> tuple[np.ndarray, Any]:
    """Logits of an MLP with batch normalisation in float64, with statistics that are given or those of the images, and
    the latter: each layer's mean and unbiased variance."""
    h, found = images.reshape(len(images), -1).astype(np.float64), {}
    for layer, norm in (("first", "norm"), ("second", "second_norm")):
        if layer not in params:
            break
        z = h @ np.asarray(params[layer]["weight"], np.float64).T
        if statistics is None:
            mean, spread, found[norm] = z.mean(0), z.var(0), {"mean": z.mean(0), "variance": z.var(0, ddof=1)}
        else:
            mean, spread = (np.asarray(statistics[norm][name], np.float64) for name in ("mean", "variance"))
        scale, bias = (np.asarray(params[norm][name], np.float64) for name in ("scale", "bias"))
        h = np.maximum((z - mean) / np.sqrt(spread + EPSILON) * scale + bias, 0)
    last = params["last"]
    return h @ np.asarray(last["weight"], np.float64).T + np.asarray(last["bias"], np.float64), found


@pytest.mark.slow
def test_statistics_of_every_layer_are_those_of_the_images():
    with jax.enable_x64(True):
        params, state = begun("mlp_bn:5,4", (4, 3, 1))
        images, _ = batch((4, 3, 1), 50)
        found = get_model("mlp_bn:5,4").bind((4, 3, 1), 3).recompute(params, state, images)
        _, expected = forward(params, np.asarray(images))
        for norm, statistics in expected.items():
            for name, values in statistics.items():
                np.testing.assert_allclose(found[norm][name], values, rtol=1e-10)


def test_statistics_of_convolutions_are_pytorch_s():
    torch = pytest.importorskip("torch")
    with jax.enable_x64(True):
        shape = (8, 4, 2)
        params, state = begun("cnn_bn", shape)
        images, _ = batch(shape, 20)
        found = get_model("cnn_bn").bind(shape, 3).recompute(params, state, images)
        network, _ = torch_network("cnn_bn", params, state, shape, train=True)
        norms = [layer for layer in network if hasattr(layer, "running_mean")]
        for norm in norms:
            norm.momentum = 1.0
        network(torch.tensor(np.asarray(images)).permute(0, 3, 1, 2))
        for layer, norm in zip(("first", "second"), norms, strict=True):
            np.testing.assert_allclose(found[layer]["norm"]["mean"], norm.running_mean.numpy(), rtol=1e-10)
            np.testing.assert_allclose(found[layer]["norm"]["variance"], norm.running_var.numpy(), rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("arms", [("inverted", "image_mean"), ("inverted+pixel_mean", "normal")])
def test_a_study_evaluates_with_them(arms: tuple[str, str]):
    """Every training image counts where there are fewer than 1,000 of them, so that their order does not matter."""
    data = tiny()
    study = ji.Study(
        dataset=data, arms=arms, model="mlp_bn:6", batch_size=20, steps=6, eval_every=3, trials=2, learning_rate=0.2
    )
    exact = study.replace(batch_stats="recomputed")
    results, plain = ji.run(exact, keep=("params",)), ji.run(study, keep=("params",))
    for arm in arms:
        preprocess = get_preprocess(arm)
        fitted = preprocess.fit(data.x_train)
        train, test = (np.asarray(preprocess.apply(fitted, x)) for x in (data.x_train, data.x_test))
        for trial in range(2):
            params = ji.load_params(results, arm, trial, study=exact)
            jax.tree.map(  # training does not depend on how evaluations are made
                lambda a, b: np.testing.assert_array_equal(a, b), params, ji.load_params(plain, arm, trial, study=study)
            )
            logits, _ = forward(params, test, forward(params, train)[1])
            accuracy = (logits.argmax(1) == data.y_test).mean()
            loss = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(test)), data.y_test]
            cell = results.sel(arm=arm, trial=trial).isel(learning_rate=0, step=-1)
            assert cell.accuracy == pytest.approx(accuracy, abs=1.01 / len(test))
            assert cell.test_loss == pytest.approx(loss.mean(), rel=1e-4)
    assert not np.allclose(results.test_loss, plain.test_loss, rtol=1e-3)


@pytest.mark.slow
def test_they_are_taken_from_the_trial_s_own_subset():
    data = tiny()
    study = ji.Study(
        dataset=data, arms=("normal",), model="mlp_bn:6", batch_size=10, train_examples=10, steps=2, trials=3
    )
    results = ji.run(study.replace(batch_stats="recomputed"), keep=("params",))
    states = results["network.0.state.norm.mean"].values[0, 0]
    assert len({tuple(state) for state in states.round(6)}) == 3
    weights = results["network.0.params.first.weight"].values[0, 0, 0]
    means = np.array([weights @ (x.ravel() / 255) for x in data.x_train])
    assert (states[0] >= means.min(0)).all()
    assert (states[0] <= means.max(0)).all()


@pytest.mark.slow
def test_flax_batch_norm_gives_its_statistics_too():
    class Net(nnx.Module):
        def __init__(self, image_shape: Any, classes: int, rngs: nnx.Rngs) -> None:
            self.norm = nnx.BatchNorm(int(np.prod(image_shape)), rngs=rngs)
            self.dropout = nnx.Dropout(0.9, rngs=rngs)
            self.last = nnx.Linear(int(np.prod(image_shape)), classes, rngs=rngs)

        def __call__(self, images: jax.Array) -> jax.Array:
            return self.last(self.norm(self.dropout(images.reshape(len(images), -1))))

    network = ji.from_nnx(Net).bind((2, 2, 1), 3)
    params, state = network.init(jax.random.key(0))
    images = jnp.asarray(np.random.default_rng(0).random((30, 2, 2, 1)), jnp.float32)
    found = network.recompute(params, state, images)
    flat = np.asarray(images, np.float64).reshape(30, 4)
    np.testing.assert_allclose(found["norm"]["mean"], flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found["norm"]["var"], flat.var(0), rtol=1e-4)


@pytest.mark.slow
def test_where_there_are_none_nothing_changes():
    study = ji.Study(dataset=tiny(), batch_size=20, steps=3, trials=2)
    plain, recomputed = ji.run(study), ji.run(study.replace(batch_stats="recomputed"))
    np.testing.assert_array_equal(plain.accuracy, recomputed.accuracy)
    assert study.hash != study.replace(batch_stats="recomputed").hash


def test_models_that_do_not_say_how_are_refused():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, images: jax.Array, train: bool) -> jax.Array:
            return linen.Dense(4)(linen.BatchNorm(use_running_average=not train)(images.reshape(len(images), -1)))

    arm = ji.Arm("mine", model=ji.from_linen(Net(), name="mine"), batch_stats="recomputed")
    with pytest.raises(
        InputError, match="arms: mine: batch_stats: 'recomputed' is not allowed for 'mine', which does not"
    ):
        ji.run(ji.Study(dataset=tiny(), arms=(arm,), batch_size=20, steps=1, trials=1))
    with pytest.raises(InputError, match="batch_stats: 'precise' is not known; give one of running, recomputed"):
        ji.Study(batch_stats="precise")  # pyright: ignore[reportArgumentType]
