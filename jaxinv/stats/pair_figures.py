"""The figures of two arms compared trial by trial."""

from dataclasses import dataclass
from typing import Any

from jaxinv.stats.equivalence import Equivalence
from jaxinv.stats.few_trials import FEWEST
from jaxinv.utils.jsonable import jsonable

WHICH = (
    "the interval and p where the number of trials was decided beforehand; the anytime interval and p where you looked "
    "and then added trials"
)
WHICH_STOPPED = (
    "the anytime interval and p: the run stopped by what it saw, so the fixed interval and p, which stand beside them, "
    "promise too much"
)
COVERS = (
    "new trials (initial weights and batch order) of these settings on this training set and these test images; "
    "not new test images"
)


@dataclass(frozen=True, kw_only=True)
class PairFigures:
    """Arm a against arm b over the same trials; differences are a - b.

    `learning_rate` holds the arms' places on the axis of learning rates, `rate` the learning rates that were used.
    `n` pairs entered every figure. They are the `done` of the `planned` trials, less `excluded` (dropped because an
    arm diverged, by the policy `diverged_policy`) and `omitted` (a value was not finite). With fewer than six, nothing
    is `significant`, whatever the p-values.

    `ci95` and `p_value` are the paired t-test's, for one look at a number of trials that was decided beforehand.
    `ci95_anytime` and `p_anytime` stay valid however often one looks and adds trials (`stats.anytime_interval`).
    `ci95_anytime_family` holds together with those of all comparisons of the `family`, by Bonferroni's inequality.
    `ci95_new_images` is for new trials and new test images together (`stats.variation`), where the run kept `correct`
    and accuracies after the last step are compared; else None.

    `effect_size` is d_z, mean over standard deviation of the differences; `superiority` is P(a > b) + P(a = b) / 2;
    `pairing_gain` is how many times more unpaired trials would be needed for the same interval. `p_adjusted` and
    `p_anytime_adjusted` are `p_value` and `p_anytime` adjusted over the `family` of tests made together (1: the same).
    `grain` is the step in which the metric moves; standard deviations of differences count as half of it at least. Arms
    that agree in every trial have difference 0, p = 1 and effect size 0; a figure that n does not allow is NaN.
    `stopped` says that the run ended by what it saw, for which the fixed interval and p-value are not made.
    """

    arms: tuple[str, str]
    metric: str
    learning_rate: tuple[float, float]
    rate: tuple[float, float]
    step: int
    n: int
    mean_a: float
    mean_b: float
    sd_a: float
    sd_b: float
    difference: float
    ci95: tuple[float, float]
    ci95_bootstrap: tuple[float, float] | None
    ci95_anytime: tuple[float, float]
    ci95_anytime_family: tuple[float, float]
    ci95_new_images: tuple[float, float] | None
    p_value: float
    p_anytime: float
    p_wilcoxon: float
    p_permutation: float
    methods: dict[str, str]
    p_adjusted: float
    p_anytime_adjusted: float
    adjustment: str
    family: int
    effect_size: float
    superiority: float
    correlation: float
    pairing_gain: float
    equivalence: Equivalence | None
    alpha: float
    planned: int
    done: int
    diverged_a: int
    diverged_b: int
    diverged_either: int
    diverged_policy: str
    excluded: int
    omitted: int
    grain: float
    stopped: bool = False
    covers: str = COVERS

    @property
    def which(self) -> str:
        """Which interval and p-value to use, in words."""
        return WHICH_STOPPED if self.stopped else WHICH

    @property
    def enough(self) -> bool:
        """Whether there are pairs enough for a verdict."""
        return self.n >= FEWEST

    @property
    def significant(self) -> bool:
        """Whether there are pairs enough, and the p-value that `which` names, adjusted in a family, is below alpha."""
        return self.enough and bool((self.p_anytime_adjusted if self.stopped else self.p_adjusted) < self.alpha)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings for JSON; what is not finite becomes None."""
        return jsonable(self) | {"enough": self.enough, "significant": self.significant}
