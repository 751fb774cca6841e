"""Sharpness, stable learning rates and folds: against dense eigenvalues, Hessians and gradient descent in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv import theory
from jaxinv.data import Dataset, load_dataset
from jaxinv.engine.runner import run
from jaxinv.engine.single_trial import train_one
from jaxinv.errors import InputError
from jaxinv.models import Model, get_model
from jaxinv.preprocess import Preprocess, get_preprocess
from jaxinv.study import Study
from tests.reference import softmax


def noise(seed: int = 0, shape: tuple[int, int, int] = (4, 3, 2), train: int = 60, classes: int = 3) -> Dataset:
    """Images of noise that is dark on average, with one pixel that is never on."""
    rng = np.random.default_rng(seed)
    images = (rng.integers(0, 256, (train + 20, *shape)) * rng.uniform(0, 1, shape) ** 2).astype(np.uint8)
    images[:, 0, 0, 0] = 0
    labels = rng.integers(0, classes, train + 20).astype(np.int32)
    labels[:classes] = np.arange(classes)
    return Dataset(
        x_train=images[:train], y_train=labels[:train], x_test=images[train:], y_test=labels[train:], classes=classes
    )


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    """The first 2,000 + 1,000 images of MNIST."""
    full = load_dataset("mnist")
    return Dataset(
        x_train=full.x_train[:2000], y_train=full.y_train[:2000], x_test=full.x_test[:1000], y_test=full.y_test[:1000]
    )


def presented(data: Dataset, arm: str, bias: bool) -> np.ndarray:
    """x̃ [N, D] by the arm's own apply, in float64."""
    chosen = get_preprocess(arm)
    with jax.enable_x64(True):
        images = np.asarray(chosen.apply(chosen.fit(data.x_train), data.x_train.astype(np.float64)), np.float64)
    x = images.reshape(len(images), -1)
    return np.concatenate([x, np.ones((len(x), 1))], axis=1) if bias else x


ARMS = ["raw", "normal", "inverted", "channel_zscore", "inverted+pixel_mean", "pixel_zscore", "image_standardize"]


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("model", ["softmax", "softmax_nobias"])
def test_spectrum_is_that_of_the_dense_matrix(arm, model):
    data = noise()
    x = presented(data, arm, bias=model == "softmax")
    values = np.linalg.eigh(x.T @ x / len(x))[0]
    there = values[values > 1e-9 * values[-1]]
    found = theory.compute_sharpness(data, arm, model)
    assert found.method == "dense"
    assert found.inputs == x.shape[1]
    np.testing.assert_allclose(found.largest, values[-1], rtol=2e-6)
    np.testing.assert_allclose(found.trace, np.square(x).sum() / len(x), rtol=2e-6)
    assert found.max_stable_learning_rate == pytest.approx(2 * 3 / found.largest)
    if arm != "image_standardize":  # whose columns add up to 0 only as far as float32 goes
        assert found.rank == there.size
        assert found.smallest is not None
        np.testing.assert_allclose(found.smallest, there[0], rtol=1e-4)
        assert found.condition == pytest.approx(found.largest / found.smallest)


@pytest.mark.parametrize("arm", ["normal", "inverted", "pixel_mean", "lcn"])
@pytest.mark.parametrize("model", ["softmax", "softmax_nobias"])
def test_products_with_the_data_alone_give_the_same_largest_eigenvalue(arm, model, monkeypatch):
    monkeypatch.setattr("jaxinv.theory.moments._SLAB", 24 * 7)  # seven images a slab, the last one not full
    data = noise()
    dense, iterative = (theory.compute_sharpness(data, arm, model, method=way) for way in ("dense", "iterative"))
    np.testing.assert_allclose([iterative.largest, iterative.trace], [dense.largest, dense.trace], rtol=1e-9)
    assert (iterative.smallest, iterative.rank, iterative.condition) == (None, None, None)
    assert iterative.max_stable_learning_rate == pytest.approx(dense.max_stable_learning_rate, rel=1e-9)


def test_large_images_are_not_made_into_a_matrix(monkeypatch):
    monkeypatch.setattr("jaxinv.theory.sharpness.MOST_INPUTS", 24)
    assert theory.compute_sharpness(noise(), "normal", "softmax_nobias").method == "dense"
    assert theory.compute_sharpness(noise(), "normal", "softmax").method == "iterative"


