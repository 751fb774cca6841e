"""The built-in networks: gradients against PyTorch and NumPy, the fold, and what training one involves."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxinv import data, preprocess, registry
from jaxinv.errors import InputError
from jaxinv.models import Model, check_model, get_model

pytestmark = pytest.mark.optimized

DENSE = ["softmax", "softmax_nobias", "mlp", "mlp_nobias", "mlp_bn", "mlp_glorot", "mlp_he", "mlp_sigmoid"]
CONVOLUTIONAL = ["cnn", "cnn_bn", "deep_mnist", "hosseini"]
ALL = DENSE + CONVOLUTIONAL
SIZED = ["mlp:7,12", "mlp_sigmoid:5,4", "mlp_nobias:12,7,5", "mlp_bn:12,7,5", "cnn:4,6,8", "cnn_bn:3,5"]


def slow_convolutions(*arguments: Any) -> Any:
    """The arguments of a test, the first the name of a network: convolutions take long to compile."""
    convolutional = arguments[0].startswith(tuple(CONVOLUTIONAL))
    return pytest.param(*arguments, marks=[pytest.mark.slow] if convolutional else [])


EVERYWHERE = [slow_convolutions(name, (8, 8, 1)) for name in ALL]
EVERYWHERE += [slow_convolutions(name, (9, 6, 3)) for name in ALL if name != "deep_mnist"]
ORDER = ("first", "second", "third", "fourth")
KEY = jax.random.key(0)


def randomised(name: str, shape: tuple[int, int, int], classes: int = 3) -> Any:
    """Parameters and state of everyday size, none zero, in float64; what must be positive (variances) is."""
    rng = np.random.default_rng(0)
    model = get_model(name)
    form = jax.eval_shape(lambda key: model.init(key, shape, classes), KEY)

    def fill(path: Any, leaf: Any) -> jax.Array:
        values = rng.standard_normal(leaf.shape) / max(1, math.prod(leaf.shape[1:])) ** 0.5
        return jnp.asarray(np.abs(values) if path[-1].key == "variance" else values)

    return jax.tree.map_with_path(fill, form)


def batch(shape: tuple[int, int, int], count: int = 6, classes: int = 3, dtype: Any = np.float64) -> Any:
    rng = np.random.default_rng(1)
    return jnp.asarray(rng.random((count, *shape)), dtype), jnp.asarray(rng.integers(0, classes, count))


def loss(model: Model, params: Any, state: Any, images: Any, labels: Any, *, train: bool = True) -> jax.Array:
    network = model.bind(images.shape[1:], 3)
    logits, _ = network.apply(params, state, images, train=train, key=KEY)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def equal(found: Any, expected: Any, tolerance: float = 1e-10) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), found, expected)


def test_names_are_those_of_the_catalogue():
    for name in registry.MODELS:
        assert get_model(name).name == name
    assert set(ALL) == set(registry.MODELS)
    model = get_model("softmax")
    assert get_model(model) is model
    with pytest.raises(InputError, match="model: 'sofmax' is not known; did you mean 'softmax'"):
        get_model("sofmax")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["softmax", "softmax_nobias"])
def test_softmax_gradient_in_closed_form(name: str):
    """dL/dW = (p - y) x^T / B and dL/db = (p - y) / B, summed over the batch."""
    with jax.enable_x64(True):
        model = get_model(name)
        params, state = randomised(name, (3, 4, 2))
        images, labels = batch((3, 4, 2))
        gradient = jax.grad(lambda p: loss(model, p, state, images, labels))(params)["first"]
        x, w = np.asarray(images).reshape(6, -1), np.asarray(params["first"]["weight"])
        z = x @ w.T + np.asarray(params["first"].get("bias", np.zeros(3)))
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        error = (p - np.eye(3)[np.asarray(labels)]) / 6
        expected = {"weight": error.T @ x}
        if name == "softmax":
            expected["bias"] = error.sum(0)
        equal(gradient, expected, 1e-12)


def torch_network(name: str, params: Any, state: Any, shape: tuple[int, int, int], train: bool) -> tuple[Any, dict]:
    """The same network in PyTorch, built from its own layers, with our weights. Returns it and our names of its own.

    Between convolutions and dense layers ours flattens [C, H, W], as PyTorch does; before the first, [H, W, K].
    """
    torch = pytest.importorskip("torch")
    nn = torch.nn
    layers: list[Any] = []
    names: dict[str, Any] = {}

    def take(layer: Any, path: str, ours: Any, running: Any = None) -> Any:
        for our_name, their_name in (("weight", "weight"), ("scale", "weight"), ("bias", "bias")):
            if our_name in ours:
                getattr(layer, their_name).data = torch.tensor(np.asarray(ours[our_name]))
                names[f"{path}/{our_name}"] = getattr(layer, their_name)
        if running is not None:
            layer.running_mean = torch.tensor(np.asarray(running["mean"]))
            layer.running_var = torch.tensor(np.asarray(running["variance"]))
        return layer.double().train(train)

    def norm(kind: Any, path: str, ours: Any, running: Any) -> None:
        layers.append(take(kind(len(ours["scale"]), momentum=None), path, ours, running))

    def dense(path: str) -> None:
        rows, columns = params[path]["weight"].shape
        layers.append(take(nn.Linear(columns, rows, bias="bias" in params[path]), path, params[path]))

    def convolution(path: str) -> None:
        ours = params[path]
        outputs, inputs, size, _ = ours["weight"].shape
        padding = 0 if name == "hosseini" else size // 2
        layers.append(take(nn.Conv2d(inputs, outputs, size, padding=padding, bias="bias" in ours), path, ours))
        if "norm" in ours:
            norm(nn.BatchNorm2d, f"{path}/norm", ours["norm"], state[path]["norm"])
        layers.append(nn.ReLU())
        if name != "hosseini" or path == "second":
            layers.append(nn.MaxPool2d(2))

    for path in (path for path in ORDER if path in params):
        if params[path]["weight"].ndim == 4:
            convolution(path)
            continue
        layers.append(nn.Flatten())
        dense(path)
        around = "norm" if path == "first" else f"{path}_norm"
        if around in params:
            norm(nn.BatchNorm1d, around, params[around], state[around])
        if "last" in params:
            layers.append(nn.Sigmoid() if name.startswith("mlp_sigmoid") else nn.ReLU())
    if "last" in params:
        layers.append(nn.Flatten())
        dense("last")
    return nn.Sequential(*layers), names


@pytest.mark.parametrize(("name", "shape"), EVERYWHERE + [slow_convolutions(name, (8, 8, 1)) for name in SIZED])
def test_gradients_equal_those_of_pytorch(name: str, shape: tuple[int, int, int]):
    """All parameters, float64, in training (in evaluation for `deep_mnist`, whose dropout draws other numbers)."""
    torch = pytest.importorskip("torch")
    if name == "cnn_bn":  # of odd sizes, ours leaves out of the statistics what pooling leaves out
        shape = (8, 4, shape[2])
    train = name != "deep_mnist"
    with jax.enable_x64(True):
        model = get_model(name)
        params, state = randomised(name, shape)
        images, labels = batch(shape)
        value, gradient = jax.jit(
            jax.value_and_grad(lambda p: loss(model, p, state, images, labels, train=train))
        )(params)  # fmt: skip
        network, names = torch_network(name, params, state, shape, train)
        pixels = torch.tensor(np.asarray(images))
        pixels = pixels.permute(0, 3, 1, 2) if name.startswith(tuple(CONVOLUTIONAL)) else pixels
        theirs = torch.nn.functional.cross_entropy(network(pixels), torch.tensor(np.asarray(labels)).long())
        theirs.backward()
        np.testing.assert_allclose(value, theirs.item(), rtol=1e-10)
        ours = {"/".join(step.key for step in path): leaf for path, leaf in jax.tree.leaves_with_path(gradient)}
        assert set(ours) == set(names)
        for path, leaf in ours.items():
            np.testing.assert_allclose(leaf, names[path].grad.numpy(), rtol=1e-9, atol=1e-12, err_msg=path)
            assert np.any(leaf != 0)


def affine(name: str, shape: tuple[int, int, int]) -> tuple[jax.Array, jax.Array]:
    """A scale and an offset that the model can fold: a scale per channel before convolutions, per pixel otherwise."""
    rng = np.random.default_rng(2)
    each_pixel = get_model(name).fold_refusal is None
    scale = rng.normal(size=shape if each_pixel else (1, 1, shape[2])) * np.ones(shape)
    return jnp.asarray(scale), jnp.asarray(rng.normal(size=shape))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape"), [*EVERYWHERE, ("mlp_bn:12,7,5", (8, 8, 1))])
def test_fold_is_exact(name: str, shape: tuple[int, int, int]):
    with jax.enable_x64(True):
        model = get_model(name)
        params, state = randomised(name, shape)
        images, labels = batch(shape)
        scale, offset = affine(name, shape)
        assert model.fold is not None
        fold = model.fold
        assert model.fold_refusal is None or model.fold_refusal(scale, offset) is None
        shown = scale[None] * images + offset[None]
        folded = jax.jit(jax.value_and_grad(lambda p: loss(model, fold(p, scale, offset), state, images, labels)))
        plain = jax.jit(jax.value_and_grad(lambda p: loss(model, p, state, shown, labels)))
        equal(folded(params), plain(params))


@pytest.mark.parametrize("name", [*map(slow_convolutions, ["softmax_nobias", "mlp", "cnn_bn"])])
def test_folded_and_unfolded_training_agree_over_ten_steps(name: str):
    with jax.enable_x64(True):
        model, shape = get_model(name), (8, 8, 1)
        network = model.bind(shape, 3)
        images, labels = batch(shape, 10 * 8)
        images, labels = images.reshape(10, 8, *shape), labels.reshape(10, 8)
        scale, offset = affine(name, shape)
        assert model.fold is not None
        fold = model.fold

        def train(start: Any, folded: bool) -> Any:
            def step(at: Any, x: Any) -> Any:
                params, state = at

                def objective(p: Any) -> Any:
                    if folded:
                        return network.apply(fold(p, scale, offset), state, x[0], train=True, key=KEY)
                    return network.apply(p, state, scale[None] * x[0] + offset[None], train=True, key=KEY)

                def total(p: Any) -> Any:
                    logits, after = objective(p)
                    return optax.softmax_cross_entropy_with_integer_labels(logits, x[1]).mean(), after

                gradient, state = jax.grad(total, has_aux=True)(params)
                return (jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient), state), None

            return jax.lax.scan(step, start, (images, labels))[0]

        start = randomised(name, shape)
        found, expected = jax.jit(lambda s: (train(s, True), train(s, False)))(start)
        equal(found, expected, 1e-9)
        assert not np.allclose(expected[0]["first"]["weight"], start[0]["first"]["weight"], atol=1e-4)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutions_fold_every_arm_but_a_scale_per_pixel(name: str):
    model, images = get_model(name), np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), np.uint8)
    folded, refused = [], []
    for arm in registry.PREPROCESSINGS:
        chosen = preprocess.get_preprocess(arm)
        if chosen.affine is not None:
            scale, offset = chosen.affine(chosen.fit(images), images.shape[1:])
            assert model.fold_refusal is not None
            reason = model.fold_refusal(np.asarray(scale), np.asarray(offset))
            (folded if reason is None else refused).append(arm)
            assert reason is None or "its first layer is a convolution, which shares its weights" in reason
    assert refused == ["pixel_zscore"]
    assert {"normal", "inverted", "pixel_mean", "channel_zscore"} <= set(folded)


@pytest.mark.parametrize("name", [*map(slow_convolutions, SIZED)])
def test_every_affine_preprocessing_that_folds_gives_the_same_network(name: str):
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    chosen = [preprocess.get_preprocess(arm) for arm in registry.PREPROCESSINGS]
    fitted = [p.affine(p.fit(images), images.shape[1:]) for p in chosen if p.affine is not None]
    model, (params, state) = get_model(name), randomised(name, (8, 8, 3))
    network = model.bind((8, 8, 3), 3)
    fitted = [affine for affine in fitted if network.refuses_fold(*map(np.asarray, affine)) is None]
    with jax.enable_x64(True):
        params, state, x = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (params, state, images))
        scales, offsets = (jnp.stack([jnp.asarray(a, jnp.float64) for a in each]) for each in zip(*fitted, strict=True))

        def both(scale: jax.Array, offset: jax.Array) -> Any:
            folded = network.apply(network.fold(params, scale, offset), state, x, train=True, key=KEY)[0]
            return folded, network.apply(params, state, scale[None] * x + offset[None], train=True, key=KEY)[0]

        folded, plain = jax.jit(jax.vmap(both))(scales, offsets)
        assert len(folded) >= 8
        equal(folded, plain, 1e-8)
        assert np.ptp(plain, axis=0).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSE)
def test_pixel_weights_are_those_that_read_the_pixel(name: str):
    """The first layer's sensitivity to a pixel, by differences of what a one-pixel image gives."""
    shape = (3, 4, 2)
    model = get_model(name)
    params, _ = model.init(KEY, shape, 3)
    weight = params["first"]["weight"] + jax.random.normal(KEY, params["first"]["weight"].shape)
    assert model.pixel_weights is not None
    found = model.pixel_weights({**params, "first": {**params["first"], "weight": weight}}, shape)
    assert found.shape == (*shape, len(weight))
    for row, col, channel in [(0, 0, 0), (1, 2, 1), (2, 3, 0)]:
        image = np.zeros(shape, np.float32)
        image[row, col, channel] = 1
        np.testing.assert_allclose(found[row, col, channel], weight @ image.ravel(), rtol=1e-6)


