"""The variance of accuracy over trials beside what independent errors would give (Jordan 2023, arXiv:2304.01910)."""

import numpy as np

from jaxinv.experiments.claims.estimates import Mean, mean_of
from jaxinv.experiments.published.experiment import Runs
from jaxinv.stats.training_variance import training_variance


def independent_variance(correct: np.ndarray) -> float:
    """The variance of accuracy over trials if errors were independent given the image: sum of p (1 - p) over M², from
    bool [T, M]; unbiased."""
    return training_variance(correct).sd_test_set ** 2


def excess(expected: float, accuracy: np.ndarray) -> Mean:
    """The variance over trials [T] divided by an expected one, minus 1."""
    squares = np.square(accuracy - accuracy.mean()) * accuracy.size / (accuracy.size - 1)
    return mean_of(squares / expected - 1)


def over_independent(study: str, runs: Runs) -> Mean:
    correct = runs.correct(study, "normal")
    return excess(independent_variance(correct), correct.mean(axis=1, dtype=np.float64))


def over_binary_formula(study: str, runs: Runs) -> Mean:
    """For two classes: the error over twice the number of test images."""
    correct = runs.correct(study, "normal")
    return excess(training_variance(correct).sd_calibrated ** 2, correct.mean(axis=1, dtype=np.float64))
