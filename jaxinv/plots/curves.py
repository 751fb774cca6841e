"""How well the arms do as training goes on, and as the learning rate grows."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from jaxinv import stats
from jaxinv.errors import InputError
from jaxinv.plots.style import MUTED, WIDTH, ArmStyle, arm_style, axes_or_new, figure_of, label, styled
from jaxinv.results import (
    arm_index,
    arm_names,
    check_results,
    curves,
    done_mask,
    metric_label,
    metric_values,
    rate_by_arm,
    rates_used,
    step_index,
)
from jaxinv.results import steps as evaluated_steps

if TYPE_CHECKING:
    import xarray as xr

NAME = 24  # letters of an arm's name in a legend
MOST_DOTS = 200
FEW = 20  # so many trials can be drawn one by one


@styled
def curve_over_steps(
    results: "xr.Dataset | Mapping[str, xr.Dataset]",
    *,
    published: Mapping[str, float] | None = None,
    learning_rate: Any = None,
    metric: str = "accuracy",
    ax: Axes | None = None,
) -> Axes:
    """A metric at every evaluated step: for each arm the mean over trials with its 95 % interval as a dark band, and up
    to 20 trials as thin lines, or one standard deviation to either side as a pale band where there are more. Of several
    runs, means and intervals only.

    Args:
        results: dims arm, learning_rate, trial, step; or several runs, name -> results.
        published: arm -> a published mean over all evaluations of one chain, drawn as a dashed line; with it, each
            chain's own mean stands as a dot in a strip on the right, which is what to compare it with.
        learning_rate: which, where results hold several; or a mapping arm -> learning rate. Of several runs, one for
            all, or a mapping run -> either.
        metric: a variable over all four dims.
        ax: where to draw; a new figure's by default.

    Returns:
        The axes.

    Raises:
        InputError: an arm, step, learning rate or metric that the results do not hold; no run; several runs with
            published means.
    """
    several = isinstance(results, Mapping) and not hasattr(results, "dims")
    runs: dict[str, Any] = {str(name): run for name, run in results.items()} if several else {"": results}
    if not runs:
        raise InputError("results: no run is given; give one or more")
    if several and published:
        raise InputError("published: not allowed with several runs; give the results of one")
    series = []
    for name, run in runs.items():
        check_results(run, metric)
        for arm in published or {}:
            arm_index(run, arm, "published")
        wanted = learning_rate.get(name) if several and isinstance(learning_rate, Mapping) else learning_rate
        series += [(name, run, arm, rate) for arm, rate in rate_by_arm(run, wanted).items()]
    last = float(max(evaluated_steps(run)[-1] for run in runs.values()))
    trials = max(int(done_mask(run).sum()) for run in runs.values())
    own, ax = ax is None, axes_or_new(ax)
    reach = last * 1.16 if published else last
    handles = []
    for k, (name, run, arm, rate) in enumerate(series):
        look = arm_style(k)
        steps = np.asarray(evaluated_steps(run), np.float64)
        chains = curves(run, arm, learning_rate=rate, metric=metric)  # [T, S]
        over_trials = stats.summary(chains, axis=0)
        if 1 < trials <= FEW and not several:
            ax.plot(steps, chains.T, color=look.colour, lw=0.6, alpha=0.35, zorder=2)
        elif trials > FEW and not several:
            low, high = over_trials.mean - over_trials.sd, over_trials.mean + over_trials.sd
            pale = 0.18 if len(series) <= 3 else 0.1
            ax.fill_between(steps, low, high, color=look.colour, alpha=pale, lw=0, zorder=2)
        if trials > 1:
            ax.fill_between(steps, *over_trials.ci95, color=look.colour, alpha=0.4, lw=0, zorder=3)
        few_points = {"marker": look.marker, "ms": 5} if steps.size <= 12 else {}
        (line,) = ax.plot(steps, over_trials.mean, color=look.colour, ls=look.dashes, lw=2, zorder=4, **few_points)
        handles.append((line, label(f"{name}: {arm}" if several else arm, longest=NAME)))
        if published and arm in published:
            ax.plot([0, reach], [published[arm]] * 2, color=look.colour, ls=(0, (5, 2)), lw=1.1, zorder=5)
            _chain_means(ax, stats.summary(chains, axis=1).mean, last, reach, look)
            ax.annotate(
                f"{published[arm]:.4f}",
                ((last + reach) / 2, published[arm]),
                xytext=(0, 7 if published[arm] == max(published.values()) else -7),
                textcoords="offset points",
                ha="center",
                va="bottom" if published[arm] == max(published.values()) else "top",
                fontsize=9,
            )
    _x_steps(ax, last, reach, strip="mean\nof each\nchain" if published else None)
    ax.set_ylabel(metric_label(metric))
    ax.grid(axis="y")
    what = "chain" if published else "trial"
    thin = Line2D([], [], color=MUTED, lw=0.6)
    sd, interval = (Line2D([], [], color=MUTED, lw=7, alpha=alpha) for alpha in (0.2, 0.5))
    if trials > 1:
        handles.append((interval, "95 % interval"))
    if trials > 1 and not several:
        handles.append((thin, f"each of {trials} {what}s") if trials <= FEW else (sd, f"±1 sd, {trials:,} {what}s"))
    if published:
        handles.append((Line2D([], [], color=MUTED, ls=(0, (5, 2)), lw=1.1), "published mean"))
    _legend(ax, handles, own)
    return ax


@styled
def learning_rate_curve(
    results: "xr.Dataset",
    bounds: Mapping[str, float] | None = None,
    ax: Axes | None = None,
    *,
    step: int | None = None,
    metric: str = "accuracy",
    chance: float | None = None,
) -> Axes:
    """A metric against the learning rate that was used, for each arm the mean over trials and its 95% interval.

    Args:
        results: dims arm, learning_rate, trial, step.
        bounds: arm -> the learning rate up to which full-batch gradient descent is stable at the start of training;
            marked by a vertical line in the arm's colour.
        ax: where to draw; a new figure's by default.
        step: an evaluated step; the last by default.
        metric: a variable over all four dims.
        chance: a level to mark, such as one over the number of classes.

    Returns:
        The axes.

    Raises:
        InputError: an arm, step, learning rate or metric that the results do not hold.
    """
    values = metric_values(results, metric)
    names = arm_names(results)
    at = step_index(results, step)
    used = rates_used(results)
    ticks = np.unique(used)
    own, ax = ax is None, axes_or_new(ax)
    ax.set_xscale("log")
    handles = []
    for arm in bounds or {}:
        arm_index(results, arm, "bounds")
    for k, arm in enumerate(names):
        look = arm_style(k)
        rates, order = np.unique(used[k], return_index=True)
        over_trials = stats.summary(values[k, order, :, at], axis=-1)
        low, high = over_trials.ci95
        if rates.size == 1:  # a band of no width
            ax.plot([rates[0]] * 2, [low[0], high[0]], color=look.colour, alpha=0.4, lw=4, solid_capstyle="butt")
        ax.fill_between(rates, low, high, color=look.colour, alpha=0.22, lw=0, zorder=2)
        (line,) = ax.plot(
            rates,
            over_trials.mean,
            color=look.colour,
            ls=look.dashes,
            marker=look.marker,
            ms=5.5,
            lw=1.8,
            zorder=4,
        )
        name = label(arm, longest=NAME)
        if bounds and arm in bounds:
            name = f"{name} (bound {bounds[arm]:.3g})"
            ax.axvline(bounds[arm], color=look.colour, ls=(0, (2, 1.5)), lw=1.4, zorder=3)
            ax.plot(
                [bounds[arm]],
                [1.0],
                marker=look.marker,
                color=look.colour,
                ms=6,
                transform=ax.get_xaxis_transform(),
                clip_on=False,
                zorder=6,
            )
        handles.append((line, name))
    if bounds:
        handles.append((Line2D([], [], color=MUTED, ls=(0, (2, 1.5)), lw=1.4), "bound: stable to its left"))
    if chance is not None:
        ax.axhline(chance, color=MUTED, lw=0.9, ls=(0, (1, 2)), zorder=1)
        ax.annotate(
            "chance",
            (1.0, chance),
            xycoords=ax.get_yaxis_transform(),
            xytext=(0, 2),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=9,
            color=MUTED,
        )
    few = ticks.size <= 8
    ax.xaxis.set_major_locator(FixedLocator(ticks.tolist()) if few else LogLocator(subs=(1.0, 3.0)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    ax.set_xlabel("learning rate")
    ax.set_ylabel(f"{metric_label(metric)} at step {evaluated_steps(results)[at]:,}")
    ax.grid(axis="y")
    _legend(ax, handles, own, above=0.03 if bounds else 0.0)
    return ax


def _x_steps(ax: Axes, last: float, reach: float, strip: str | None) -> None:
    ax.set_xlim(0, reach * 1.0 if strip else reach * 1.02)
    ticks = [tick for tick in MaxNLocator(5, integer=True).tick_values(0, last) if tick <= last]
    ax.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    ax.set_xlabel("updates")
    if strip:
        ax.axvspan(last, reach, color="#f1f1f1", lw=0, zorder=0)
        ax.annotate(
            strip,
            ((last + reach) / 2, 0.02),
            xycoords=ax.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=9,
            color=MUTED,
        )


def _chain_means(ax: Axes, means: np.ndarray, start: float, end: float, look: ArmStyle) -> None:
    """A dot for each chain, side by side in the strip; mean and one standard deviation where they are too many."""
    middle = (start + end) / 2
    if means.size > MOST_DOTS:
        s = stats.summary(means)
        ax.errorbar([middle], [s.mean], [s.sd], color=look.colour, marker=look.marker, ms=5, capsize=3, zorder=6)
        return
    places = start + np.linspace(0.3, 0.7, means.size) * (end - start) if means.size > 1 else [middle]
    ax.plot(places, means, ls="", marker=look.marker, ms=4, mfc=look.colour, mec="white", mew=0.5, zorder=6)


def _legend(ax: Axes, handles: list[tuple[Line2D, str]], own: bool, above: float = 0.0) -> None:
    """Over the axes, in as many columns as fit; a figure of our own grows by the rows it needs."""
    longest = max(len(name) for _, name in handles)
    columns = max(1, min(len(handles), 3, int(4.2 / (0.45 + 0.07 * longest))))
    rows = -(-len(handles) // columns)
    columns = -(-len(handles) // rows)
    if own:
        figure_of(ax).set_size_inches(WIDTH, 3.1 + 0.21 * rows)
    legend = ax.legend(
        [handle for handle, _ in handles],
        [f"arm {k}" for k in range(len(handles))],  # matplotlib drops labels that begin with an underscore
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0 + above),
        ncols=columns,
        borderaxespad=0.2,
        columnspacing=1.2,
        handlelength=1.8,
    )
    for text, (_, name) in zip(legend.get_texts(), handles, strict=True):
        text.set_text(name)