@pytest.mark.slow
def test_initial_weights_have_the_stated_spread():
    params, _ = get_model("mlp").init(KEY, (28, 28, 1), 10)
    assert np.std(params["first"]["weight"]) == pytest.approx(784**-0.5, rel=0.02)
    assert np.std(params["last"]["weight"]) == pytest.approx(128**-0.5, rel=0.1)
    assert not np.any(params["first"]["bias"])
    assert not np.any(get_model("softmax").init(KEY, (28, 28, 1), 10)[0]["first"]["weight"])
    params, _ = get_model("mlp_he").init(KEY, (28, 28, 1), 10)
    assert np.std(params["first"]["weight"]) == pytest.approx((2 / 784) ** 0.5, rel=0.02)
    assert np.std(params["last"]["weight"]) == pytest.approx(128**-0.5, rel=0.1)
    for name in ("mlp_glorot", "mlp_sigmoid"):
        params, _ = get_model(name).init(KEY, (28, 28, 1), 10)
        for layer, units in (("first", 784 + 128), ("last", 128 + 10)):
            weight, limit = np.asarray(params[layer]["weight"]), (6 / units) ** 0.5
            assert 0.99 * limit < np.abs(weight).max() <= limit
            assert np.std(weight) == pytest.approx(limit / 3**0.5, rel=0.05)
    params, _ = get_model("cnn").init(KEY, (28, 28, 1), 10)
    assert np.std(params["second"]["weight"]) == pytest.approx((2 / 72) ** 0.5, rel=0.1)
    assert params["last"]["weight"].shape == (10, 16 * 7 * 7)
    params, _ = get_model("deep_mnist").init(KEY, (9, 8, 1), 10)
    weight = params["third"]["weight"]
    assert weight.shape == (1024, 64 * 2 * 2)
    assert np.max(np.abs(weight)) <= 0.2
    assert np.std(weight) == pytest.approx(0.1 * 0.8796, rel=0.01)  # of a standard normal cut off at 2
    assert np.all(np.asarray(params["first"]["bias"]) == np.float32(0.1))


