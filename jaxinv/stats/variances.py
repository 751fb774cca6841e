"""Where the spread of a run's accuracies comes from, arm by arm and pair by pair; from results that kept `correct`."""

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jaxinv.results import arm_names, check_results, correct_table, learning_rates, rate_index, rates_used
from jaxinv.stats.few_trials import FEWEST, too_few
from jaxinv.stats.training_variance import TrainingVariance, training_variance
from jaxinv.stats.variance_components import Variation, variation
from jaxinv.utils.tables import text_rows, text_table
from jaxinv.utils.text import interval, number, p_value, plain

if TYPE_CHECKING:
    import xarray as xr

COVERED = ("new trials", "new trials and new test images")
NOTES = [
    ("test set", "sd of accuracy if errors on different images were independent; more test images average it out"),
    ("training", "sd of accuracy on all images that there are, with its 95% interval"),
    (
        "dependence",
        "variance over that of errors that are independent given the image; 1 where they are. p tests that, and knows "
        "the variance that they would have, so it may decide where the interval does not",
    ),
    (
        "calibrated",
        "sqrt(error / 2M): the sd of independent errors of calibrated ensembles with two classes; smaller with more",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Variances:
    """What `training_variance` says of each arm and `variation` of each pair, at one learning rate of the axis."""

    learning_rate: float
    rates: dict[str, float]
    arms: dict[str, TrainingVariance]
    pairs: dict[tuple[str, str], Variation]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings for JSON."""
        return {
            "learning_rate": self.learning_rate,
            "arms": [{"arm": arm, "rate": self.rates[arm], **one.to_dict()} for arm, one in self.arms.items()],
            "pairs": [{"arms": list(arms), **one.to_dict()} for arms, one in self.pairs.items()],
        }

    def tables(self) -> list[list[list[str]]]:
        """Each a header and rows of text: where the spread comes from, whether errors are independent, intervals."""
        spread = [["arm", "accuracy", "sd", "test set", "training", "95% interval"]]
        errors = [["arm", "dependence", "95% interval", "p", "calibrated"]]
        means = [["arm", "accuracy", *COVERED]]
        pairs = [["a", "b", "a - b", *COVERED]]
        for arm, v in self.arms.items():
            sds = (number(sd, ".5f") for sd in (v.sd, v.sd_test_set, v.sd_training))
            spread.append([arm, number(v.accuracy, ".5f"), *sds, interval(v.sd_training_ci95, ".5f")])
            p = p_value(v.p_independent) if v.trials >= FEWEST else "too few"
            ends = interval(v.dependence_ci95, ".3g")
            errors.append([arm, number(v.dependence, ".3g"), ends, p, number(v.sd_calibrated, ".5f")])
            ends = [interval(one.ci95, ".4f") for one in (v.new_trials, v.new_trials_and_images)]
            means.append([arm, number(v.accuracy), *ends])
        for (a, b), pair in self.pairs.items():
            ends = [interval(one.ci95, "+.4f") for one in (pair.new_trials, pair.new_trials_and_images)]
            pairs.append([a, b, number(pair.difference, "+.4f"), *ends])
        return [spread, errors, means, *([pairs] if self.pairs else [])]

    def __str__(self) -> str:
        first = next(iter(self.arms.values()))
        few = f"\n\n{too_few(first.trials)}" if first.trials < FEWEST else ""
        head = f"{first.trials:,} trials, {first.images:,} test images{few}"
        tables = [text_table(rows, left=2 if rows[0][0] == "a" else 1) for rows in self.tables()]
        return plain("\n\n".join([head, *tables, text_rows(NOTES)]))


def variances(results: "xr.Dataset", *, learning_rate: float | None = None) -> Variances:
    """Where the spread of a run's accuracies comes from.

    Args:
        results: of a run that kept `correct`.
        learning_rate: one of the results'; needed where they hold several.

    Raises:
        InputError: the run did not keep `correct`; a learning rate that is not in the results, or none of several.
        DataError: no trial is done.
    """
    check_results(results)
    place, names = rate_index(results, learning_rate), arm_names(results)
    rate = learning_rates(results)[place]
    tables = {arm: correct_table(results, arm, rate) for arm in names}
    return Variances(
        learning_rate=rate,
        rates=dict(zip(names, rates_used(results)[:, place].tolist(), strict=True)),
        arms={arm: training_variance(table) for arm, table in tables.items()},
        pairs={(a, b): variation(tables[a], tables[b]) for a, b in itertools.combinations(names, 2)},
    )