def test_sums_of_squares_of_white_images_are_exact():
    images = np.full((1000, 1, 2, 1), 255, np.uint8)
    data = Dataset(x_train=images, y_train=np.arange(1000) % 2, x_test=images[:2], y_test=np.arange(2))
    found = theory.compute_sharpness(data, "raw", "softmax_nobias")
    assert (found.largest, found.rank) == (pytest.approx(2 * 65025, abs=1e-9), 1)


@pytest.mark.slow
def test_mnist_has_the_known_sharpness():
    data = load_dataset("mnist")
    bounds = {"normal": (39.05, 0.512), "inverted": (616.2, 0.0325), "pixel_mean": (5.112, 3.912)}
    for arm, (largest, bound) in bounds.items():
        found = theory.compute_sharpness(data, arm)
        assert found.largest == pytest.approx(largest, rel=1e-3)
        assert found.sharpness == pytest.approx(largest / 10, rel=1e-3)
        assert found.max_stable_learning_rate == pytest.approx(bound, rel=2e-3)


def test_bound_is_two_over_the_largest_eigenvalue_of_the_hessian():
    data = noise(shape=(2, 2, 1), train=30)
    x = jnp.asarray(presented(data, "inverted", bias=True), jnp.float32)

    def loss(flat):
        logits = x @ flat.reshape(5, 3)
        return jnp.mean(jax.nn.logsumexp(logits, axis=1) - logits[jnp.arange(30), data.y_train])

    hessian = np.asarray(jax.jit(jax.hessian(loss))(jnp.zeros(15)), np.float64)
    found = theory.compute_sharpness(data, "inverted")
    assert found.max_stable_learning_rate == pytest.approx(2 / np.linalg.eigvalsh(hessian)[-1], rel=1e-5)


@pytest.mark.parametrize("arm", ["normal", "inverted", "pixel_mean"])
def test_gradient_descent_is_stable_below_the_bound_and_unstable_above(arm):
    """At a minimum: labels that the images say nothing of make W = 0 the best there is. Oracle: NumPy float64."""
    base = noise(3)
    images, labels = np.repeat(base.x_train, 3, axis=0), np.tile(np.arange(3), len(base.x_train))
    data = Dataset(x_train=images, y_train=labels, x_test=base.x_test, y_test=base.y_test, classes=3)
    bound = theory.compute_sharpness(data, arm).max_stable_learning_rate
    assert bound is not None
    x = presented(data, arm, bias=True)
    top = np.linalg.eigh(x.T @ x)[1][:, -1]
    for factor, falls in ((0.98, True), (1.02, False)):
        weight = 1e-4 * np.outer(top, [1.0, -1.0, 0.0])
        losses = []
        for _ in range(30):
            p = softmax(x @ weight)
            losses.append(-np.log(p[np.arange(len(p)), labels]).mean())
            weight -= factor * bound * x.T @ (p - np.eye(3)[labels]) / len(x)
        steps = np.diff(losses)
        assert (steps < 0).all() if falls else (steps > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["normal", "inverted", "pixel_mean"])
