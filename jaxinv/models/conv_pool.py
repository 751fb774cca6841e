"""A convolution with the 2 x 2 max pooling that follows it, for GPUs: as few bytes as can be are moved in between.

A GPU's time goes into bytes here. The four neighbours that are pooled read one window of the images, a row and a column
larger than the kernel. So they are one product: windows, cut with stride 2, times the kernel at its four places in the
window. For 3 x 3 kernels that takes 16 numbers for each pooled position and channel, where patches take 36.

Kernels with few weights, such as a first layer's on grey images, are written as sums of shifted images: one loop from
pixels to pooled features, without windows, product or output in between.

Of what lies between the images and the pooled features nothing need be kept but which neighbour was the largest.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxinv.models import targets
from jaxinv.models.im2col import Axis, Padding, col2im, spatial_axes

PHASES = ((0, 0), (1, 0), (0, 1), (1, 1))  # (column, row): the four neighbours in row-major order
NONE = len(PHASES)  # where no neighbour equals the largest: NaN


def conv_pool(x: jax.Array, w: jax.Array, offset: jax.Array | None, padding: Padding) -> jax.Array:
    """The maximum over 2 x 2 neighbours of conv(x, w) + offset, as by `im2col.conv_phases` and `max_pool_phases`.

    Args:
        x: images [C, H, W, B], in bfloat16 too.
        w: kernels [F, C, kh, kw].
        offset: [F, 2, 2, H // 2, W // 2], or None.
        padding: as for `im2col.conv`.

    Returns:
        [F, H // 2, W // 2, B].
    """
    rows, cols = spatial_axes(x, w, (1, 1), padding, (1, 1), (2, 2))
    return _conv_pool(x, w, offset, rows, cols)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _conv_pool(x: jax.Array, w: jax.Array, offset: jax.Array | None, rows: Axis, cols: Axis) -> jax.Array:
    return _forward(x, w, offset, rows, cols)[0]


def _forward(x: jax.Array, w: jax.Array, offset: jax.Array | None, rows: Axis, cols: Axis) -> tuple[jax.Array, Any]:
    if _direct(w):
        neighbours = [_sums(_taps(x, rows, cols, phase), w) for phase in PHASES]
    else:
        y = jnp.matmul(_wide(w), _windows(x, rows, cols).astype(w.dtype))
        neighbours = list(y.reshape(NONE, len(w), rows.outputs, cols.outputs, -1))
    if offset is not None:
        neighbours = [y + offset[:, q, p, ..., None] for y, (q, p) in zip(neighbours, PHASES, strict=True)]
    largest = jnp.maximum(jnp.maximum(neighbours[0], neighbours[1]), jnp.maximum(neighbours[2], neighbours[3]))
    chosen = jnp.full(largest.shape, NONE, jnp.int8)
    for n in reversed(range(NONE)):
        chosen = jnp.where(neighbours[n] == largest, jnp.int8(n), chosen)
    return largest, (x, w, offset, chosen)


def _backward(rows: Axis, cols: Axis, kept: Any, g: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    x, w, offset, chosen = kept
    dy = jnp.stack([_where(chosen, n, g) for n in range(NONE)]).reshape(NONE * len(w), -1)
    if _direct(w):
        taps = zip(*(_taps(x, rows, cols, phase) for phase in PHASES), strict=True)
        dw = jnp.stack([jnp.sum(g * _read(chosen, tap).astype(w.dtype), axis=(1, 2, 3)) for tap in taps], 1)
        dw = dw.reshape(w.shape)
    else:
        dw = _narrow(lax.dot_general(dy, _windows(x, rows, cols).astype(w.dtype), (((1,), (1,)), ((), ()))), w)
    by_row, by_column = _window(rows), _window(cols)
    windows = lax.dot_general(_wide(w), dy, (((0,), (0,)), ((), ())))
    windows = windows.reshape(w.shape[1], by_row.kernel, by_column.kernel, 1, 1, rows.outputs, cols.outputs, -1)
    dx = col2im(windows, by_row, by_column).astype(x.dtype)
    if offset is None:
        return dx, dw, None
    sums = [jnp.sum(_where(chosen, n, g), axis=-1) for n in range(NONE)]
    columns = [jnp.stack([sums[PHASES.index((q, p))] for p in (0, 1)], 1) for q in (0, 1)]
    return dx, dw, jnp.stack(columns, 1)


_conv_pool.defvjp(_forward, _backward)


def _direct(w: jax.Array) -> bool:
    """Whether a kernel has so few weights that sums of shifted images are less work than windows and a product."""
    return w[0].size <= targets.current().direct_weights


def _taps(x: jax.Array, rows: Axis, cols: Axis, phase: tuple[int, int]) -> list[jax.Array]:
    """What each weight of a kernel reads [H // 2, W // 2, B], in the order of the kernel, at one phase's positions."""
    cuts = _cuts(x, rows, cols, phase)
    return [cut[c] for c in range(len(x)) for cut in cuts]


def _cuts(x: jax.Array, rows: Axis, cols: Axis, phase: tuple[int, int]) -> list[jax.Array]:
    """What each tap reads of all channels, [C, H // 2, W // 2, B]."""
    q, p = phase
    padded = jnp.pad(x, ((0, 0), (rows.low, rows.high), (cols.low, cols.high), (0, 0)))
    starts = [(i + p, j + q) for i in range(rows.kernel) for j in range(cols.kernel)]
    reach = 2 * rows.outputs - 1, 2 * cols.outputs - 1
    return [padded[:, row : row + reach[0] : 2, col : col + reach[1] : 2] for row, col in starts]


def _sums(taps: list[jax.Array], w: jax.Array) -> jax.Array:
    """The convolution at one phase's positions, [F, H // 2, W // 2, B]."""
    flat = w.reshape(len(w), -1)
    return sum(  # pyright: ignore[reportReturnType]
        flat[:, k, None, None, None] * tap.astype(w.dtype)[None] for k, tap in enumerate(taps)
    )


def _window(along: Axis) -> Axis:
    """The windows that two neighbours read between them, along one axis."""
    return along._replace(kernel=along.kernel + 1, stride=2, phases=1)


def _windows(x: jax.Array, rows: Axis, cols: Axis) -> jax.Array:
    """[C * window, H // 2 * W // 2 * B], cut in one go."""
    cut = _cuts(x, _window(rows), _window(cols), (0, 0))
    return jnp.stack(cut, 1).reshape(len(x) * len(cut), -1)


def _wide(w: jax.Array) -> jax.Array:
    """The kernels at their four places in a window, zeros around them: [phases * F, C * window]."""
    placed = [jnp.pad(w, ((0, 0), (0, 0), (p, 1 - p), (q, 1 - q))) for q, p in PHASES]
    return jnp.concatenate(placed).reshape(NONE * len(w), -1)


def _narrow(wide: jax.Array, w: jax.Array) -> jax.Array:
    """The transpose of `_wide`: gradients of the kernels, from all four places."""
    features, channels, height, width = w.shape
    placed = wide.reshape(NONE, features, channels, height + 1, width + 1)
    return sum(placed[n, :, :, p : p + height, q : q + width] for n, (q, p) in enumerate(PHASES))  # pyright: ignore[reportReturnType]


def _where(chosen: jax.Array, n: int, g: jax.Array) -> jax.Array:
    """The gradients of one neighbour."""
    return jnp.where(chosen == n, g, jnp.zeros_like(g))


def _read(chosen: jax.Array, tap: tuple[jax.Array, ...]) -> jax.Array:
    """What one weight read where the neighbour that was chosen lies, [F, H // 2, W // 2, B]; 0 where none was."""
    found = jnp.zeros_like(tap[0])[None]
    for n, one in enumerate(tap):
        found = jnp.where(chosen == n, one[None], found)
    return found
