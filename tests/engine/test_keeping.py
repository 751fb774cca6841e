"""More of each trial: what is kept, networks that come back, tests under other arms."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import jaxinv as ji
from jaxinv.arm import as_arm
from jaxinv.training.losses import cross_entropy
from tests.datasets import tiny

DATA = tiny()
EVERYTHING = ("correct", "predictions", "confusion", "params")


def margin(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """How far the label's logit is above the others' largest."""
    own = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    others = jnp.where(jax.nn.one_hot(labels, logits.shape[1], dtype=bool), -jnp.inf, logits)
    return own - others.max(axis=1)


STUDY = ji.Study(
    dataset=DATA,
    arms=(
        "normal",
        "inverted",
        "lcn",
        ji.Arm("bn", model="mlp_bn"),
        ji.Arm("centred", preprocess="pixel_mean", model="mlp"),
        ji.Arm("slow", learning_rate=0.01),
    ),
    learning_rate=(0.02, 0.1),
    steps=6,
    eval_every=3,
    batch_size=10,
    trials=3,
)


def options() -> dict[str, Any]:
    return {"keep": EVERYTHING, "metrics": {"margin": margin}, "test_arms": ("normal", "inverted", "lcn")}


@pytest.fixture(scope="module")
def results() -> xr.Dataset:
    return ji.run(STUDY, **options())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "run"
    ji.run(STUDY.replace(trials=2), out=folder, **options())
    ji.run(STUDY, out=folder, **options())
    return folder


@pytest.mark.slow
def test_what_is_kept_fits_together(results: xr.Dataset) -> None:
    last = results.isel(step=-1)
    predictions = results.predictions.values
    assert predictions.shape == (6, 2, 3, len(DATA.x_test))
    np.testing.assert_array_equal(results.correct.values, predictions == DATA.y_test)
    np.testing.assert_allclose(results.correct.mean("image"), last.accuracy, rtol=1e-6)
    confusion = np.zeros((*predictions.shape[:3], DATA.classes, DATA.classes), int)
    for place in np.ndindex(predictions.shape[:3]):
        np.add.at(confusion[place], (DATA.y_test, predictions[place]), 1)
    np.testing.assert_array_equal(results.confusion, confusion)


@pytest.mark.slow
def test_a_stored_and_grown_run_keeps_the_same(results: xr.Dataset, folder: Path) -> None:
    stored = ji.load(folder)
    for name in ("correct", "predictions", "confusion"):
        assert (stored[name].values == results[name].values).mean() > 0.999, name
    for name in ("margin", "train_loss", "transfer_accuracy", "transfer_loss"):
        np.testing.assert_allclose(stored[name], results[name], rtol=2e-4, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("arm", STUDY.arm_names)
@pytest.mark.parametrize("stored", [False, True])
def test_a_predictor_gives_the_logits_that_were_evaluated(
    results: xr.Dataset, folder: Path, arm: str, stored: bool
) -> None:
    source = folder if stored else results
    found = (ji.load(folder) if stored else results).isel(step=-1)
    for rate in STUDY.learning_rates:
        one = ji.predictor(source, arm, trial=2, learning_rate=rate, study=STUDY)(DATA.x_test)
        every = ji.predictor(source, arm, learning_rate=rate, study=STUDY)(DATA.x_test)
        np.testing.assert_allclose(every[2], one, rtol=1e-4, atol=1e-4)
        here = found.sel(arm=arm, learning_rate=rate)
        np.testing.assert_array_equal(np.argmax(every, -1), here.predictions)
        labels = jnp.asarray(DATA.y_test)
        for t in range(3):
            np.testing.assert_allclose(cross_entropy(every[t], labels).mean(), here.test_loss[t], rtol=1e-5)
            np.testing.assert_allclose(margin(every[t], labels).mean(), here.margin[t], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_predictor_takes_grey_values_and_no_others(results: xr.Dataset) -> None:
    predict = ji.predictor(results, "normal", 1, 0.02, study=STUDY)
    grey = DATA.x_test[:4].astype(np.float32)
    np.testing.assert_allclose(predict(grey), predict(DATA.x_test[:4]), rtol=1e-6)
    assert predict(np.zeros_like(grey)).shape == (4, 4)
    with pytest.raises(ji.InputError, match="images: floats from 0 to 1 are not allowed; give grey values, 0 to 255"):
        predict(grey / 255)
    assert jax.grad(lambda x: predict(x).sum())(jnp.asarray(grey)).shape == grey.shape


@pytest.mark.slow
def test_networks_that_were_not_kept_are_trained_again(results: xr.Dataset) -> None:
    arms = ("inverted", "bn", "slow")
    fewer = STUDY.replace(arms=tuple(arm for arm in STUDY.arms if as_arm(arm).name in arms))
    plain = ji.run(fewer)
    for arm in arms:
        kept = ji.load_params(results, arm, 1, 0.02, study=STUDY)
        again = ji.load_params(plain, arm, 1, 0.02, study=fewer)
        for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(again), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_tests_under_other_arms(results: xr.Dataset) -> None:
    """Under an arm's own preprocessing they are the evaluation itself; under others, those of the predictor there."""
    last = results.isel(step=-1)
    for arm in ("normal", "inverted", "lcn"):
        own = results.sel(arm=arm, test_arm=arm)
        np.testing.assert_array_equal(own.transfer_accuracy, last.accuracy.sel(arm=arm))
        np.testing.assert_allclose(own.transfer_loss, last.test_loss.sel(arm=arm), rtol=1e-5)
    # 255 - image under normal is the image under inverted
    negatives = ji.predictor(results, "normal", learning_rate=0.02, study=STUDY)(255 - DATA.x_test)
    share = (np.argmax(np.asarray(negatives), -1) == DATA.y_test).mean(axis=1)
    np.testing.assert_allclose(
        results.transfer_accuracy.sel(arm="normal", learning_rate=0.02, test_arm="inverted"), share, atol=1e-6
    )


