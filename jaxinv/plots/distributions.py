"""How the trials of each arm are spread."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxinv import stats
from jaxinv.plots.style import INK, MUTED, ArmStyle, arm_style, axes_or_new, label, new_figure, styled
from jaxinv.results import Cell, cell, metric_label, rate_by_arm

if TYPE_CHECKING:
    import xarray as xr

MOST_DOTS = 1000  # beyond, dots hide one another and the histogram says it all
KEY = "○ mean, ▬ its 95% interval, ─ ±1 sd"
ROW = 0.82  # inches
GOLDEN = (5**0.5 - 1) / 2


@styled
def trial_distribution(
    results: "xr.Dataset",
    ax: Axes | None = None,
    *,
    learning_rate: Any = None,
    step: int | None = None,
    metric: str = "accuracy",
) -> Axes:
    """Every trial of every arm on one shared axis: a histogram, a dot per trial, the mean and its 95% interval.

    Args:
        results: dims arm, learning_rate, trial, step.
        ax: where to draw; a new figure's by default.
        learning_rate: which, where results hold several; or a mapping arm -> learning rate.
        step: an evaluated step; the last by default.
        metric: a variable over all four dims.

    Returns:
        The axes. Trials that diverged and still have a value are drawn as crosses; others are counted in the label.
    """
    arms = _cells(results, learning_rate, step, metric)
    ax = axes_or_new(ax, height=0.9 + ROW * len(arms))
    for k, arm in enumerate(arms):
        _row(ax, k, arm, metric, arm_style(k))
    _finish(ax, arms, metric)
    return ax


@styled
def trial_distributions(
    results: "xr.Dataset",
    figure: Figure | None = None,
    *,
    learning_rate: Any = None,
    step: int | None = None,
    metric: str = "accuracy",
) -> Figure:
    """`trial_distribution`, and below it each arm by itself on an axis of its own.

    The shared axis shows how far apart the arms are; the close-ups show the shape of spreads that differ tenfold.

    Args:
        results: dims arm, learning_rate, trial, step.
        figure: an empty one to draw into; a new one by default.
        learning_rate: which, where results hold several; or a mapping arm -> learning rate.
        step: an evaluated step; the last by default.
        metric: a variable over all four dims.

    Returns:
        The figure.

    Raises:
        InputError: an arm, step, learning rate or metric that the results do not hold.
    """
    arms = _cells(results, learning_rate, step, metric)
    if figure is None:
        figure = new_figure(height=1.1 + ROW * len(arms) + 1.15 * len(arms))
    heights = [ROW * len(arms) + 0.3] + [0.95] * len(arms)
    grid = figure.subplots(1 + len(arms), 1, gridspec_kw={"height_ratios": heights}, squeeze=False)[:, 0]
    for k, arm in enumerate(arms):
        _row(grid[0], k, arm, metric, arm_style(k))
    _finish(grid[0], arms, metric)
    grid[0].set_title("one axis for all arms", loc="left", fontsize=9.5, fontweight="normal", color=MUTED)
    for k, (ax, arm) in enumerate(zip(grid[1:], arms, strict=True)):
        _row(ax, 0, arm, metric, arm_style(k))
        _finish(ax, [arm], metric)
        ax.set_title(f"{label(arm.arm)}, close up", loc="left", fontsize=9.5, fontweight="normal", color=MUTED)
        ax.set_yticks([])
        ax.set_xlabel("")
    grid[0].set_xlabel("")
    grid[-1].set_xlabel(f"{metric_label(metric)}\n{KEY}")
    return figure


def _cells(results: "xr.Dataset", learning_rate: Any, step: int | None, metric: str) -> list[Cell]:
    """One cell for each arm, in their order."""
    return [
        cell(results, arm, learning_rate=rate, step=step, metrics=(metric,))
        for arm, rate in rate_by_arm(results, learning_rate).items()
    ]


def _row(ax: Axes, row: int, arm: Cell, metric: str, look: ArmStyle) -> None:
    """Histogram above the line y = row (the y axis points down), dots on it, mean and interval below it."""
    values = arm.metric(metric)
    finite = np.isfinite(values)
    seen, crossed = values[finite], arm.diverged[finite]
    if seen.size == 0:
        ax.annotate("no trial has a value", (0.5, row), xycoords=("axes fraction", "data"), ha="center", va="center")
        return
    if seen.size >= 10 and np.ptp(seen) > 0:
        counts, edges = np.histogram(seen, bins=min(30, max(5, round(seen.size**0.5 * 1.5))))
        heights = row - 0.1 - 0.36 * counts / counts.max()
        ax.stairs(heights, edges, baseline=row - 0.1, fill=True, color=look.colour, alpha=0.3, lw=0, zorder=2)
        ax.stairs(heights, edges, baseline=row - 0.1, color=look.colour, lw=1.1, zorder=3)
    if seen.size <= MOST_DOTS:
        spread = row + 0.05 + 0.16 * ((np.arange(seen.size) * GOLDEN) % 1 - 0.5) * min(1, seen.size - 1)
        dot = {"color": look.colour, "lw": 0, "zorder": 4}
        size, alpha = (20, 0.75) if seen.size <= 20 else (9, 0.55)
        ax.scatter(seen[~crossed], spread[~crossed], marker=look.marker, s=size, alpha=alpha, **dot)
        ax.scatter(seen[crossed], spread[crossed], marker="x", s=24, lw=1.2, color=INK, zorder=5)
    s = stats.summary(values)
    if np.isfinite(s.sd):
        ax.plot([s.mean - s.sd, s.mean + s.sd], [row + 0.27] * 2, color=look.colour, lw=1.2, zorder=5)
        ax.plot(s.ci95, [row + 0.27] * 2, color=look.colour, lw=5, solid_capstyle="butt", zorder=5)
    ax.plot([s.mean], [row + 0.27], marker="o", ms=4.5, mfc="white", mec=look.colour, mew=1.4, zorder=6)


def _finish(ax: Axes, arms: list[Cell], metric: str) -> None:
    ax.set_ylim(len(arms) - 0.55, -0.52)
    ax.set_yticks(range(len(arms)), [_row_label(arm, metric) for arm in arms])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.margins(x=0.04)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.grid(axis="x")
    ax.set_xlabel(f"{metric_label(metric)}\n{KEY}")


def _row_label(arm: Cell, metric: str) -> str:
    s = stats.summary(arm.metric(metric))
    lines = [label(arm.arm, longest=20), f"mean {s.mean:.4f}", f"sd {s.sd:.4f}", f"n = {s.n:,}"]
    if arm.diverged.any():
        lines.append(f"{int(arm.diverged.sum()):,} diverged")
    return "\n".join(lines)
