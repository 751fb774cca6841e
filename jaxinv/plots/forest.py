"""Paired differences between arms, one line each."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jaxinv.errors import InputError
from jaxinv.plots.style import COLOURS, INK, MUTED, axes_or_new, label, styled
from jaxinv.results import metric_label
from jaxinv.stats import Comparison
from jaxinv.stats.comparison_text import pair_names
from jaxinv.utils.text import interval, listed, number

WHITE = {"boxstyle": "square,pad=0.08", "fc": "white", "ec": "none"}  # keeps lines out of the letters


@styled
def forest(comparisons: "Comparison | Iterable[Comparison]", ax: Axes | None = None) -> Axes:
    """Forest plot: each pair's mean difference with its 95% interval against the line of no difference.

    A thin line is the anytime-valid interval; of several pairs, the one that holds together with those of all others.

    Args:
        comparisons: what `jaxinv.compare` or `jaxinv.stats.compare_all` return. Filled dots are significant at the
            comparison's level (p adjusted, where it is); a margin of equivalence is a grey band.
        ax: where to draw; a new figure's by default.

    Returns:
        The axes.

    Raises:
        InputError: none given.
    """
    pairs = [comparisons] if isinstance(comparisons, Comparison) else list(comparisons)
    if not pairs:
        raise InputError("comparisons: none given; give one or more")
    names = [" − ".join(label(arm, longest=20) for arm in names) for names in pair_names(pairs)]
    beside = max(map(len, names)) <= 24  # names and figures in one line
    ax = axes_or_new(ax, height=0.8 + (0.62 if beside else 0.8) * len(pairs))
    for row, pair in enumerate(pairs):
        low, high = pair.ci95
        colour = COLOURS[0] if pair.significant else MUTED
        if pair.equivalence is not None:
            ax.fill_betweenx(
                [row - 0.45, row + 0.45],
                -pair.equivalence.margin,
                pair.equivalence.margin,
                color="#e9e9e9",
                lw=0,
                zorder=0,
            )
        if np.isfinite(pair.ci95_anytime_family).all():
            ax.plot(pair.ci95_anytime_family, [row + 0.18] * 2, color=colour, lw=0.9, zorder=2)
        if np.isfinite(low) and np.isfinite(high):
            ax.plot([low, high], [row + 0.18] * 2, color=colour, lw=2.2, zorder=3)
            ax.plot([low, high], [row + 0.18] * 2, ls="", marker="|", ms=8, mew=1.6, color=colour, zorder=3)
        if np.isfinite(pair.difference):
            fill = colour if pair.significant else "white"
            ax.plot([pair.difference], [row + 0.18], marker="D", ms=6.5, mfc=fill, mec=colour, mew=1.4, zorder=4)
        place = {"xycoords": ("axes fraction", "data"), "va": "center", "zorder": 5, "bbox": WHITE}
        ax.annotate(
            names[row], (0.0, row - (0.22 if beside else 0.36)), ha="left", fontweight="bold", fontsize=9, **place
        )
        ax.annotate(_figures(pair), (1.0, row - (0.22 if beside else 0.14)), ha="right", fontsize=9, **place)
    ax.axvline(0, color=INK, lw=1, zorder=1)
    ax.set_ylim(len(pairs) - 0.45, -0.5)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.margins(x=0.08)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.grid(axis="x")
    metrics = {metric_label(pair.metric) for pair in pairs}
    lines = ["95% interval"]
    if any(np.isfinite(pair.ci95_anytime_family).all() for pair in pairs):
        lines = ["95% interval (thick)", f"anytime{', all pairs together' if len(pairs) > 1 else ''} (thin)"]
    ax.set_xlabel(
        f"difference in {listed(sorted(metrics))}\n{', '.join(lines)}"
        if len(lines) > 1
        else f"difference in {listed(sorted(metrics))}, {lines[0]}"
    )
    return ax


def _figures(pair: Comparison) -> str:
    if not np.isfinite(pair.difference):
        return "no figure"
    shown = pair.ci95_anytime if pair.stopped else pair.ci95
    ends = f" {interval(shown, '+.4f')}" if np.isfinite(shown).all() else ""
    return f"{number(pair.difference, '+.4f')}{ends}"
