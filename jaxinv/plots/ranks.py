"""The ranks that arms may have, one line each."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator

from jaxinv.errors import InputError
from jaxinv.plots.style import COLOURS, axes_or_new, label, styled
from jaxinv.stats.ranks import Rank
from jaxinv.utils.text import number


@styled
def arm_ranks(ranks: Sequence[Rank], ax: Axes | None = None) -> Axes:
    """Each arm's ranks, from the best to the worst that the comparisons of all pairs leave it.

    Args:
        ranks: what `stats.Comparisons.ranks` returns.
        ax: where to draw; a new figure's by default.

    Returns:
        The axes.

    Raises:
        InputError: none given.
    """
    if not ranks:
        raise InputError("ranks: none given; give those of a comparison of all pairs, adjusted by Holm's method")
    ax = axes_or_new(ax, height=1.05 + 0.34 * len(ranks))
    rows = np.arange(len(ranks))
    for row, one in zip(rows, ranks, strict=True):
        ax.plot([one.best, one.worst], [row, row], color=COLOURS[0], lw=5, marker="o", ms=9, zorder=3)
    ax.set_yticks(rows, [f"{label(one.arm, longest=20)}  {number(one.mean)}" for one in ranks])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_ylim(len(ranks) - 0.5, -0.5)
    ax.set_xlim(0.6, len(ranks) + 0.4)
    ax.xaxis.set_major_locator(MultipleLocator(max(1, len(ranks) // 10)))
    ax.grid(axis="x")
    ax.set_xlabel("rank, as far as all pairs tell\n(95%, all arms together)")
    return ax
