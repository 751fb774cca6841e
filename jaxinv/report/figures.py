"""The figures of a stored study, each with a caption and a text alternative that says in numbers what it shows."""

from collections.abc import Iterator

import numpy as np

from jaxinv import plots, stats
from jaxinv.plots.style import figure_of
from jaxinv.report.sections import Figure, slug
from jaxinv.report.sentences import best_rates
from jaxinv.report.study import StoredStudy
from jaxinv.results.selection import metric_values
from jaxinv.utils.text import interval, listed, number, plural

NO_BORDER = "The border is not marked: the dataset that was trained on is not at hand."
MOST_RATES = 4  # arms whose learning rates a caption lists; the page's findings have all of them
MOST_PAIRS = 40  # that a forest plot shows at each learning rate
COVERAGE = "95% intervals are t intervals for the mean over new trials."


def figures(study: StoredStudy) -> Iterator[Figure]:
    """Those figures for which a study has something to show."""
    if study.comparisons:
        yield differences(study)
    if study.ranks:
        yield ranks(study)
    if study.tuned:
        yield accuracy_over_learning_rates(study)
        if 0 < len(study.at_each_rate) <= MOST_PAIRS:
            yield differences_at_each_rate(study)
    if not study.over_steps:
        yield distributions(study)
    if len(study.steps) > 1:
        yield accuracy_over_steps(study)
    if study.heatmaps:
        yield weight_changes(study)


def differences(study: StoredStudy) -> Figure:
    """Forest plot of all pairs of arms."""
    found = [
        f"{pair.arms[0]} minus {pair.arms[1]} {number(pair.difference, '+.4f')} {interval(pair.ci95, '+.4f')}"
        for pair in study.comparisons
    ]
    adjusted = "; p-values adjusted over all pairs" if len(study.comparisons) > 1 else ""
    together = ", of all pairs together" if len(study.comparisons) > 1 else ""
    return Figure(
        _key(study, "differences"),
        "Paired differences",
        f"Forest plot of paired differences in accuracy with 95% intervals: {'; '.join(found)}.",
        f"Each pair's mean difference over the same trials, and its 95% interval. Filled: p < 0.05{adjusted}. Thin: "
        f"the anytime-valid 95% interval{together}, where trials are enough for it.",
        lambda: figure_of(plots.forest(study.comparisons)),
    )


def differences_at_each_rate(study: StoredStudy) -> Figure:
    """Forest plot of all pairs of arms at every learning rate."""
    pairs = study.at_each_rate
    found = [
        f"{pair.arms[0]} at {pair.rate[0]:g} minus {pair.arms[1]} at {pair.rate[1]:g} "
        f"{number(pair.difference, '+.4f')} {interval(pair.ci95, '+.4f')}"
        for pair in pairs
    ]
    return Figure(
        _key(study, "differences-at-each-rate"),
        "Paired differences at each learning rate",
        f"Forest plot of paired differences in accuracy at each learning rate: {'; '.join(found)}.",
        f"As above, at each learning rate; p-values adjusted by Holm's method over all {len(pairs)}, which the thin "
        "intervals cover together.",
        lambda: figure_of(plots.forest(pairs)),
    )


def ranks(study: StoredStudy) -> Figure:
    """The ranks that the comparisons of all pairs leave each arm."""
    found = [f"{one.arm} {one.text}" for one in study.ranks]
    return Figure(
        _key(study, "ranks"),
        "Ranks",
        f"Ranks of the arms by mean accuracy: {'; '.join(found)}.",
        "From one more than the number of arms that are shown to be better to the number of arms that are not shown to "
        f"be worse, after Holm's adjustment over all pairs{_at_best(study)}: all ranks hold together with 95%.",
        lambda: figure_of(plots.arm_ranks(study.ranks)),
    )


def distributions(study: StoredStudy) -> Figure:
    """Every trial of every arm."""
    found = []
    for arm, cell in study.best.items():
        values = study.outcomes["accuracy"].sel(arm=arm, learning_rate=cell.learning_rate).values
        finite = values[np.isfinite(values)]
        reach = f", from {number(float(finite.min()))} to {number(float(finite.max()))}" if finite.size else ""
        s = cell.accuracy
        found.append(f"{arm} mean {number(s.mean)}, sd {number(s.sd)}{reach}, n {s.n:,}")
    return Figure(
        _key(study, "trials"),
        "Every trial",
        f"Distribution of test accuracy over trials: {'; '.join(found)}.",
        "Above, all arms on one axis; below, each by itself on an axis of its own. A dot is a trial, a cross one that "
        f"diverged{_at_best(study)}. {COVERAGE}",
        lambda: plots.trial_distributions(study.results, learning_rate=study.best_rates),
    )


