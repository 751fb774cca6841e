"""Variation over trials apart from variation over test images, from per-example correctness [T, N].

Accuracies of many trials on one test set say how the next trial will do on that test set. They do not say how the
same networks would do on other images from the same source; that needs each image's own results. Here the difference
of two arms, D[t, i] in {-1, 0, 1}, is a two-way table with crossed random effects (trial, test image):
D = mean + trial effect + image effect + residual, analysed by its mean squares.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinv.errors import InputError
from jaxinv.utils.jsonable import jsonable

_SLAB = 1 << 25  # table cells looked at together


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
    a variance that is zero may be slightly negative. A figure that T or N does not allow is NaN.
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
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return jsonable({k: dict(v.__dict__) if isinstance(v, Interval) else v for k, v in fields.items()})


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """Which of two arms is right where the other is wrong.

    `only_a`, `only_b` [T] count the images that one arm alone had right, `p_value` [T] is each trial's exact test.
    `pooled` is over all trials, each image one cluster of T dependent results (Obuchowski 1998).
    """

    only_a: np.ndarray
    only_b: np.ndarray
    p_value: np.ndarray
    pooled_only_a: int
    pooled_only_b: int
    pooled_p_value: float
    covers: str = "each p: one trained pair on new test images; pooled: these trained networks together on new images"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists for JSON."""
        return {name: jsonable(getattr(self, name)) for name in self.__dataclass_fields__}


def variation(correct_a: Any, correct_b: Any) -> Variation:
    """Variance components of the difference in accuracy, and its interval for new trials, new images, and both.

    With mean squares MS_T, MS_I and MS_E of the T x N table, the variance of the mean difference is MS_T / TN when
    only the trials are drawn anew (the paired t-test of accuracies), MS_I / TN when only the images are, and
    (MS_T + MS_I - MS_E) / TN when both are (a negative variance component counts as 0). Degrees of freedom are T - 1,
    N - 1 and Satterthwaite's.

    Args:
        correct_a, correct_b: bool [T, N], whether trial t had test image i right.

    Raises:
        InputError: not two boolean tables of one shape with at least one cell.
    """
    a, b = _tables(correct_a, correct_b)
    trials, images = a.shape
    by_trial, by_image, squares, right = _margins(a, b)
    cells = trials * images
    total = int(by_trial.sum())
    mean = total / cells
    nan = float("nan")
    ss_trial = float(np.square(by_trial / images - mean).sum()) * images
    ss_image = float(np.square(by_image / trials - mean).sum()) * trials
    ss_rest = max(0.0, squares - total * mean - ss_trial - ss_image)
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


def mcnemar(correct_a: Any, correct_b: Any) -> McNemar:
    """McNemar's tests of two arms' per-example correctness, each trial alone (exact) and all together.

    A trial's p is the two-sided binomial test of its discordant images against 1/2, 1 where there are none. The
    pooled p takes z = sum x_i / sqrt(sum x_i^2), x_i the image's net count over trials, as normal: images are
    independent, results of one image are not.

    Args:
        correct_a, correct_b: bool [T, N].

    Raises:
        InputError: not two boolean tables of one shape with at least one cell.

    >>> mcnemar([[True, True, True, False]], [[False, False, False, False]]).p_value.tolist()
    [0.25]
    """
    from scipy import special

    a, b = _tables(correct_a, correct_b)
    by_trial, by_image, _, _ = _margins(a, b)
    discordant = np.count_nonzero(a != b, axis=1)
    only_a = (discordant + by_trial) // 2
    only_b = discordant - only_a
    # P(X <= k), X binomial(m, 1/2), by the incomplete beta function
    fewer = np.minimum(only_a, only_b)
    p = np.minimum(1.0, 2 * special.betainc(np.maximum(discordant - fewer, 1), fewer + 1, 0.5))
    spread = float(np.square(by_image.astype(np.float64)).sum())
    z = float(by_image.sum()) / np.sqrt(spread) if spread > 0 else 0.0
    return McNemar(
        only_a=only_a,
        only_b=only_b,
        p_value=p,
        pooled_only_a=int(only_a.sum()),
        pooled_only_b=int(only_b.sum()),
        pooled_p_value=float(2 * special.ndtr(-abs(z))),
    )


def _tables(correct_a: Any, correct_b: Any) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(correct_a), np.asarray(correct_b)
    for field, table in (("correct_a", a), ("correct_b", b)):
        if table.dtype != np.bool_ or table.ndim != 2 or table.size == 0:
            raise InputError(f"{field}: {table.dtype} {table.shape}; booleans of shape (trials, images) are needed")
    if a.shape != b.shape:
        raise InputError(f"correct_b: shape {b.shape} differs from correct_a's {a.shape}")
    return a, b


def _margins(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, tuple[int, int]]:
    """Sums of D = a - b over images [T] and over trials [N], the sum of D^2, and how many each arm had right."""
    trials, images = a.shape
    by_trial, by_image, squares, right = np.empty(trials, np.int64), np.zeros(images, np.int64), 0, [0, 0]
    slab = max(1, _SLAB // images)
    for start in range(0, trials, slab):
        here = slice(start, min(start + slab, trials))
        d = a[here].astype(np.int8) - b[here].astype(np.int8)
        by_trial[here] = d.sum(axis=1, dtype=np.int64)
        by_image += d.sum(axis=0, dtype=np.int64)
        squares += int(np.count_nonzero(d))
        right = [right[0] + int(np.count_nonzero(a[here])), right[1] + int(np.count_nonzero(b[here]))]
    return by_trial, by_image, squares, (right[0], right[1])


def _interval(mean: float, parts: list[tuple[float, int]], cells: int, covers: str) -> Interval:
    """t interval with a variance that is a sum of mean squares over the cells (Satterthwaite 1946)."""
    from scipy import special

    squares = sum(ms for ms, _ in parts)
    spread = sum(ms**2 / df if df else float("nan") for ms, df in parts)
    error = float(np.sqrt(squares / cells))
    df = squares**2 / spread if spread > 0 else float(min(df for _, df in parts))
    half = float(special.stdtrit(df, 0.975)) * error if error > 0 else error
    return Interval(ci95=(mean - half, mean + half), standard_error=error, df=df, covers=covers)
