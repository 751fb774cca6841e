"""What moved: the change of the weights between the beginning and the end of training."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def weight_delta(begin: jax.Array, end: jax.Array) -> jax.Array:
    """Per pixel, the largest change over outputs: max over o of |W_end - W_begin|.

    This is `np.abs(W_begin-W_end).max(axis=1)` of the published script, for weights [H, W, K, outputs]; the result is
    [H, W, K], in the units of the weights.
    """
    return jnp.max(jnp.abs(end - begin), axis=-1)


def layer_names(params: Any) -> tuple[str, ...]:
    """The layers that `layer_delta` speaks of, by their path in the parameters, in a fixed order.

    >>> layer_names({"first": {"weight": jnp.zeros((2, 3)), "bias": jnp.zeros(2)}})
    ('first',)
    """
    return tuple(dict.fromkeys(name for name, _ in _weights(params)))


def layer_delta(begin: Any, end: Any) -> jax.Array:
    """Per layer, the relative change ‖W_end - W_begin‖ / ‖W_begin‖, or ‖W_end - W_begin‖ where W_begin is zero.

    W is all that a layer multiplies with (arrays of two or more axes; biases and normalisations are left out), the norm
    is Euclidean. The result is [layers], in the order of `layer_names`.

    >>> begin = {"a": {"weight": jnp.full((2, 2), 2.0)}, "b": {"weight": jnp.zeros((2, 2))}}
    >>> layer_delta(begin, jax.tree.map(lambda w: w + 1, begin)).tolist()
    [0.5, 2.0]
    """
    squares: dict[str, list[jax.Array]] = {}
    for (name, w0), (_, w1) in zip(_weights(begin), _weights(end), strict=True):
        moved, length = squares.setdefault(name, [jnp.zeros(()), jnp.zeros(())])
        squares[name] = [moved + jnp.sum(jnp.square(w1 - w0)), length + jnp.sum(jnp.square(w0))]
    if not squares:
        return jnp.zeros(0)
    moved, length = (jnp.sqrt(jnp.stack(column)) for column in zip(*squares.values(), strict=True))
    return moved / jnp.where(length > 0, length, 1.0)


def border_mask(x_train: np.ndarray) -> np.ndarray:
    """Which pixels no training image ever turns on: bool [H, W], from images [N, H, W, K].

    It is what the published text calls the border: 67 of MNIST's 784 pixels when all 60,000 images are asked.
    """
    return np.asarray(x_train.max(axis=(0, 3)) == 0)


def centre_mask(image_shape: tuple[int, int, int]) -> np.ndarray:
    """The middle half of the rows and of the columns: bool [H, W]; for MNIST the inner 14×14 pixels.

    >>> int(centre_mask((28, 28, 1)).sum())
    196
    """
    height, width, _ = image_shape
    mask = np.zeros((height, width), bool)
    mask[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    return mask


def summarise(delta: np.ndarray, border: np.ndarray) -> dict[str, float]:
    """Border against centre in one heatmap [H, W, K]: `border_max`, `border_mean`, `centre_mean`, in units of weights.

    The border is empty for images that use every pixel; its two figures are then NaN.
    """
    flat = delta.mean(axis=-1)
    edge = flat[border]
    return {
        "border_max": float(edge.max()) if edge.size else float("nan"),
        "border_mean": float(edge.mean()) if edge.size else float("nan"),
        "centre_mean": float(flat[centre_mask(delta.shape)].mean()),
    }


def _weights(params: Any) -> list[tuple[str, jax.Array]]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return [
        (jax.tree_util.keystr(path[:-1], simple=True, separator="."), leaf) for path, leaf in leaves if leaf.ndim > 1
    ]