def accuracy_over_steps(study: StoredStudy) -> Figure:
    """Mean accuracy as training goes on, beside published figures."""
    accuracy, steps = metric_values(study.results, "accuracy"), study.steps
    found = []
    for place, arm in enumerate(study.arms):
        values = accuracy[place, study.learning_rates.index(study.best_rates[arm])]
        first, last = (number(float(stats.summary(values[:, step]).mean)) for step in (0, -1))
        text = f"{arm} {first} at step {steps[0]:,}, {last} at step {steps[-1]:,}"
        if study.over_steps:
            text += f", mean over all evaluations {number(study.best[arm].accuracy.mean)}"
        if arm in study.published:
            text += f" (published {study.published[arm]})"
        found.append(text)
    caption = f"Mean over {plural(study.done, 'trial')}{_at_best(study)}."
    if study.published:
        caption += " Dashed: the published figures."
    if study.published and study.over_steps:
        caption += " Compare them with the dots on the right: each trial's mean over its evaluations."
    return Figure(
        _key(study, "curve"),
        "Accuracy over updates",
        f"Mean test accuracy as training goes on: {'; '.join(found)}.",
        caption,
        lambda: figure_of(
            plots.curve_over_steps(study.results, published=study.published or None, learning_rate=study.best_rates)
        ),
    )


def weight_changes(study: StoredStudy) -> Figure:
    """Where the first layer's weights moved, with the border outlined where it is known."""
    heatmaps, border = study.heatmaps, study.border
    alt, notes = "Heatmaps of weight change, one colour scale", None
    if border is not None and border.any():
        from jaxinv.training.weight_change import summarise

        moved = {arm: summarise(heatmap, border) for arm, heatmap in heatmaps.items()}
        notes = {
            arm: f"border {number(m['border_mean'], '.3f')}, centre {number(m['centre_mean'], '.3f')}"
            for arm, m in moved.items()
        }
        found = [
            f"{arm} moves the border by {number(m['border_mean'], '.3g')} on average, at most "
            f"{number(m['border_max'], '.3g')}, and the centre by {number(m['centre_mean'], '.3g')}"
            for arm, m in moved.items()
        ]
        alt += f", the {int(border.sum())} border pixels outlined"
        described = study.described
        augmented = ", before augmentation" if described.vary("augment") or "augment" in described.unusual else ""
        caption = (
            f"Under each: the mean over the border (pixels that no training image turns on{augmented}) and over the "
            "centre (the middle half of rows and columns)."
        )
    else:
        found = [f"{arm} at most {number(float(np.nanmax(heatmap)), '.3g')}" for arm, heatmap in heatmaps.items()]
        caption = NO_BORDER if border is None else "No pixel stays off in all training images."
    return Figure(
        _key(study, "weights"),
        "Where the weights moved",
        f"{alt}: {'; '.join(found)}.",
        f"Each pixel's largest change over the first layer's outputs, |W_end − W_begin|, mean over trials"
        f"{_at_best(study)}. {caption}{_without(study)}",
        lambda: plots.weight_changes(heatmaps, border, notes=notes),
    )


def accuracy_over_learning_rates(study: StoredStudy) -> Figure:
    """Accuracy against learning rate, with the bounds of theory where they are known."""
    known = {arm: bound for arm, bound in study.bounds.items() if arm in study.arms}
    found = []
    for arm, cell in study.best.items():
        bound = f", curvature bound {number(known[arm], '.3g')}" if arm in known else ""
        found.append(f"{arm} is best at {cell.rate:g} with {number(cell.accuracy.mean)}{bound}")
    caption = f"Mean over {plural(study.done, 'trial')} and 95% interval, at step {study.steps[-1]:,}."
    if known:
        caption += (
            " Vertical lines: the curvature bound, the learning rate beyond which full-batch gradient descent does not "
            "decrease the loss at the start of training."
        )
    low, high = study.rates[0], study.rates[-1]
    return Figure(
        _key(study, "learning-rates"),
        "Accuracy against learning rate",
        f"Test accuracy over learning rates from {low:g} to {high:g}: {'; '.join(found)}.",
        caption,
        lambda: figure_of(plots.learning_rate_curve(study.results, known)),
    )


def _without(study: StoredStudy) -> str:
    """Which arms have no heatmap, and why."""
    missing = [arm for arm in study.arms if arm not in study.heatmaps]
    diverged = [arm for arm in missing if study.best[arm].diverged == study.done]
    blind = [arm for arm in missing if arm not in diverged]
    said = f" {listed(blind)} not shown: the first layer does not read pixels." if blind else ""
    return said + (f" {listed(diverged)} not shown: every trial diverged." if diverged else "")


def _at_best(study: StoredStudy) -> str:
    if not study.tuned:
        return ""
    rates = f" ({best_rates(study)})" if len(study.arms) <= MOST_RATES else ""
    return f", at each arm's best learning rate{rates}"


def _key(study: StoredStudy, what: str) -> str:
    return f"{slug(study.name)}-{what}" if study.name else what
