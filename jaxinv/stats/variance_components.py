"""Variation over trials apart from variation over test images, from per-example correctness [T, M].

Accuracies of many trials on one test set say how the next trial will do on that test set. They do not say how the
same networks would do on other images from the same source; that needs each image's own results. Here the difference
of two arms, D[t, i] in {-1, 0, 1}, is a two-way table with crossed random effects (trial, test image):
D = mean + trial effect + image effect + residual, analysed by its mean squares.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinv.stats.paired_proportions import correctness_tables, margins
from jaxinv.utils.jsonable import jsonable


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A 95% interval for the mean difference, and what it covers: what would be drawn anew in a repetition."""

    ci95: tuple[float, float]
    standard_error: float
    df: float
    covers: str


@dataclass(frozen=True, kw_only=True)
class Variation:
    """Where the difference of two arms comes from, and three intervals that answer three questions.

    The variances are those of one trial's effect, of one image's effect, and of what is left in a cell; estimates of
    a variance that is zero may be slightly negative. A figure that T or M does not allow is NaN.
    """

    trials: int
    images: int
    accuracy_a: float
    accuracy_b: float
    difference: float
    variance_trial: float
    variance_image: float
    variance_residual: float
    new_trials: Interval
    new_images: Interval
    new_trials_and_images: Interval

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings for JSON."""
        return jsonable(self)


def variation(correct_a: Any, correct_b: Any) -> Variation:
    """Variance components of the difference in accuracy, and its interval for new trials, new images, and both.

    With mean squares MS_T, MS_I and MS_E of the T x M table, the variance of the mean difference is MS_T / (T M) when
    only the trials are drawn anew (the paired t-test of accuracies), MS_I / (T M) when only the images are, and
    (MS_T + MS_I - MS_E) / (T M) when both are (a negative variance component counts as 0). Degrees of freedom are
    T - 1, M - 1 and Satterthwaite's (1946). Assumes effects that are drawn independently, of trials and of images.

    Args:
        correct_a, correct_b: bool [T, M], whether trial t had test image i right.

    Raises:
        InputError: not two boolean tables of one shape with at least one cell.
    """
    a, b = correctness_tables(correct_a, correct_b)
    trials, images = a.shape
    by_trial, by_image, squares, right = margins(a, b)
    cells = trials * images
    total = int(by_trial.sum())
    mean = total / cells
    nan = float("nan")
    ss_trial = float(np.square(by_trial / images - mean).sum()) * images
    ss_image = float(np.square(by_image / trials - mean).sum()) * trials
    ss_rest = squares - total * mean - ss_trial - ss_image
    ss_rest = ss_rest if ss_rest > 1e-12 * squares else 0.0  # rounding
    ms_trial = ss_trial / (trials - 1) if trials > 1 else nan
    ms_image = ss_image / (images - 1) if images > 1 else nan
    ms_rest = ss_rest / ((trials - 1) * (images - 1)) if trials > 1 and images > 1 else nan

    parts = [(ms_trial, trials - 1), (ms_image, images - 1), (-ms_rest, (trials - 1) * (images - 1))]
    if ms_trial < ms_rest:  # no variance between trials: the images' mean square says all
        parts = parts[1:2] if ms_image >= ms_rest else [(ms_rest, parts[2][1])]
    elif ms_image < ms_rest:
        parts = parts[:1]
    return Variation(
        trials=trials,
        images=images,
        accuracy_a=right[0] / cells,
        accuracy_b=right[1] / cells,
        difference=mean,
        variance_trial=(ms_trial - ms_rest) / images,
        variance_image=(ms_image - ms_rest) / trials,
        variance_residual=ms_rest,
        new_trials=_interval(mean, [(ms_trial, trials - 1)], cells, "new trials on these same test images"),
        new_images=_interval(mean, [(ms_image, images - 1)], cells, "these trained networks on new test images"),
        new_trials_and_images=_interval(mean, parts, cells, "new trials on new test images from the same source"),
    )


def _interval(mean: float, parts: list[tuple[float, int]], cells: int, covers: str) -> Interval:
    """t interval with a variance that is a sum of mean squares over the cells (Satterthwaite 1946)."""
    from scipy import special

    squares = sum(ms for ms, _ in parts)
    spread = sum(ms**2 / df if df else float("nan") for ms, df in parts)
    error = float(np.sqrt(squares / cells))
    df = squares**2 / spread if spread > 0 else float(min(df for _, df in parts))
    half = float(special.stdtrit(df, 0.975)) * error if error > 0 else error
    return Interval(ci95=(mean - half, mean + half), standard_error=error, df=df, covers=covers)
