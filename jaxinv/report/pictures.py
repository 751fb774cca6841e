"""The pictures of a part, each with a caption and a text alternative that says in numbers what there is to see."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib.figure import Figure

from jaxinv import plots, stats
from jaxinv.plots.style import figure_of
from jaxinv.report.part import Part
from jaxinv.results.selection import AXES, done_trials
from jaxinv.utils.text import interval, listed, number, plural

SCALE = 128  # CSS pixels to a figure's inch: letters of body size
NO_BORDER = "The border is not marked: the dataset that was trained on is not at hand."
COVERAGE = "95% intervals are t intervals for the mean over new trials."


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure for a page: `key` names its file, `alt` stands for it where it cannot be seen."""

    key: str
    title: str
    alt: str
    caption: str
    make: Callable[[], Figure]

    @cached_property
    def figure(self) -> Figure:
        return self.make()

    @property
    def width(self) -> int:
        """In CSS pixels."""
        return round(float(self.figure.get_size_inches()[0]) * SCALE)

    @property
    def height(self) -> int:
        return round(float(self.figure.get_size_inches()[1]) * SCALE)

    @cached_property
    def data_uri(self) -> str:
        """The picture itself, for a page that needs nothing else."""
        return "data:image/svg+xml;base64," + base64.b64encode(plots.to_bytes(self.figure, ".svg")).decode()

    @cached_property
    def png(self) -> bytes:
        return plots.to_bytes(self.figure, ".png", dpi=160)


def pictures(part: Part) -> Iterator[Picture]:
    """Those pictures that a part has something to show in."""
    if part.comparisons:
        yield _forest(part)
    yield from learning_rates(part)
    if part.published is None:
        yield _distribution(part)
    if len(part.steps) > 1:
        yield _curve(part)
    if part.has_heatmaps:
        yield _heatmaps(part)


def learning_rates(part: Part) -> Iterator[Picture]:
    """Of the pictures of a part, the one of accuracy against learning rate, where it has several."""
    if len(part.rates) > 1:
        yield _learning_rates(part)


def _forest(part: Part) -> Picture:
    found = [
        f"{pair.arms[0]} minus {pair.arms[1]} {number(pair.difference, '+.4f')} {interval(pair.ci95, '+.4f')}"
        for pair in part.comparisons
    ]
    adjusted = "; p-values adjusted over all pairs" if len(part.comparisons) > 1 else ""
    return Picture(
        _key(part, "differences"),
        "Paired differences",
        f"Forest plot of paired differences in accuracy with 95% intervals: {'; '.join(found)}.",
        f"Each pair's mean difference over the same trials, and its 95% interval. Filled: p < 0.05{adjusted}.",
        lambda: figure_of(plots.forest(part.comparisons)),
    )


def _distribution(part: Part) -> Picture:
    found = []
    for arm, cell in part.best.items():
        values = part.judged["accuracy"].sel(arm=arm, learning_rate=cell.rate).values
        finite = values[np.isfinite(values)]
        reach = f", from {number(float(finite.min()))} to {number(float(finite.max()))}" if finite.size else ""
        s = cell.accuracy
        found.append(f"{arm} mean {number(s.mean)}, sd {number(s.sd)}{reach}, n {s.n:,}")
    return Picture(
        _key(part, "trials"),
        "Every trial",
        f"Distribution of test accuracy over trials: {'; '.join(found)}.",
        "Above, all arms on one axis; below, each by itself on an axis of its own. A dot is a trial, a cross one that "
        f"diverged{_at_best(part)}. {COVERAGE}",
        lambda: plots.trial_distributions(part.results, learning_rate=part.best_rates),
    )


