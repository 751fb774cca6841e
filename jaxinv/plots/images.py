"""What the network is shown: the same images under every arm."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jaxinv.errors import InputError
from jaxinv.plots.style import WIDTH, axes_or_new, label, styled
from jaxinv.utils.text import number

TAIL = 0.5  # percent of pixels at either end that may saturate, so that one odd pixel does not grey out the rest


@styled
def contact_sheet(images_by_arm: Mapping[str, Any], ax: Axes | None = None, *, gap: int = 2) -> Axes:
    """The same images under every arm, an arm to a row, with the range of values that each arm makes of them.

    Args:
        images_by_arm: arm -> images [N, H, W, K] or [N, H, W], K = 1 or 3, the same N, H, W, K for all.
        ax: where to draw; a new figure's by default.
        gap: pixels between images.

    Returns:
        The axes. Each row has its own grey scale from its lowest to its highest value, half a percent cut at each end.

    Raises:
        InputError: no arms, no images, or shapes that differ.
    """
    rows = {str(arm): _images(str(arm), images) for arm, images in images_by_arm.items()}
    if not rows:
        raise InputError("images_by_arm: no arm given; give one or more")
    shapes = {images.shape for images in rows.values()}
    if len(shapes) != 1:
        raise InputError(f"images_by_arm: shapes {', '.join(map(str, sorted(shapes)))}; one shape is needed")
    count, height, width, _ = shapes.pop()
    sheet = np.full((len(rows) * (height + gap) + gap, count * (width + gap) + gap, 3), 0.7)
    for row, images in enumerate(rows.values()):
        shown = _shades(images)
        for column in range(count):
            top, left = gap + row * (height + gap), gap + column * (width + gap)
            sheet[top : top + height, left : left + width] = shown[column]
    ax = axes_or_new(ax, WIDTH, min(9.0, 0.2 + 3.4 * sheet.shape[0] / sheet.shape[1]))
    ax.imshow(sheet, interpolation="nearest")
    ax.set_xticks([])
    middle = [gap + row * (height + gap) + (height - 1) / 2 for row in range(len(rows))]
    names = [f"{label(arm, longest=20)}\n{_range(images)}" for arm, images in rows.items()]
    ax.set_yticks(middle, names, fontsize=9)
    ax.set_anchor("E")  # what the pictures leave of the width belongs to the names
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def _images(arm: str, images: Any) -> np.ndarray:
    array = np.asarray(images, np.float64)
    array = array[..., None] if array.ndim == 3 else array
    if array.ndim != 4 or 0 in array.shape or array.shape[-1] not in (1, 3):
        raise InputError(f"images_by_arm: {arm!r} has shape {np.shape(images)}; [N, H, W, 1] or [N, H, W, 3] is needed")
    return array


def _shades(images: np.ndarray) -> np.ndarray:
    finite = images[np.isfinite(images)]
    low, high = np.percentile(finite, [TAIL, 100 - TAIL]) if finite.size else (0.0, 1.0)
    if not high > low:
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    scaled = np.clip((np.nan_to_num(images, nan=low) - low) / (high - low if high > low else 1.0), 0, 1)
    return np.broadcast_to(scaled, (*images.shape[:-1], 3))


def _range(images: np.ndarray) -> str:
    finite = images[np.isfinite(images)]
    if not finite.size:
        return "no finite value"
    low, high = (0.0 if abs(end) < 1e-6 * np.ptp(finite) else float(end) for end in (finite.min(), finite.max()))
    return f"{number(low, '.3g')} to {number(high, '.3g')}"
