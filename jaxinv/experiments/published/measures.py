"""Figures that several experiments estimate from their runs, and criteria for them."""

from functools import partial
from typing import NamedTuple

import numpy as np

from jaxinv.experiments.claims.estimates import Mean, Share, difference, mean_of
from jaxinv.experiments.claims.rule import Criterion
from jaxinv.experiments.published.experiment import Runs, Statement
from jaxinv.preprocess import get_preprocess, transform

MATTERS = 0.005
"""The smallest difference of accuracies that matters: half a percentage point."""


class Cell(NamedTuple):
    """An arm of a study; `tested`: the preprocessing of the test images, where that is another."""

    study: str
    arm: str
    tested: str = ""


def accuracy(cell: Cell, runs: Runs) -> np.ndarray:
    """Accuracy of each trial: float64 [T]."""
    if cell.tested:
        return runs.transfer(cell.study, cell.arm, cell.tested)
    return runs.accuracy(cell.study, cell.arm)


def gap(a: Cell, b: Cell, runs: Runs) -> Mean:
    """The difference in accuracy, a minus b."""
    return difference(accuracy(a, runs), accuracy(b, runs))


def above(cell: Cell, value: float, runs: Runs) -> Mean:
    """How far accuracy is above a value."""
    return mean_of(accuracy(cell, runs) - value)


def share_between(cell: Cell, low: float, high: float, runs: Runs) -> Share:
    """The share of trials whose accuracy lies between two values."""
    values = accuracy(cell, runs)
    return Share(hits=int(((values >= low) & (values <= high)).sum()), n=values.size)


def scores_more(says: str, a: Cell, b: Cell, what: str, *, decides: bool = True, margin: float = MATTERS) -> Statement:
    """The statement that one arm scores more than another; `what` names both, "a minus b"."""
    criterion = Criterion(figure=f"the difference in accuracy, {what},", region="above", margin=margin)
    return Statement(says=says, criterion=criterion, measure=partial(gap, a, b), decides=decides)


def most_trials(says: str, cell: Cell, low: float, high: float, what: str, *, decides: bool = True) -> Statement:
    """The statement that most trials of an arm score between two values."""
    figure = f"the share of trials that score {low:.0%} to {high:.0%} {what}"
    criterion = Criterion(figure=figure, region="above", margin=0.5, unit="%", test="exact binomial")
    return Statement(says=says, criterion=criterion, measure=partial(share_between, cell, low, high), decides=decides)


def dead_units(weight: np.ndarray, bias: np.ndarray, images: np.ndarray) -> float:
    """Share of a layer's ReLU units that are 0 for every image [M, D]; weights are [units, D]."""
    return float(((images @ weight.T + bias).max(axis=0) <= 0).mean())


def share_dead(study: str, arm: str, runs: Runs) -> np.ndarray:
    """Share of each trial's first hidden units that are 0 for every test image: float64 [T]."""
    data, preprocess = runs.dataset(study), get_preprocess(arm)
    pixels = transform(preprocess, preprocess.fit(data.x_train), data.x_test)
    images, first = pixels.reshape(len(pixels), -1), runs.networks(study, arm)["first"]
    layers = zip(np.asarray(first["weight"]), np.asarray(first["bias"]), strict=True)
    return np.array([dead_units(*layer, images) for layer in layers])


def more_dead_units(runs: Runs) -> Mean:
    """The share of dead hidden units of raw minus that of scaled pixels, in the study `units`."""
    return difference(share_dead("units", "raw", runs), share_dead("units", "normal", runs))
