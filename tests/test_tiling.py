"""Evaluation without dark pixels: nothing lit is left out, nothing is out of order, and the numbers are the same."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinv as ji
from jaxinv.data import Dataset, load_dataset
from jaxinv.engine import job, sizing
from jaxinv.models import Model, get_model
from jaxinv.training.tiling import LEAST_IMAGES, PARTS, lay_out, lit_first, tiles
from tests.test_models import DENSE, batch, equal, randomised


def images_of(test: np.ndarray, classes: int = 4) -> Dataset:
    """A dataset of these test images."""
    labels = np.arange(len(test)) % classes
    return Dataset(x_train=test[:40], y_train=labels[:40], x_test=test, y_test=labels, classes=classes)


def spotted(count: int, shape: tuple[int, int, int] = (6, 5, 2), share: float = 0.1) -> np.ndarray:
    """Images with few lit pixels, most of them in the middle of a row."""
    rng = np.random.default_rng(0)
    often = share * np.exp(-(np.linspace(-3, 3, shape[1]) ** 2))[None, :, None]
    return (rng.integers(1, 256, (count, *shape)) * (rng.random((count, *shape)) < often)).astype(np.uint8)


@pytest.mark.parametrize("count", [1, 7, 2 * LEAST_IMAGES + 1, (PARTS + 3) * LEAST_IMAGES])
def test_no_lit_pixel_is_left_out(count: int) -> None:
    data = images_of(spotted(count))
    lit = lit_first(data)
    assert lit is not None
    assert len(lit.parts) == max(1, min(PARTS, count // LEAST_IMAGES))
    np.testing.assert_array_equal(np.sort(lit.pixels), np.arange(60))
    np.testing.assert_array_equal(np.sort(np.concatenate([part.images for part in lit.parts])), np.arange(count))
    flat = data.x_test.reshape(count, -1)[:, lit.pixels]
    for part in lit.parts:
        assert not flat[part.images, part.width :].any()
        assert flat[part.images, part.width - 1].any() or part.width == 1  # nor could it be narrower
    assert [part.width for part in lit.parts] == sorted(part.width for part in lit.parts)
    assert lit_first(data) is lit


def test_mnist_needs_three_fifths_of_the_arithmetic() -> None:
    data = load_dataset("mnist")
    lit = lit_first(data)
    assert lit is not None
    work = sum(len(part.images) * part.width for part in lit.parts) / data.x_test.size
    assert 0.55 < work < 0.65
    assert lit.parts[-1].width == (data.x_test.reshape(10_000, -1) > 0).any(axis=0).sum() == 668


def test_images_that_are_lit_everywhere_stay_as_they_are() -> None:
    bright = np.random.default_rng(0).integers(0, 256, (900, 4, 4, 3), np.uint8)
    assert lit_first(images_of(bright)) is None
    assert lit_first(images_of(np.maximum(spotted(900), 1))) is None


def test_black_images_keep_one_pixel() -> None:
    lit = lit_first(images_of(np.zeros((9, 4, 4, 1), np.uint8)))
    assert lit is not None
    assert [part.width for part in lit.parts] == [1]


@pytest.mark.parametrize("length", [1, 97, LEAST_IMAGES, 10**6])
@pytest.mark.parametrize("narrow", [True, False])
def test_each_image_stands_where_it_is_said_to(length: int, narrow: bool) -> None:
    data = images_of(spotted(2 * LEAST_IMAGES + 3))
    lit = lit_first(data) if narrow else None
    tiled, place = lay_out(data.x_test, data.y_test, length, lit)
    assert all(part.labels.shape[1] <= length for part in tiled)
    pixels = np.arange(60) if lit is None else lit.pixels
    width = max(part.images[0, 0].size for part in tiled)
    rows = [part.images.reshape(part.labels.size, -1) for part in tiled]
    laid = np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]))) for row in rows])
    np.testing.assert_array_equal(laid[place], data.x_test.reshape(len(place), -1)[:, pixels[:width]])
    labels = np.concatenate([part.labels.reshape(-1) for part in tiled])
    np.testing.assert_array_equal(labels[place], data.y_test)
    assert (np.delete(labels, place) == -1).all()
    assert not np.delete(laid, place, axis=0).any()


def test_tiles_are_even() -> None:
    made = tiles(np.ones((10, 2, 2, 1), np.uint8), np.arange(10), 4)
    assert made.labels.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, -1, -1]]
    assert made.images.shape == (3, 4, 2, 2, 1)


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("train", [True, False])
def test_a_narrowed_network_does_the_same(name: str, train: bool) -> None:
    """By indices in any order, and then by a slice of those; in float64, to the last digits."""
    shape, order = (6, 5, 2), np.random.default_rng(2).permutation(60)[:33]
    with jax.enable_x64(True):
        model = get_model(name)
        assert model.narrow is not None
        params, state = randomised(name, shape)
        images, _ = batch(shape)
        seen = np.zeros(60)
        seen[order[:20]] = 1
        images = images * seen.reshape(1, *shape)
        model.init(jax.random.key(0), (20, 1, 1), 3)
        narrow = model.narrow(model.narrow(params, jnp.asarray(order)), slice(20))
        few = images.reshape(len(images), -1)[:, order[:20], None, None]
        key = jax.random.key(0)
        expected = model.apply(params, state, images, train=train, key=key)
        equal(model.apply(narrow, state, few, train=train, key=key), expected)
        assert np.ptp(np.asarray(expected[0])) > 0.1


@pytest.mark.parametrize("name", DENSE)
def test_runs_are_the_same_without_dark_pixels(name: str) -> None:
    """A whole study of a network that can be narrowed, and of the same network that cannot."""
    model, rng = get_model(name), np.random.default_rng(1)
    wide = replace(model, narrow=None)
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
    narrow, model = job.prepare(study), get_model("softmax")
    wide = replace(model, narrow=None)
    training = 2 * 2 * 2 * 50 * 100 * 7840
    lit = lit_first(narrow.dataset)
    assert lit is not None
    assert sizing.flops(job.prepare(study.replace(model=wide))) == training + 2 * 2 * 10_000 * 7840
    assert sizing.flops(narrow) == training + 2 * 2 * 10 * sum(len(part.images) * part.width for part in lit.parts)


def test_a_network_that_cannot_take_fewer_pixels_is_refused() -> None:
    model = get_model("softmax")

    def init(key: Any, image_shape: tuple[int, int, int], classes: int) -> Any:
        if image_shape[1] == 1:
            raise ValueError("no flat images please")
        return model.init(key, image_shape, classes)

    picky = Model("picky", init, model.apply, model.fold, narrow=model.narrow)
    study = ji.Study(dataset=images_of(spotted(60)), model=picky, trials=1, steps=1, batch_size=5)
    with pytest.raises(ji.InputError, match=r"model: 'picky' on images of shape \(\d+, 1, 1\): no flat images please"):
        ji.run(study)
