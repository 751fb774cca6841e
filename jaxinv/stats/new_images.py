"""The difference of two arms on other test images, where a run kept which images each trial has right."""

from typing import TYPE_CHECKING

import numpy as np

from jaxinv.results import correct_table, done_trials, steps
from jaxinv.results.selection import coordinate
from jaxinv.stats.paired_trials import PairedTrials
from jaxinv.stats.variance_components import variation

if TYPE_CHECKING:
    import xarray as xr


def interval_for_new_images(results: "xr.Dataset", trials: PairedTrials) -> tuple[float, float] | None:
    """The 95% interval of a difference in accuracy for new trials and new test images together; None: not known.

    It is known of accuracies after the last step, by which `correct` goes.
    """
    averaged = int(results.attrs.get("evaluations", 1)) > 1  # over the steps: another figure
    if trials.metric != "accuracy" or averaged or "correct" not in results or not trials.a.size:
        return None
    if trials.step != max(steps(results)):
        return None
    kept = np.isin(coordinate(done_trials(results), "trial"), trials.trials)
    sides = zip(trials.arms, trials.learning_rate, strict=True)
    a, b = (correct_table(results, arm, rate)[kept] for arm, rate in sides)
    return variation(a, b).new_trials_and_images.ci95