@pytest.mark.slow
def test_initial_weights_are_those_of_the_first_release():
    """Some numbers of each, drawn by version 0.1.0."""
    expected = {
        "mlp": [-0.2031357, -0.06260681, -0.04550782, -0.06652333],
        "cnn_bn": [-0.8125427, -0.2504272, 0.005286753, -0.03292632, -0.0833901, -0.05097685],
        "deep_mnist": [
            *(-0.1516179, -0.04672892, 0.03672943, -0.01273739),
            *(0.1061459, 0.1136391, -0.01068902, -0.001152646),
        ],
    }
    for name, numbers in expected.items():
        params, _ = get_model(name).init(jax.random.key(3), (9, 8, 1), 4)
        found = [np.ravel(params[layer]["weight"])[1:3] for layer in sorted(params) if "weight" in params[layer]]
        np.testing.assert_allclose(np.concatenate(found), numbers, rtol=1e-5, err_msg=name)


@pytest.mark.slow
def test_sizes_make_models_of_their_own_that_are_kept():
    assert get_model("mlp: 128,064") is get_model("mlp:128,64")
    assert get_model("mlp:128,64").name == "mlp:128,64"
    assert get_model("mlp:128") is not get_model("mlp")
    params, state = get_model("cnn_bn:4,6,8").init(KEY, (8, 9, 3), 5)
    weights = {layer: params[layer]["weight"].shape for layer in params}
    kernels = {"first": (4, 3, 3, 3), "second": (6, 4, 3, 3), "third": (8, 6, 3, 3), "last": (5, 8)}
    assert weights == kernels
    assert [state[layer]["norm"]["mean"].shape for layer in ORDER[:3]] == [(4,), (6,), (8,)]
    for name, biased in (("mlp:4,3", 3), ("mlp_nobias:4,3", 2), ("mlp_bn:4,3", 1)):
        layers = get_model(name).init(KEY, (2, 2, 1), 5)[0]
        order = ["first", "second", "last"]
        assert [layer for layer in order if "bias" in layers[layer]] == order[-biased:]
    deep = get_model(f"mlp:{','.join(['3'] * 12)}").init(KEY, (2, 2, 1), 5)[0]
    assert {"tenth", "layer_11", "layer_12", "last"} < set(deep)
    assert len(deep) == 13