@pytest.mark.slow
def test_train_loss_is_the_mean_of_the_updates_losses() -> None:
    study = ji.Study(dataset=DATA, arms=("normal",), steps=3, batch_size=7, trials=2, learning_rate=0.1)
    each = ji.run(study.replace(eval_every=1)).train_loss.values
    whole = ji.run(study).train_loss.values
    np.testing.assert_allclose(each[..., 0], np.log(DATA.classes), rtol=1e-5)  # softmax regression begins at zero
    np.testing.assert_allclose(whole[..., 0], each.mean(axis=-1), rtol=1e-5)


@pytest.mark.slow
def test_arms_say_what_they_change(results: xr.Dataset) -> None:
    assert results.rate.sel(arm="slow").values.tolist() == [0.01, 0.01]
    assert results.rate.sel(arm="bn").values.tolist() == [0.02, 0.1]
    assert results.model.values.tolist() == ["softmax", "softmax", "softmax", "mlp_bn", "mlp", "softmax"]
    assert results.preprocess.sel(arm="centred").item() == "pixel_mean"


@pytest.mark.slow
def test_a_convolution_comes_back() -> None:
    study = STUDY.replace(arms=("pixel_mean",), model="cnn", learning_rate=0.1)
    results = ji.run(study, keep=("params", "predictions"), test_arms="inverted")
    found = np.argmax(ji.predictor(results, "pixel_mean", study=study)(DATA.x_test), -1)
    np.testing.assert_array_equal(found, results.predictions[0, 0])


@pytest.mark.slow
def test_a_network_of_ones_own_comes_back(tmp_path: Path) -> None:
    from flax import nnx

    class Own(nnx.Module):
        def __init__(self, image_shape: Any, classes: int, rngs: nnx.Rngs) -> None:
            self.norm = nnx.BatchNorm(image_shape[0] * image_shape[1], momentum=0.5, rngs=rngs)
            self.layer = nnx.Linear(image_shape[0] * image_shape[1], classes, rngs=rngs)

        def __call__(self, images: jax.Array) -> jax.Array:
            return self.layer(self.norm(images.reshape(len(images), -1)))

    study = ji.Study(dataset=DATA, model=ji.from_nnx(Own), steps=3, batch_size=10, trials=2, learning_rate=0.1)
    results = ji.run(study, out=tmp_path / "run", keep=("params", "predictions"))
    with pytest.raises(ji.InputError, match="own"):
        ji.load_params(tmp_path / "run", "normal", 0)
    found = np.argmax(ji.predictor(tmp_path / "run", "inverted", study=study)(DATA.x_test), -1)
    np.testing.assert_array_equal(found, results.predictions.sel(arm="inverted").values[0])
    module = ji.load_module(tmp_path / "run", "inverted", 1, study=study)
    assert isinstance(module, Own)
    seen = np.argmax(module(jnp.asarray(1 - DATA.x_test / 255.0, jnp.float32)), -1)
    np.testing.assert_array_equal(seen, results.predictions.sel(arm="inverted").values[0, 1])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"keep": ("params", "weights")}, "keep: 'weights' is not known"),
        ({"keep": 3}, "keep: 3 is not allowed"),
        ({"metrics": {"accuracy": margin}}, "metrics: the name 'accuracy' is not allowed"),
        ({"metrics": {"m": 3}}, "metrics: m: 3 is not allowed"),
        ({"metrics": {"m": lambda logits, labels: logits}}, r"metrics: m: float32 \[7, 4\]"),
        ({"metrics": {"m": lambda logits, labels: labels}}, r"metrics: m: int32 \[7\]"),
        ({"metrics": [margin]}, "metrics: "),
        ({"test_arms": ("normal", "normal")}, "test_arms: normal, normal has a name twice"),
        ({"test_arms": "invreted"}, "test_arms: 'invreted' is not known; did you mean 'inverted'"),
        ({"test_arms": 1}, "test_arms: 1 is not allowed"),
    ],
)
def test_refused_in_one_line(wrong: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ji.InputError, match=says) as raised:
        ji.run(ji.Study(dataset=DATA, steps=1, batch_size=5, trials=1), out=tmp_path / "run", **wrong)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_stored_run_goes_on_with_what_it_keeps(folder: Path) -> None:
    before = sorted(path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    own: dict[str, Any] = options()
    own["metrics"] = {"margin": lambda logits, labels: margin(logits, labels) + 1}
    wrong: dict[str, Any]
    for wrong in ({}, {"keep": "correct"}, own):
        with pytest.raises(
            ji.InputError, match="keeps keep=correct, predictions, confusion, params and metrics=margin"
        ):
            ji.run(STUDY.replace(trials=9), out=folder, **wrong)
    after = sorted(path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    assert before == after


def test_networks_that_will_not_fit_the_disk(tmp_path: Path) -> None:
    study = ji.Study(dataset=DATA, trials=2_000_000_000 // 64, model="mlp", steps=1, batch_size=5)
    with pytest.raises(ji.InputError, match=r"keep: params of 31250000 trials need .* GiB, and .* are free"):
        ji.run(study, out=tmp_path / "run", keep="params")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("trial", [3, -1, 0.5, []])
def test_trials_that_are_not_there(results: xr.Dataset, trial: Any) -> None:
    with pytest.raises(ji.InputError, match="trial: "):
        ji.load_params(results, "normal", trial, 0.02, study=STUDY)