def test_first_step_on_mnist_goes_down_below_the_bound_and_up_above(arm, mnist):
    """From W = 0 along the steepest direction of the bowl, as far as the gradient points that way (NumPy float64)."""
    bound = theory.compute_sharpness(mnist, arm).max_stable_learning_rate
    assert bound is not None
    x = presented(mnist, arm, bias=True)
    truth = np.eye(10)[mnist.y_train]
    top = np.linalg.eigh(x.T @ x)[1][:, -1]
    gradient = np.outer(top, top @ x.T @ (0.1 - truth) / len(x))

    def loss(weight: np.ndarray) -> float:
        return float(-(np.log(softmax(x @ weight)) * truth).sum(axis=1).mean())

    assert loss(-0.97 * bound * gradient) < np.log(10) < loss(-1.03 * bound * gradient)


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["normal", "inverted", "pixel_mean"])
def test_runner_descends_steadily_below_the_bound_and_not_far_above(arm, mnist):
    """The runner itself: batches of all images, and the loss on those same images after every step."""
    data = Dataset(x_train=mnist.x_train, y_train=mnist.y_train, x_test=mnist.x_train, y_test=mnist.y_train)
    bound = theory.compute_sharpness(data, arm).max_stable_learning_rate
    assert bound is not None
    rates = (0.9 * bound, 4 * bound)
    study = Study(dataset=data, arms=(arm,), batch_size=2000, steps=20, eval_every=1, learning_rate=rates, trials=1)
    losses = run(study, progress=False).test_loss.values[0, :, 0].astype(np.float64)
    below, above = np.diff(np.concatenate([np.full((2, 1), np.log(10)), losses], axis=1))
    assert (below < 0).all()
    assert (above > 0).any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "arm"),
    [
        ("softmax", "inverted"),
        ("softmax", "pixel_zscore"),
        ("softmax_nobias", "signed+pixel_mean"),
        ("mlp", "inverted"),
        ("mlp_nobias", "inverted"),
        ("mlp_bn", "inverted"),
        ("cnn", "inverted+pixel_mean"),
    ],
)
def test_fold_onto_raw_pixels_gives_the_same_logits(model, arm, mnist):
    study = Study(dataset=mnist, model=model, steps=20, learning_rate=0.05)
    params, state = train_one(study, arm=arm)
    single = theory.translate(model, params, state, mnist, source=arm)
    double = theory.translate(model, params, state, mnist, source=arm, double=True)
    assert single.max_difference <= 1e-4
    assert double.max_difference <= 1e-10
    assert single.images == 1000
    assert single.own == (model in ("softmax", "mlp"))
    assert double.largest_logit > 0.1
    assert all(leaf.dtype == np.float64 for leaf in jax.tree.leaves(double.params))
    if model == "cnn":
        return
    # and once more without the library's own comparison
    chosen = get_preprocess(arm)
    images = mnist.x_test[:50].astype(np.float32)
    presented = chosen.apply(chosen.fit(mnist.x_train), images)
    network = get_model(model).bind(mnist.image_shape, mnist.classes)
    wanted = network.apply(params, state, presented, train=False, key=None)[0]
    found = network.apply(single.params, state, images, train=False, key=None)[0]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.slow
def test_weights_for_inverted_images_from_weights_for_normal_ones(mnist):
    """The learned weights tweaked by hand: -W, and a bias of b + W1."""
    study = Study(dataset=mnist, steps=20)
    params, state = train_one(study, arm="normal")
    found = theory.translate("softmax", params, state, mnist, source="normal", target="inverted", double=True)
    weight, bias = (np.asarray(params["first"][name], np.float64) for name in ("weight", "bias"))
    np.testing.assert_allclose(found.params["first"]["weight"], -weight, atol=1e-7)
    np.testing.assert_allclose(found.params["first"]["bias"], bias + weight.sum(axis=1), atol=1e-6)
    assert found.max_difference <= 1e-10


@pytest.mark.slow
def test_train_one_ends_where_the_trial_of_a_study_ends(mnist):
    study = Study(dataset=mnist, steps=30, learning_rate=(0.005, 0.02), trials=3)
    results = run(study, per_image=True, progress=False)
    params, _ = train_one(study, arm="inverted", learning_rate=0.02, trial=2)
    x = 1 - mnist.x_test.reshape(1000, -1) / 255
    logits = x @ np.asarray(params["first"]["weight"]).T + np.asarray(params["first"]["bias"])
    correct = results.correct.sel(arm="inverted", learning_rate=0.02, trial=2).values
    assert (correct != (logits.argmax(axis=1) == mnist.y_test)).sum() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("centring", ["global_mean", "channel_mean", "pixel_mean"])
def test_centred_arms_mirror_each_other_to_the_last_trial(centring, mnist):
    arms = (centring, f"inverted+{centring}")
    results = run(Study(dataset=mnist, arms=arms, trials=20, eval_every=10), progress=False)
    np.testing.assert_array_equal(results.accuracy.sel(arm=arms[0]), results.accuracy.sel(arm=arms[1]))
    np.testing.assert_array_equal(results.weight_delta.sel(arm=arms[0]), results.weight_delta.sel(arm=arms[1]))