@pytest.mark.slow
@pytest.mark.parametrize("name", [*map(slow_convolutions, ["mlp", "cnn_bn"])])
def test_many_networks_at_once_equal_one_at_a_time(name: str):
    network, keys = get_model(name).bind((8, 8, 1), 3), jax.random.split(KEY, 3)
    images, _ = batch((8, 8, 1), dtype=np.float32)

    def trial(key: jax.Array) -> Any:
        params, state = network.init(key)
        return params, network.apply(params, state, images, train=True, key=key)

    together = jax.jit(jax.vmap(trial))(keys)
    shapes = jax.eval_shape(jax.vmap(trial), keys)
    assert jax.tree.map(jnp.shape, together) == jax.tree.map(lambda s: s.shape, shapes)
    for i in range(3):
        equal(jax.tree.map(lambda a, i=i: a[i], together), jax.jit(trial)(keys[i]), 2e-5)


@pytest.mark.slow
def test_dropout_halves_the_units_and_only_in_training():
    """Over many keys the mean logits are those of evaluation: the layer after dropout is linear, and what is kept is
    doubled."""
    network = get_model("deep_mnist").bind((4, 4, 1), 3)
    params, state = network.init(KEY)
    images, _ = batch((4, 4, 1), 2, dtype=np.float32)
    apply = jax.jit(lambda key: network.apply(params, state, images, train=True, key=key)[0])
    drawn = np.asarray(jax.vmap(apply)(jax.random.split(KEY, 500)))
    calm = np.asarray(network.apply(params, state, images, train=False, key=None)[0])
    error = drawn.std(0) / 500**0.5
    assert np.all(drawn.std(0) > 0)
    assert np.all(np.abs(drawn.mean(0) - calm) < 5 * error)
    np.testing.assert_array_equal(apply(KEY), apply(KEY))
    with pytest.raises(InputError, match="model: 'deep_mnist' needs a key to be trained"):
        network.apply(params, state, images, train=True, key=None)


