"""A stored study as a page shows it: its cells summarised, its arms compared."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from jaxinv import stats
from jaxinv.report.arms import DescribedArms, plain_name
from jaxinv.results.cells import best_rates, cell, distinct_cells, mean_over_steps
from jaxinv.results.selection import arm_names, check_results, done_trials, learning_rates, steps
from jaxinv.stats import CellSummary, Comparison
from jaxinv.stats.few_trials import FEWEST
from jaxinv.stats.looks import stop_sentence
from jaxinv.stats.ranks import Rank, ranks
from jaxinv.utils.text import dataset_label


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredStudy:
    """Results of a study, and what is known about them from elsewhere.

    Attributes:
      results: dims arm, learning_rate, trial, step, as `jaxinv.load` gives them.
      name: the folder they stand in below the page's own, "" for the page's own.
      title: its heading.
      over_steps: a trial's figure is its mean over all evaluations, in place of its last one.
      border: bool [H, W], pixels that are never on in training; None: not known.
      bounds: arm -> learning rate below which gradient descent is stable at the start.
      published: arm -> figure that somebody else has reported for it.
    """

    results: xr.Dataset
    name: str = ""
    title: str = ""
    over_steps: bool = False
    border: np.ndarray | None = None
    bounds: Mapping[str, float] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_results(self.results)

    @cached_property
    def study(self) -> dict[str, Any]:
        """The study's fields, as its JSON has them."""
        return json.loads(self.results.attrs.get("study", "{}"))

    @cached_property
    def question(self) -> dict[str, Any]:
        """What the run was to find out, and why it ended; {} where it has a fixed number of trials."""
        return json.loads(self.results.attrs.get("until", "{}"))

    @property
    def end(self) -> str:
        """Why the run ended by itself, in a sentence or two; "" where it has a fixed number of trials."""
        return stop_sentence(self.question)

    @cached_property
    def arms(self) -> list[str]:
        return arm_names(self.results)

    @cached_property
    def learning_rates(self) -> list[float]:
        return learning_rates(self.results)

    @cached_property
    def steps(self) -> list[int]:
        return steps(self.results)

    @property
    def planned(self) -> int:
        """How many trials the study has."""
        return self.results.sizes["trial"]

    @cached_property
    def done(self) -> int:
        """How many of them are finished."""
        return done_trials(self.results).sizes["trial"]

    @cached_property
    def outcomes(self) -> xr.Dataset:
        """The finished trials, with the one figure of each that the study is judged by at the only step."""
        return mean_over_steps(self.results) if self.over_steps else done_trials(self.results).isel(step=[-1])

    @cached_property
    def best_rates(self) -> dict[str, float]:
        """arm -> where on the axis its best learning rate is, by mean accuracy; `best` has the rate itself."""
        return best_rates(self.outcomes)

    @cached_property
    def cells(self) -> list[CellSummary]:
        """Every arm at every learning rate that it used, each once."""
        return [stats.cell_summary(cell) for cell in distinct_cells(self.outcomes)]

    @cached_property
    def tried(self) -> dict[str, int]:
        """arm -> how many learning rates it used."""
        return dict(Counter(cell.arm for cell in self.cells))

    @property
    def tuned(self) -> bool:
        """Whether an arm used several learning rates, of which it stands at its best."""
        return max(self.tried.values()) > 1

    @cached_property
    def rates(self) -> list[float]:
        """Every learning rate that was used, in rising order."""
        return sorted({cell.rate for cell in self.cells})

    @cached_property
    def best(self) -> dict[str, CellSummary]:
        """Each arm at its best learning rate."""
        return {cell.arm: cell for cell in self.cells if cell.learning_rate == self.best_rates[cell.arm]}

    @cached_property
    def at_an_edge(self) -> list[str]:
        """The arms whose best learning rate is the lowest or the highest of several that they used."""
        used = {arm: [cell.rate for cell in self.cells if cell.arm == arm] for arm in self.arms}
        return [
            arm for arm in self.arms if len(used[arm]) > 1 and self.best[arm].rate in (min(used[arm]), max(used[arm]))
        ]

    @cached_property
    def comparisons(self) -> Sequence[Comparison]:
        """All pairs of arms, each arm at its best learning rate, p adjusted over the pairs."""
        return stats.compare_all(self.outcomes, learning_rate=self.best_rates).pairs if len(self.arms) > 1 else ()

    @cached_property
    def at_each_rate(self) -> Sequence[Comparison]:
        """All pairs of arms at every learning rate, p adjusted over all of these; nothing where there is one rate."""
        if len(self.learning_rates) == 1 or len(self.arms) == 1:
            return ()
        return stats.compare_all(self.outcomes, learning_rate="each").pairs

    @cached_property
    def ranks(self) -> list[Rank]:
        """The ranks that each of three or more arms may have, at its best learning rate."""
        return ranks(self.comparisons) if len(self.arms) > 2 else []

    @cached_property
    def z(self) -> dict[str, float]:
        """arm -> where its published figure falls in the distribution over trials; NaN where they are too few."""
        found = {arm: cell(self.outcomes, arm, learning_rate=self.best_rates[arm]).accuracy for arm in self.published}
        return {
            arm: stats.published_z(self.published[arm], values) if values.size >= FEWEST else float("nan")
            for arm, values in found.items()
        }

    @property
    def diverged(self) -> int:
        """How many trainings diverged, over all arms and learning rates."""
        return sum(cell.diverged for cell in self.cells)

    @property
    def trainings(self) -> int:
        """How many trainings are finished, over all arms and learning rates."""
        return len(self.cells) * self.done

    @cached_property
    def heatmaps(self) -> dict[str, np.ndarray]:
        """arm -> weight change [H, W, K] at its best learning rate, where there is one.

        There is none where the first layer does not read pixels, or every trial diverged.
        """
        if "weight_delta" not in self.results:
            return {}
        delta = self.results["weight_delta"].transpose("arm", "learning_rate", "row", "col", "channel").values
        found = {
            arm: delta[place, self.learning_rates.index(self.best_rates[arm])] for place, arm in enumerate(self.arms)
        }
        return {arm: one for arm, one in found.items() if np.isfinite(one).any()}

    @cached_property
    def described(self) -> DescribedArms:
        """What each arm changes, in words."""
        return DescribedArms(self.study, self.arms)

    def field(self, name: str) -> str:
        """A field of the study in words; objects of the user's own go by their name."""
        text = plain_name(self.study.get(name, "unknown"))
        return dataset_label(text) if name == "dataset" else text
