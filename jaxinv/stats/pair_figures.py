"""The figures of two arms compared trial by trial."""

from dataclasses import dataclass
from typing import Any

from jaxinv.stats.equivalence import Equivalence
from jaxinv.utils.jsonable import jsonable

COVERS = (
    "new trials (initial weights and batch order) of these settings on this training set and these test images; "
    "not new test images"
)


@dataclass(frozen=True, kw_only=True)
class PairFigures:
    """Arm a against arm b over the same trials; differences are a - b.

    `learning_rate` holds the arms' places on the axis of learning rates, `rate` the learning rates that were used.
    `n` pairs entered every figure. They are the `done` of the `planned` trials, less `excluded` (dropped because an
    arm diverged, by the policy `diverged_policy`) and `omitted` (a value was not finite). `ci95` and `p_value` are the
    paired t-test's; `effect_size` is d_z, mean over standard deviation of the differences; `superiority` is
    P(a > b) + P(a = b) / 2; `pairing_gain` is how many times more unpaired trials would be needed for the same
    interval. `p_adjusted` is `p_value` adjusted over the `family` of tests made together (1: the same). Arms that
    agree in every trial have difference 0, p = 1 and effect size 0; a figure that n does not allow is NaN.
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
    p_value: float
    p_wilcoxon: float
    p_permutation: float
    methods: dict[str, str]
    p_adjusted: float
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
    covers: str = COVERS

    @property
    def significant(self) -> bool:
        """Whether the p-value, adjusted where there is a family, is below alpha."""
        return bool(self.p_adjusted < self.alpha)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings for JSON; what is not finite becomes None."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if self.equivalence is not None:
            fields["equivalence"] = self.equivalence.to_dict()
        return jsonable(fields) | {"significant": self.significant}