@pytest.mark.parametrize("shape", [(4, 4, 1), (5, 7, 2), (32, 32, 3)])
@pytest.mark.parametrize("name", [name for name in ALL if name != "hosseini"])
def test_every_image_size_will_do(name: str, shape: tuple[int, int, int]):
    check_model(get_model(name), shape, 7)


@pytest.mark.parametrize(("name", "shape", "times"), [("cnn", (3, 8, 1), 2), ("cnn_bn:2,2,2,2", (16, 15, 1), 4)])
def test_too_small_to_pool(name: str, shape: tuple[int, int, int], times: int):
    needed = f"{shape[0]} x {shape[1]} are too small to be pooled {times} times; give images of at least {2**times} x"
    with pytest.raises(InputError, match=needed):
        get_model(name).init(KEY, shape, 3)
    get_model(name).init(KEY, (2**times, 2**times, 1), 3)


def test_hosseini_needs_room_for_two_convolutions_without_padding():
    with pytest.raises(InputError, match="images of 5 x 9 are too small; give images of at least 6 x 6"):
        check_model(get_model("hosseini"), (5, 9, 1), 3)
    check_model(get_model("hosseini"), (6, 9, 3), 3)
    shapes = {layer: value["weight"].shape for layer, value in randomised("hosseini", (28, 28, 1), 10)[0].items()}
    convolutions = {"first": (32, 1, 3, 3), "second": (64, 32, 3, 3)}
    assert shapes == {**convolutions, "third": (200, 9216), "fourth": (200, 200), "last": (10, 200)}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rate", "least"), [("mlp", 0.1, 0.75), ("cnn", 0.1, 0.8), ("cnn_bn", 0.1, 0.88)])
