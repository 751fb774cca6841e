"""How fast a machine is."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from jaxinv.plots.style import MUTED, arm_style, axes_or_new, label, styled


@styled
def throughput(
    trials: Sequence[int],
    per_second: Sequence[float],
    ceiling: float | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Trials per second against the number of trials, both on logarithmic axes.

    Args:
        trials: numbers of trials.
        per_second: of each, how many were computed a second.
        ceiling: trials per second if nothing but the matrix products took time; drawn as a dashed line.
        title: what was measured, on what.
        ax: where to draw; a new figure's by default.

    >>> throughput([1, 10, 100], [20, 150, 260], 500).get_ylabel()
    'trials per second'
    """
    ax = axes_or_new(ax)
    look = arm_style(0)
    ax.loglog(trials, per_second, color=look.colour, marker=look.marker, lw=2, label="measured", clip_on=False)
    for x, y in zip(trials, per_second, strict=True):
        ax.annotate(f"{y:,.3g}", (x, y), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=9)
    if ceiling is not None:
        ax.axhline(ceiling, color=MUTED, ls="--", lw=1.2, label=f"matrix products alone ({ceiling:,.3g}/s)")
    lowest, highest = min(per_second), max([*per_second, ceiling or 0])
    ax.set_ylim(lowest / 1.6, highest * 1.6)
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.15g}"))
        axis.set_minor_locator(NullLocator())
    ax.set_title(label(title, longest=60), loc="left")
    ax.set_xlabel("trials")
    ax.set_ylabel("trials per second")
    ax.grid(axis="y")
    ax.legend(loc="lower right")
    return ax