def _curve(part: Part) -> Picture:
    accuracy = done_trials(part.results)["accuracy"].transpose(*AXES).values
    found = []
    for k, arm in enumerate(part.arms):
        mean = stats.summary(accuracy[k, part.rates.index(part.best_rates[arm])], axis=0).mean
        text = f"{arm} {number(mean[0])} at step {part.steps[0]:,}, {number(mean[-1])} at step {part.steps[-1]:,}"
        if part.published and arm in part.published:
            text += f", mean of all looks {number(part.best[arm].accuracy.mean)} (published {part.published[arm]})"
        found.append(text)
    caption = f"Mean over {plural(part.done, 'chain' if part.published else 'trial')}{_at_best(part)}."
    if part.published:
        caption += (
            " Dashed: the published means, to be compared with the dots on the right: each chain's mean over its looks."
        )
    return Picture(
        _key(part, "curve"),
        "Accuracy over updates",
        f"Mean test accuracy as training goes on: {'; '.join(found)}.",
        caption,
        lambda: figure_of(
            plots.curve_over_steps(part.results, published=part.published, learning_rate=part.best_rates)
        ),
    )


def _heatmaps(part: Part) -> Picture:
    deltas = {arm: part.heatmap(arm) for arm in part.arms}
    alt = "Heatmaps of weight change, one colour scale"
    notes: dict[str, str] | None = None
    if part.border is not None and part.border.any():
        from jaxinv.training.weight_change import summarise

        moved = {arm: summarise(delta, part.border) for arm, delta in deltas.items()}
        notes = {
            arm: f"border {number(m['border_mean'], '.3f')}, centre {number(m['centre_mean'], '.3f')}"
            for arm, m in moved.items()
        }
        found = [
            f"{arm} moves the border by {number(m['border_mean'], '.3g')} on average, at most "
            f"{number(m['border_max'], '.3g')}, and the centre by {number(m['centre_mean'], '.3g')}"
            for arm, m in moved.items()
        ]
        alt += f", the {int(part.border.sum())} border pixels outlined: {'; '.join(found)}."
        caption = (
            "Under each: the mean over the border (pixels that no training image turns on) and over the centre "
            "(the middle half of rows and columns)."
        )
    else:
        found = [f"{arm} at most {number(float(np.nanmax(delta)), '.3g')}" for arm, delta in deltas.items()]
        alt += f": {'; '.join(found)}."
        caption = NO_BORDER if part.border is None else "No pixel stays off in all training images."
    return Picture(
        _key(part, "weights"),
        "Where the weights moved",
        alt,
        f"Each pixel's largest change over classes, |W_end − W_begin|, mean over trials{_at_best(part)}. {caption}",
        lambda: plots.weight_changes(deltas, part.border, notes=notes),
    )


def _learning_rates(part: Part) -> Picture:
    known = {arm: bound for arm, bound in (part.bounds or {}).items() if arm in part.arms}
    found = []
    for arm, cell in part.best.items():
        bound = f", curvature bound {number(known[arm], '.3g')}" if arm in known else ""
        found.append(f"{arm} is best at {cell.rate:g} with {number(cell.accuracy.mean)}{bound}")
    caption = f"Mean over {plural(part.done, 'trial')} and 95% interval, at step {part.steps[-1]:,}."
    if known:
        caption += (
            " Vertical lines: the curvature bound, the learning rate beyond which full-batch gradient descent does not "
            "decrease the loss at the start of training."
        )
    return Picture(
        _key(part, "learning-rates"),
        "Accuracy against learning rate",
        f"Test accuracy over learning rates from {min(part.rates):g} to {max(part.rates):g}: {'; '.join(found)}.",
        caption,
        lambda: figure_of(plots.learning_rate_curve(part.results, known)),
    )


def _at_best(part: Part) -> str:
    if len(part.rates) == 1:
        return ""
    return (
        ", at each arm's best learning rate ("
        + listed([f"{arm} {rate:g}" for arm, rate in part.best_rates.items()])
        + ")"
    )


def _key(part: Part, what: str) -> str:
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in part.name)
    return f"{safe}-{what}" if safe else what