def test_fifty_updates_teach_something(name: str, rate: float, least: float):
    """50 updates of 100 digits: accuracy on 1,000 others, evaluated as a study evaluates them."""
    digits = data.load_dataset("mnist")
    images, labels = jnp.asarray(digits.x_train[:5000] / np.float32(255)), jnp.asarray(digits.y_train[:5000])
    network = get_model(name).bind((28, 28, 1), 10)

    @jax.jit
    def train(key: jax.Array, images: jax.Array, labels: jax.Array) -> Any:
        def step(at: Any, x: Any) -> Any:
            def objective(params: Any) -> Any:
                logits, state = network.apply(params, at[1], x[0], train=True, key=key)
                return optax.softmax_cross_entropy_with_integer_labels(logits, x[1]).mean(), state

            gradient, state = jax.grad(objective, has_aux=True)(at[0])
            return (jax.tree.map(lambda p, g: p - rate * g, at[0], gradient), state), None

        at, _ = jax.lax.scan(step, network.init(key), (images, labels))
        return at

    params, state = train(KEY, images.reshape(50, 100, 28, 28, 1), labels.reshape(50, 100))
    test = jnp.asarray(digits.x_test[:1000] / np.float32(255))
    logits, _ = network.apply(params, state, test, train=False, key=None)
    assert np.mean(np.argmax(logits, 1) == digits.y_test[:1000]) > least
