"""Evaluation without dark pixels: nothing order is left out, nothing is out of order, and the numbers are the same."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinv as ji
from jaxinv.data import Dataset, load_dataset
from jaxinv.engine.resolve import resolve
from jaxinv.engine.trial_batch import flops
from jaxinv.models import Model, get_model
from jaxinv.training.evaluation_tiles import GROUPS, LEAST_IMAGES, pixel_order, tile, tile_test_set
from tests.models.test_models import DENSE, batch, equal, randomised

pytestmark = pytest.mark.optimized


def images_of(test: np.ndarray, classes: int = 4) -> Dataset:
    """A dataset of these test images."""
    labels = np.arange(len(test)) % classes
    return Dataset(x_train=test[:40], y_train=labels[:40], x_test=test, y_test=labels, classes=classes)


def spotted(count: int, shape: tuple[int, int, int] = (6, 5, 2), share: float = 0.1) -> np.ndarray:
    """Images with few lit pixels, most of them in the middle of a row."""
    rng = np.random.default_rng(0)
    often = share * np.exp(-(np.linspace(-3, 3, shape[1]) ** 2))[None, :, None]
    return (rng.integers(1, 256, (count, *shape)) * (rng.random((count, *shape)) < often)).astype(np.uint8)


@pytest.mark.parametrize("count", [1, 7, 2 * LEAST_IMAGES + 1, (GROUPS + 3) * LEAST_IMAGES])
def test_no_lit_pixel_is_left_out(count: int) -> None:
    data = images_of(spotted(count))
    order = pixel_order(data)
    assert order is not None
    assert len(order.groups) == max(1, min(GROUPS, count // LEAST_IMAGES))
    np.testing.assert_array_equal(np.sort(order.pixels), np.arange(60))
    np.testing.assert_array_equal(np.sort(np.concatenate([group.images for group in order.groups])), np.arange(count))
    flat = data.x_test.reshape(count, -1)[:, order.pixels]
    for group in order.groups:
        assert not flat[group.images, group.width :].any()
        assert flat[group.images, group.width - 1].any() or group.width == 1  # nor could it be narrower
    assert [group.width for group in order.groups] == sorted(group.width for group in order.groups)
    assert pixel_order(data) is order


def test_mnist_needs_three_fifths_of_the_arithmetic() -> None:
    data = load_dataset("mnist")
    order = pixel_order(data)
    assert order is not None
    work = sum(len(group.images) * group.width for group in order.groups) / data.x_test.size
    assert 0.55 < work < 0.65
    assert order.groups[-1].width == (data.x_test.reshape(10_000, -1) > 0).any(axis=0).sum() == 668


def test_images_that_are_lit_everywhere_stay_as_they_are() -> None:
    bright = np.random.default_rng(0).integers(0, 256, (900, 4, 4, 3), np.uint8)
    assert pixel_order(images_of(bright)) is None
    assert pixel_order(images_of(np.maximum(spotted(900), 1))) is None


def test_black_images_keep_one_pixel() -> None:
    order = pixel_order(images_of(np.zeros((9, 4, 4, 1), np.uint8)))
    assert order is not None
    assert [group.width for group in order.groups] == [1]


@pytest.mark.parametrize("length", [1, 97, LEAST_IMAGES, 10**6])
@pytest.mark.parametrize("ordered", [True, False])
def test_each_image_stands_where_it_is_said_to(length: int, ordered: bool) -> None:
    data = images_of(spotted(2 * LEAST_IMAGES + 3))
    order = pixel_order(data) if ordered else None
    made = tile_test_set(data.x_test, data.y_test, length, order)
    assert all(tiles.labels.shape[1] <= length for tiles in made.groups)
    pixels = np.arange(60) if order is None else order.pixels
    width = max(tiles.images[0, 0].size for tiles in made.groups)
    rows = [tiles.images.reshape(tiles.labels.size, -1) for tiles in made.groups]
    laid = np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]))) for row in rows])
    position = made.position
    np.testing.assert_array_equal(laid[position], data.x_test.reshape(len(position), -1)[:, pixels[:width]])
    labels = np.concatenate([tiles.labels.reshape(-1) for tiles in made.groups])
    np.testing.assert_array_equal(labels[position], data.y_test)
    assert (np.delete(labels, position) == -1).all()
    assert not np.delete(laid, position, axis=0).any()


def test_tiles_are_even() -> None:
    made = tile(np.ones((10, 2, 2, 1), np.uint8), np.arange(10), 4)
    assert made.labels.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, -1, -1]]
    assert made.images.shape == (3, 4, 2, 2, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("train", [True, False])
def test_a_network_of_fewer_pixels_does_the_same(name: str, train: bool) -> None:
    """By indices in any order, and then by a slice of those; in float64, to the last digits."""
    shape, order = (6, 5, 2), np.random.default_rng(2).permutation(60)[:33]
    with jax.enable_x64(True):
        model = get_model(name)
        assert model.select_pixels is not None
        network, few_pixels = model.bind(shape, 3), model.bind((20, 1, 1), 3)
        params, state = randomised(name, shape)
        images, _ = batch(shape)
        seen = np.zeros(60)
        seen[order[:20]] = 1
        images = images * seen.reshape(1, *shape)
        selected = model.select_pixels(model.select_pixels(params, jnp.asarray(order)), slice(20))
        few = images.reshape(len(images), -1)[:, order[:20], None, None]
        key = jax.random.key(0)
        expected = network.apply(params, state, images, train=train, key=key)
        equal(few_pixels.apply(selected, state, few, train=train, key=key), expected)
        assert np.ptp(np.asarray(expected[0])) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["softmax", "mlp_bn"])
def test_runs_are_the_same_without_dark_pixels(name: str) -> None:
    """A whole study of a network that can leave pixels out, and of the same network that cannot."""
    model, rng = get_model(name), np.random.default_rng(1)
    wide = replace(model, select_pixels=None)
    test = spotted(2 * LEAST_IMAGES + 9, share=0.4)
    data = images_of(test[rng.permutation(len(test))])
    study = ji.Study(
        dataset=data, model=model, arms=("normal", "inverted+pixel_mean"), trials=3, steps=4, batch_size=20
    )
    found, expected = (ji.run(s, per_image=True) for s in (study, study.replace(model=wide)))
    again = ji.run(study, per_image=True)  # the layout of one is not taken for that of the other
    np.testing.assert_array_equal(found.weight_delta, expected.weight_delta)
    np.testing.assert_array_equal(found.correct, again.correct)
    assert (found.correct.values != expected.correct.values).mean() < 0.002
    assert float((found.correct.values != found.correct.values[..., ::-1]).mean()) > 0.05
    np.testing.assert_allclose(found.accuracy, expected.accuracy, atol=0.003)
    np.testing.assert_allclose(found.test_loss, expected.test_loss, rtol=1e-5)


def test_arithmetic_left_out_is_not_counted() -> None:
    study = ji.Study(trials=1)
    fewer, model = resolve(study), get_model("softmax")
    wide = replace(model, select_pixels=None)
    training = 2 * 2 * 2 * 50 * 100 * 7840
    order = pixel_order(fewer.dataset)
    assert order is not None
    assert flops(resolve(study.replace(model=wide))) == training + 2 * 2 * 10_000 * 7840
    evaluation = 2 * 2 * 10 * sum(len(group.images) * group.width for group in order.groups)
    assert flops(fewer) == training + evaluation


def test_a_network_that_cannot_take_fewer_pixels_is_refused() -> None:
    model = get_model("softmax")

    def init(key: Any, image_shape: tuple[int, int, int], classes: int) -> Any:
        if image_shape[1] == 1:
            raise ValueError("no flat images please")
        return model.init(key, image_shape, classes)

    apply = model.bind((6, 5, 2), 4).apply
    picky = Model("picky", init, apply, model.fold, select_pixels=model.select_pixels)
    study = ji.Study(dataset=images_of(spotted(60)), model=picky, trials=1, steps=1, batch_size=5)
    with pytest.raises(ji.InputError, match=r"model: 'picky' on images of shape \(\d+, 1, 1\): no flat images please"):
        ji.run(study)
