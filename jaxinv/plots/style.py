"""What all pictures share: colours, fonts, canvases without global state, and files that come out the same twice."""

import functools
import io
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jaxinv.errors import InputError
from jaxinv.utils.files import write_bytes
from jaxinv.utils.progress import notebook_display

P = ParamSpec("P")
R = TypeVar("R")

INK, MUTED, GRID = "#1b1b1b", "#5b5b5b", "#dedede"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which colour-blind readers tell apart, without its yellow, too pale for lines on white."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))
COLOURMAP = "viridis"
WIDTH = 4.6  # inches: of letters of 9 points, a phone that shows a figure in 390 pixels makes 10 pixels
FONT = "DejaVu Sans"  # comes with matplotlib: the same letters everywhere

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.formatter.use_mathtext": False,
    "axes.grid": False,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.unicode_minus": True,
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.family": [FONT],
    "font.size": 9.5,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "image.interpolation": "nearest",
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
    "path.simplify": True,
    "savefig.bbox": None,
    "savefig.dpi": 200,
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "jaxinv",
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in an arm's name is a dollar sign
    "text.usetex": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9,
}

_TYPES: dict[str, dict[str, Any]] = {
    ".png": {"Software": "jaxinv"},
    ".svg": {"Creator": "jaxinv", "Date": None},
    ".pdf": {"Creator": "jaxinv", "Producer": None, "CreationDate": None},
}


class ArmStyle(NamedTuple):
    """How one arm is drawn in every picture; colour, marker and dashes each tell the arms apart."""

    colour: str
    marker: str
    dashes: Any


def arm_style(index: int) -> ArmStyle:
    """The style of the arm at a position along the results' arm axis.

    >>> arm_style(0).colour, arm_style(1).colour
    ('#0072B2', '#D55E00')
    """
    return ArmStyle(
        COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)], DASHES[index // len(COLOURS) % len(DASHES)]
    )


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Draw under jaxinv's settings whatever the user's are, and leave those as they were."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


def new_figure(width: float = WIDTH, height: float = 3.2) -> Figure:
    """An empty figure, in inches.

    In a notebook it is one of pyplot's, which the notebook shows below the cell. Elsewhere it has a canvas of its own:
    pyplot and its list of figures are never touched.
    """
    with matplotlib.rc_context(STYLE):
        if notebook_display() is not None:
            from matplotlib import pyplot

            return pyplot.figure(figsize=(width, height), layout="constrained")
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        return figure


def axes_or_new(ax: Axes | None, width: float = WIDTH, height: float = 3.2) -> Axes:
    """The axes given, or those of a new figure."""
    return new_figure(width, height).add_subplot() if ax is None else ax


def figure_of(ax: Axes) -> Figure:
    """The whole figure that the axes stand in."""
    figure = ax.get_figure(root=True)
    if figure is None:
        raise InputError("ax: these axes belong to no figure any more; give axes of a figure that is there")
    return figure


def label(text: object, longest: int = 36) -> str:
    """A name as it can be drawn: one line, no control characters, letters the font lacks as □; too long a
    one without its middle, since names that are made of values differ at their ends.

    >>> label("pixel_mean"), label("a\\x00b\\u202e中"), label("mlp adam batch_size=100", longest=15)
    ('pixel_mean', 'a□b□□', 'mlp ada…ize=100')
    """
    glyphs = _glyphs()
    shown = "".join(
        c if (ord(c) in glyphs and unicodedata.category(c)[0] not in "CZ") or c == " " else "□" for c in str(text)
    )
    if len(shown) <= longest:
        return shown
    tail = (longest - 1) // 2
    return f"{shown[: longest - 1 - tail]}…{shown[len(shown) - tail :]}"


@functools.cache
def _glyphs() -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont(FONT)).get_charmap())


def to_bytes(figure: Figure, suffix: str = ".png", *, dpi: float | None = None) -> bytes:
    """The bytes of a PNG, SVG or PDF file, free of dates and versions: the same figure gives the same bytes."""
    if suffix not in _TYPES:
        raise InputError(f"suffix: {suffix!r} is not allowed; give {', '.join(_TYPES)}")
    stream = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(stream, format=suffix[1:], metadata=_TYPES[suffix], dpi=dpi or STYLE["savefig.dpi"])
    return stream.getvalue()


def save(figure: Figure | Axes, path: str | os.PathLike[str], *, dpi: float | None = None) -> Path:
    """Write a figure to `.png`, `.svg` or `.pdf`, whole or not at all, the same bytes for the same figure.

    Args:
        figure: a figure, or any axes of it.
        path: where to; an existing file is replaced at once when the new one is complete.
        dpi: dots per inch of a PNG.

    Raises:
        InputError: another suffix.
        DataError: the file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in _TYPES:
        raise InputError(f"path: {str(target)!r} is not allowed; give one that ends in {', '.join(_TYPES)}")
    content = to_bytes(figure_of(figure) if isinstance(figure, Axes) else figure, target.suffix.lower(), dpi=dpi)
    write_bytes(target, content)
    return target
