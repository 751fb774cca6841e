"""Weight changes against NumPy, and the two regions of the picture."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv.data import bundled_mnist, load_dataset
from jaxinv.training import weight_change


def test_weight_delta_is_the_published_line() -> None:
    rng = np.random.default_rng(0)
    begin, end = rng.normal(size=(2, 784, 10)).astype(np.float32)
    heatmap = np.abs(begin - end).max(axis=1).reshape((28, 28))
    ours = weight_change.weight_delta(*(jnp.asarray(w.reshape(28, 28, 1, 10)) for w in (begin, end)))
    np.testing.assert_array_equal(np.asarray(ours)[..., 0], heatmap)


def test_layer_delta_is_a_ratio_of_norms_and_leaves_biases_out() -> None:
    rng = np.random.default_rng(1)
    w0, w1 = rng.normal(size=(2, 3, 4))
    begin = {"a": {"kernel": jnp.asarray(w0), "bias": jnp.zeros(4)}, "b": {"kernel": jnp.zeros((4, 2))}}
    end = {"a": {"kernel": jnp.asarray(w1), "bias": jnp.full(4, 9.0)}, "b": {"kernel": jnp.full((4, 2), 0.5)}}
    assert weight_change.layer_names(begin) == ("a", "b")
    expected = [np.linalg.norm(w1 - w0) / np.linalg.norm(w0), np.sqrt(8 * 0.25)]
    np.testing.assert_allclose(weight_change.layer_delta(begin, end), expected, rtol=1e-6)


def test_border_is_what_training_never_turns_on() -> None:
    images = np.zeros((3, 2, 2, 1), np.uint8)
    images[1, 0, 1] = 1
    np.testing.assert_array_equal(weight_change.border_mask(images), [[True, False], [True, True]])
    mask = weight_change.border_mask(load_dataset("mnist").x_train)
    assert mask[0, 0]
    assert not mask[14, 14]
    assert weight_change.border_mask(bundled_mnist().x_train).sum() == 67


def test_summary_of_a_heatmap() -> None:
    delta = np.zeros((8, 8, 1))
    delta[0, 0], delta[0, 1], delta[2:6, 2:6] = 3.0, 1.0, 0.5
    border = np.zeros((8, 8), bool)
    border[0] = True
    assert weight_change.summarise(delta, border) == {"border_max": 3.0, "border_mean": 0.5, "centre_mean": 0.5}
    assert np.isnan(weight_change.summarise(delta, np.zeros((8, 8), bool))["border_max"])


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 1), (5, 5, 3)])
def test_every_image_has_a_centre(shape: tuple[int, int, int]) -> None:
    assert weight_change.centre_mask(shape).any()
