"""Where the weights moved, pixel by pixel."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from jaxinv.errors import InputError
from jaxinv.plots import style
from jaxinv.plots.style import WIDTH, axes_or_new, label, new_figure, styled
from jaxinv.results import weight_deltas

if TYPE_CHECKING:
    import xarray as xr

BORDER = "outlined: the border, pixels that are never on in training"
MOST_COLUMNS = 2
SCALE = "mean over trials of max over outputs of |W_end − W_begin|"


@styled
def weight_change(
    delta: Any,
    border_mask: Any = None,
    ax: Axes | None = None,
    *,
    title: str | None = None,
    vmax: float | None = None,
    colour_bar: bool = True,
) -> Axes:
    """Heatmap of how far the weights that read each pixel moved.

    Args:
        delta: [H, W] or [H, W, 1], ≥ 0; cells that are not finite are drawn grey. Where none is, as of an arm whose
            first layer does not read pixels, the picture says so.
        border_mask: bool [H, W] or [H, W, 1]: pixels never on in training, marked by an outline and dots.
        ax: where to draw; a new figure's by default.
        title: above the picture, usually the arm.
        vmax: the value of the brightest colour; the largest finite value by default. 0 is always the darkest.
        colour_bar: draw one beside the picture.

    Returns:
        The axes.
    """
    values = _plane("delta", delta)
    ax = axes_or_new(ax, 3.6, 3.4)
    image = _draw(ax, values, border_mask, _scale([values]) if vmax is None else float(vmax))
    if title is not None:
        ax.set_title(label(title))
    if colour_bar:
        style.figure_of(ax).colorbar(image, ax=ax, shrink=0.85, label="max over outputs of |ΔW|")
    return ax


@styled
def weight_changes(
    deltas: "Mapping[str, Any] | xr.Dataset",
    border_mask: Any = None,
    figure: Figure | None = None,
    *,
    learning_rate: Any = None,
    notes: Mapping[str, str] | None = None,
) -> Figure:
    """Heatmaps of several arms side by side on one colour scale, with one colour bar.

    Args:
        deltas: arm -> [H, W] or [H, W, K], or results with `weight_delta`. The channels of an arm stand side by side.
        border_mask: bool [H, W] or [H, W, K]: pixels never on in training.
        figure: an empty one to draw in; a new one by default.
        learning_rate: which, where results hold several; or a mapping arm -> learning rate.
        notes: arm -> a line of text under its heatmap.

    Returns:
        The figure.

    Raises:
        InputError: no heatmaps, or heatmaps that differ in shape.
    """
    planes = _planes(deltas, learning_rate)
    shapes = {value.shape for value in planes.values()}
    if len(shapes) != 1:
        raise InputError(f"deltas: heatmaps of shapes {', '.join(map(str, sorted(shapes)))}; one shape is needed")
    height, width, channels = shapes.pop()
    mask = None if border_mask is None else _stack("border_mask", border_mask).astype(bool)
    count = len(planes) * channels
    columns = min(count, MOST_COLUMNS) if channels == 1 else min(channels, 3)
    rows = -(-count // columns)
    note_height = 0.32 if notes else 0.0
    if figure is None:
        panel = min(2.45, (WIDTH - 0.2) / columns)
        figure = new_figure(columns * panel + 0.2, rows * (panel * height / width + 0.25 + note_height) + 0.75)
    grid = figure.subplots(rows, columns, squeeze=False)
    top = _scale(list(planes.values()))
    image: AxesImage | None = None
    for place, (arm, delta) in enumerate(planes.items()):
        for channel in range(channels):
            ax = grid.flat[place * channels + channel]
            outline = None if mask is None else mask[..., min(channel, mask.shape[-1] - 1)]
            image = _draw(ax, delta[..., channel], outline, top, 1.0 if columns < 3 else 0.7)
            name = label(arm, longest=20 if columns < 3 else 14) + (
                f"\n{_channel(channel, channels)}" if channels > 1 else ""
            )
            ax.set_title(name, fontsize=10.5 if columns < 3 else 9)
            if notes and arm in notes and channel == channels // 2:
                ax.set_xlabel(notes[arm], fontsize=9)
    for ax in grid.flat[count:]:
        ax.set_axis_off()
    assert image is not None
    bar = figure.colorbar(image, ax=grid, location="bottom", aspect=45, pad=0.02, shrink=0.96)
    bar.set_label(SCALE + ("" if mask is None else f"\n{BORDER}"), fontsize=9)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


def border_edges(mask: np.ndarray) -> list[list[tuple[float, float]]]:
    """Line segments (x, y) between pixels of the mask [H, W] and their neighbours that are not of it.

    >>> border_edges(np.array([[True, False]]))
    [[(0.5, -0.5), (0.5, 0.5)]]
    """
    upright = np.argwhere(mask[:, 1:] != mask[:, :-1])
    level = np.argwhere(mask[1:] != mask[:-1])
    return [[(c + 0.5, r - 0.5), (c + 0.5, r + 0.5)] for r, c in upright.tolist()] + [
        [(c - 0.5, r + 0.5), (c + 0.5, r + 0.5)] for r, c in level.tolist()
    ]


def _draw(ax: Axes, values: np.ndarray, border_mask: Any, vmax: float, size: float = 1.0) -> AxesImage:
    colours = matplotlib.colormaps[style.COLOURMAP].with_extremes(bad="#9a9a9a")
    image = ax.imshow(np.ma.masked_invalid(values), cmap=colours, norm=Normalize(0.0, vmax), interpolation="nearest")
    if not np.isfinite(values).any():
        ax.annotate("no value", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", fontsize=9 * size)
    elif border_mask is not None:
        mask = _plane("border_mask", border_mask).astype(bool)
        if mask.shape != values.shape:
            raise InputError(
                f"border_mask: shape {mask.shape} differs from the heatmap's {values.shape}; give one of that shape"
            )
        edges = border_edges(mask)
        for width, colour in ((3.0, "black"), (1.3, "white")):  # seen on dark and on bright cells alike
            ax.add_collection(LineCollection(edges, colors=colour, linewidths=width * size, capstyle="projecting"))
        where = np.argwhere(mask)
        for area, colour in ((4.0, "black"), (1.2, "white")):
            ax.scatter(where[:, 1], where[:, 0], s=area * size**2, color=colour, linewidths=0)
    ax.set_xlim(-0.5, values.shape[1] - 0.5)
    ax.set_ylim(values.shape[0] - 0.5, -0.5)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image


def _planes(deltas: "Mapping[str, Any] | xr.Dataset", learning_rate: Any) -> dict[str, np.ndarray]:
    if isinstance(deltas, Mapping) and not hasattr(deltas, "dims"):
        planes = {str(arm): _stack(f"deltas[{arm!r}]", delta) for arm, delta in deltas.items()}
    else:
        results: Any = deltas
        planes = weight_deltas(results, learning_rate)
    if not planes:
        raise InputError("deltas: none given; give one heatmap or more")
    return planes


def _scale(planes: list[np.ndarray]) -> float:
    finite = [plane[np.isfinite(plane)] for plane in planes]
    top = max((float(values.max(initial=0.0)) for values in finite), default=0.0)
    return top if top > 0 else 1.0


def _stack(field: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or 0 in array.shape:
        raise InputError(f"{field}: shape {np.shape(values)} is no heatmap; [H, W] or [H, W, K] is needed")
    return array


def _plane(field: str, values: Any) -> np.ndarray:
    array = _stack(field, values)
    if array.shape[-1] != 1:
        raise InputError(f"{field}: {array.shape[-1]} channels; give one, or draw all with weight_changes")
    return array[..., 0]


def _channel(channel: int, channels: int) -> str:
    return ("red", "green", "blue")[channel] if channels == 3 else f"channel {channel}"
