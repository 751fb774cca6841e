"""Relighting, against the formula evaluated image by image with Python's own floats."""

import numpy as np
import pytest
from scipy import stats

from jaxinv.data import Dataset, load_dataset, relight
from jaxinv.data.lighting import gains_and_offsets
from jaxinv.errors import InputError

RNG = np.random.default_rng(40)


def ramps(train: int = 1500, test: int = 1100) -> Dataset:
    """Each image holds every grey value once, so that a relit image shows its whole tone curve."""
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    labels = np.arange(train + test) % 4
    x_train, x_test = ramp.repeat(train, axis=0), ramp.repeat(test, axis=0)
    return Dataset(x_train=x_train, y_train=labels[:train], x_test=x_test, y_test=labels[train:], name="ramps")


@pytest.mark.parametrize("split", [0, 1])
def test_every_pixel_follows_the_formula(split):
    data = ramps()
    lit = relight(data, strength=0.8, seed=5)
    images = (lit.x_train, lit.x_test)[split].reshape(-1, 256)
    gain, offset = gains_and_offsets(len(images), 0.8, 5, split)
    for i in (0, 1, 1023, 1024, len(images) - 1):  # on both sides of a slab's edge
        expected = [round(float(gain[i]) * v + 255 * float(offset[i])) for v in range(256)]
        assert images[i].tolist() == expected


def test_the_curve_of_each_image_is_straight_and_never_clips():
    curves = relight(ramps(), strength=0.95, seed=1).x_train.reshape(-1, 256).astype(int)
    slopes = (curves[:, -1] - curves[:, 0]) / 255
    line = curves[:, :1] + slopes[:, None] * np.arange(256)
    assert np.abs(curves - line).max() <= 1.01
    assert (np.diff(curves, axis=1) >= 0).all()
    assert (np.diff(curves, axis=1).max(axis=1) <= 1).all()
    assert slopes.min() >= 0.04


def test_gains_and_offsets_are_uniform_and_independent():
    strength = 0.6
    gain, offset = gains_and_offsets(20_000, strength, 3, 0)
    assert (gain > 1 - strength).all()
    assert (gain <= 1).all()
    assert (offset >= 0).all()
    assert (offset + gain <= 1 + 1e-15).all()
    lost, share = (1 - gain) / strength, offset / (1 - gain)
    assert stats.kstest(lost, "uniform").pvalue > 1e-3
    assert stats.kstest(share, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(lost, share)[0, 1]) < 0.03
    assert abs(np.corrcoef(lost[1:], lost[:-1])[0, 1]) < 0.03


def test_the_streams_are_philox_words():
    gain, offset = gains_and_offsets(2, 0.5, 7, 1)
    words = np.random.Philox(key=np.array([7, 1], np.uint64)).random_raw(4)
    uniform = [int(word) // 2**11 / 2**53 for word in words]
    assert gain.tolist() == [1 - 0.5 * uniform[0], 1 - 0.5 * uniform[2]]
    np.testing.assert_allclose(offset, [0.5 * uniform[0] * uniform[1], 0.5 * uniform[2] * uniform[3]], rtol=1e-15)


def test_same_seed_same_images_other_seed_other_images():
    data = ramps(20, 10)
    assert relight(data, seed=3).fingerprint == relight(data, seed=3).fingerprint
    others = [relight(data, seed=seed, strength=strength) for seed in (0, 3, 2**64 - 1) for strength in (0.2, 0.5)]
    assert len({lit.fingerprint for lit in others} | {data.fingerprint}) == 7
    assert len({lit.name for lit in others} | {data.name}) == 7


def test_an_image_is_lit_the_same_however_many_follow_it():
    few, many = relight(ramps(3, 2), seed=9), relight(ramps(1200, 1100), seed=9)
    np.testing.assert_array_equal(few.x_train, many.x_train[:3])
    np.testing.assert_array_equal(few.x_test, many.x_test[:2])


def test_splits_and_images_are_lit_independently():
    lit = relight(ramps(500, 500), strength=0.9)
    first, second = lit.x_train.reshape(500, -1), lit.x_test.reshape(500, -1)
    assert (first != second).any(axis=1).mean() > 0.95
    assert len({image.tobytes() for image in first}) > 450


def test_strength_zero_changes_no_pixel():
    data = load_dataset("mnist")
    lit = relight(data, strength=0)
    np.testing.assert_array_equal(lit.x_train, data.x_train)
    np.testing.assert_array_equal(lit.x_test, data.x_test)


def test_the_rest_of_the_dataset_stays():
    x = RNG.integers(0, 256, (5, 3, 2, 4), dtype=np.uint8)
    labels = np.array([0, 1, 2, 3, 0])
    data = Dataset(x_train=x, y_train=labels, x_test=x[:2], y_test=labels[:2], name="rgba", classes=9)
    before = data.fingerprint
    lit = relight(data, strength=0.5, seed=2)
    assert lit.name == "rgba+relight(strength=0.5, seed=2)"
    assert (lit.classes, lit.image_shape, lit.x_train.dtype) == (9, (3, 2, 4), np.uint8)
    assert lit.y_train is data.y_train
    assert not lit.x_train.flags.writeable
    assert lit.fingerprint != before == data.fingerprint


@pytest.mark.parametrize("strength", [-0.1, 1, 1.0, 2, float("nan"), float("inf"), "0.5", None, True])
def test_bad_strength(strength):
    with pytest.raises(InputError, match=r"^strength: .* is not allowed; give a (finite )?number"):
        relight(ramps(2, 2), strength=strength)


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, "1", None, False])
def test_bad_seed(seed):
    with pytest.raises(InputError, match=r"^seed: .* is not allowed; give a whole number"):
        relight(ramps(2, 2), seed=seed)