def test_model_decides_about_bias_and_bound():
    data = noise()
    found = {
        name: theory.compute_sharpness(data, "normal", name) for name in ("softmax", "softmax_nobias", "mlp", "mlp_bn")
    }
    assert [c.bias for c in found.values()] == [True, False, True, False]
    assert [c.max_stable_learning_rate is not None for c in found.values()] == [True, True, False, False]
    assert found["mlp"].largest == found["softmax"].largest


def linear(start: float, squares: bool) -> Model:
    """logits = W x + b, from `start`; with `squares` also V x², which makes it another network."""

    def init(key, image_shape, classes):
        names = ("weight", "squares") if squares else ("weight",)
        inputs = int(np.prod(image_shape))
        first = {name: jnp.full((classes, inputs), start) for name in names} | {"bias": jnp.zeros(classes)}
        return {"first": first}, {}

    def apply(params, state, images, *, train, key):
        x, first = images.reshape(len(images), -1), params["first"]
        more = x**2 @ first["squares"].T if squares else 0.0
        return x @ first["weight"].T + more + first["bias"][None], state

    return Model("linear", init, apply, get_model("softmax").fold, None, get_model("softmax").pixel_weights)


def test_bound_is_given_for_linear_networks_from_zero_alone():
    data = noise()
    found = theory.compute_sharpness(data, "normal", linear(0.0, squares=False))
    assert (
        found.max_stable_learning_rate == theory.compute_sharpness(data, "normal", "softmax").max_stable_learning_rate
    )
    assert theory.compute_sharpness(data, "normal", linear(0.1, squares=False)).max_stable_learning_rate is None
    assert theory.compute_sharpness(data, "normal", linear(0.0, squares=True)).max_stable_learning_rate is None


@pytest.mark.slow
def test_refusals_say_why(mnist):
    data = noise()
    params, state = get_model("softmax").init(jax.random.key(0), data.image_shape, 3)
    stiff = Model(
        "stiff",
        get_model("softmax").init,
        get_model("softmax").bind(data.image_shape, 3).apply,
        get_model("softmax").fold,
        lambda scale, offset: "it pads with 0" if np.any(offset) else None,
    )
    bare = Model("bare", stiff.init, stiff.apply)
    with pytest.raises(InputError, match="arms: 'lcn' is not affine"):
        theory.translate("softmax", params, state, data, source="lcn")
    with pytest.raises(InputError, match="target: 'pixel_zscore' shows nothing of 1 pixels"):
        theory.translate("softmax", params, state, data, source="normal", target="pixel_zscore")
    with pytest.raises(InputError, match="'stiff' cannot take the map in exactly: it pads with 0"):
        theory.translate(stiff, params, state, data, source="inverted")
    assert theory.translate(stiff, params, state, data, source="normal").max_difference <= 1e-4
    convnet = get_model("cnn").init(jax.random.key(0), (28, 28, 1), 10)
    with pytest.raises(InputError, match=r"'cnn' cannot take the map in exactly: .*a convolution.*differs from pixel"):
        theory.translate("cnn", *convnet, mnist, source="pixel_zscore")
    assert theory.translate("cnn", *convnet, mnist, source="normal").own
    with pytest.raises(InputError, match="model: 'bare' does not say"):
        theory.translate(bare, params, state, data, source="normal")
    with pytest.raises(InputError, match="model: the first layer of 'bare' does not read pixels directly"):
        theory.compute_sharpness(data, "normal", bare)
    with pytest.raises(InputError, match="method: 'sparse'"):
        theory.compute_sharpness(data, method="sparse")  # pyright: ignore[reportArgumentType]


def test_own_affine_arm_is_taken_at_its_word():
    ones = np.ones((4, 3, 2), np.float32)
    arm = Preprocess(
        lambda images: (), lambda params, x: x / 100.0, "own", lambda params, shape: (ones / 100, 0 * ones)
    )
    found = theory.compute_sharpness(noise(), arm, "softmax_nobias")
    x = noise().x_train.reshape(60, -1) / 100
    assert found.largest == pytest.approx(np.linalg.eigvalsh(x.T @ x / 60)[-1], rel=1e-6)
    assert found.to_dict()["arm"] == "own"
