"""How much of an arm's spread over trials is the finite test set, and how much the training, from `correct` [T, M]."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinv.stats.few_trials import FEWEST
from jaxinv.stats.paired_proportions import correctness_tables, margins
from jaxinv.stats.variance_components import Interval, variation
from jaxinv.utils.jsonable import jsonable

Z = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class TrainingVariance:
    """The spread of an arm's accuracy over trials, and where it comes from.

    `sd` is the standard deviation over trials on these test images. `sd_test_set` is what it would be if a trial's
    errors on different images were independent given the image: a spread of scores alone, which more test images
    average out. `sd_training` is what is left, the spread of accuracy on all images that there are; 0 where nothing is.
    `share_test_set` is the first one's share of the variance.

    `dependence` is the variance over that of independent errors: 1 where they are independent; `p_independent` tests
    that. `sd_calibrated` is what calibrated ensembles promise for independent errors: sqrt(error / 2 M) for two
    classes, at most that for more. Intervals are of 95%, NaN for fewer than six trials.
    """

    trials: int
    images: int
    accuracy: float
    sd: float
    sd_ci95: tuple[float, float]
    sd_test_set: float
    sd_training: float
    sd_training_ci95: tuple[float, float]
    share_test_set: float
    dependence: float
    dependence_ci95: tuple[float, float]
    p_independent: float
    sd_calibrated: float
    new_trials: Interval
    new_trials_and_images: Interval

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings for JSON."""
        return jsonable(self)


def training_variance(correct: Any) -> TrainingVariance:
    """Split the variance of accuracy over trials into that of the finite test set and that of training.

    Let trial t have image i right with chance p_i over trainings, c[t, i] in {0, 1}. The variance of a trial's accuracy
    on these M images is

        V = (1 / M^2) (sum_i p_i (1 - p_i) + sum_(i != j) Cov(c_i, c_j)).

    The first sum is there even if errors on different images have nothing to do with each other: the finite test set,
    with p_i (1 - p_i) estimated by each image's variance over trials. The mean covariance of two images is the variance
    of accuracy over trainings on the whole distribution of images (Jordan 2023, arXiv 2304.01910). With the mean
    squares MS_T and MS_E of the T x M table it is (MS_T - MS_E) / M, which is unbiased; V / independent is MS_T / MS_E,
    which is F-distributed with T - 1 and (T - 1) (M - 1) degrees of freedom if errors are independent and images are
    many.

    Where the votes of many trainings are calibrated, an image that they give class k with chance q_k is of class k with
    chance q_k. Two classes then give E[p (1 - p)] = E[q (1 - q)] = error / 2, since error = E[2 q (1 - q)]: hence a
    variance of error / (2 M), half of the binomial's where errors are few. For more classes E[p (1 - p)] =
    E[sum_k q_k^2 (1 - q_k)] is at most error / 2.

    The interval of V is Bonett's (2006) for a variance, which allows for trials that are not normal; those of the other
    figures follow from it, MS_E being known much better.

    Args:
        correct: bool [T, M], whether trial t had test image i right.

    Raises:
        InputError: not a boolean table with at least one cell.
    """
    from scipy import special

    c, nothing = correctness_tables(correct, np.broadcast_to(False, np.shape(correct)))

    table = variation(c, nothing)
    trials, images = table.trials, table.images
    accuracies = margins(c, nothing)[0] / images
    nan = float("nan")
    total = float(accuracies.var(ddof=1)) if trials > 1 else nan
    rest = table.variance_residual
    within = total / images + (images - 1) / images * rest / images  # (MS_T + (M - 1) MS_E) / M^2: of each image alone
    low, high = variance_interval(accuracies) if trials >= FEWEST else (nan, nan)
    ratio = images / rest if rest > 0 else nan  # of a variance to that of independent errors, rest / images
    dependence = total * ratio
    freedom = trials - 1
    p = float(special.fdtrc(freedom, freedom * (images - 1), dependence)) if np.isfinite(dependence) else nan
    return TrainingVariance(
        trials=trials,
        images=images,
        accuracy=table.accuracy_a,
        sd=_root(total),
        sd_ci95=(_root(low), _root(high)),
        sd_test_set=_root(within),
        sd_training=_root(total - rest / images),
        sd_training_ci95=(_root(low - rest / images), _root(high - rest / images)),
        share_test_set=float(within / total) if total > 0 else nan,
        dependence=dependence,
        dependence_ci95=(low * ratio, high * ratio),
        p_independent=p,
        sd_calibrated=float(np.sqrt((1 - table.accuracy_a) / (2 * images))),
        new_trials=table.new_trials,
        new_trials_and_images=table.new_trials_and_images,
    )


def variance_interval(values: Any) -> tuple[float, float]:
    """A 95% interval for the variance of trials [T] that need not be normal (Bonett 2006), for five trials or more.

    log s^2 is taken as normal around log(c s^2), with the variance c^2 (k - (n - 3) / n) / (n - 1), k the kurtosis
    about a trimmed mean, z = 1.96 and c = n / (n - z). Of 40 exponential trials it holds the variance in 89% of
    all cases.
    """
    x = np.asarray(values, np.float64)
    n, square = x.size, float(x.var(ddof=1))
    if square == 0:
        return 0.0, 0.0
    cut = int(n / (2 * np.sqrt(n - 4)))
    centre = np.sort(x)[cut : n - cut].mean()
    kurtosis = n * float(np.sum((x - centre) ** 4)) / float(np.sum((x - x.mean()) ** 2)) ** 2
    c = n / (n - Z)
    half = Z * c * np.sqrt(max(0.0, kurtosis - (n - 3) / n) / (n - 1))
    return float(c * square * np.exp(-half)), float(c * square * np.exp(half))


def _root(variance: float) -> float:
    """Its standard deviation; 0 where the estimate of a variance is negative."""
    return float(np.sqrt(max(variance, 0.0))) if np.isfinite(variance) else float("nan")
