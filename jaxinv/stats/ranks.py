"""Ranks of arms, as far as the comparisons of all pairs tell them apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxinv.stats.pair_figures import PairFigures
from jaxinv.utils.jsonable import jsonable
from jaxinv.utils.text import number

LOWER_IS_BETTER = ("test_loss", "train_loss")


@dataclass(frozen=True, kw_only=True)
class Rank:
    """The ranks that an arm may have among all arms, from `best` to `worst`; 1 is the highest (of losses, lowest)."""

    arm: str
    mean: float
    best: int
    worst: int

    @property
    def text(self) -> str:
        """The ranks in words: "2", or "2 to 4"."""
        return str(self.best) if self.best == self.worst else f"{self.best} to {self.worst}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return jsonable({"arm": self.arm, "mean": self.mean, "ranks": [self.best, self.worst]})


def ranks(pairs: Sequence[PairFigures]) -> list[Rank]:
    """Each arm's ranks, the best mean first; [] where the pairs are not all pairs of some arms, each at one rate.

    An arm's best rank is one more than the number of arms that are significantly better, its worst one the number of
    all arms less those that are significantly worse. Where the tests keep the chance of any false rejection below 5%,
    as Holm's adjustment does, all of these ranges hold together with 95% (Mogstad, Romano, Shaikh and Wilhelm 2024,
    Inference for ranks).
    """
    means: dict[tuple[str, float], float] = {}
    better: dict[tuple[str, float], int] = {}
    worse: dict[tuple[str, float], int] = {}
    for pair in pairs:
        a, b = zip(pair.arms, pair.learning_rate, strict=True)
        for arm, mean in ((a, pair.mean_a), (b, pair.mean_b)):
            means.setdefault(arm, mean)
        if pair.significant:
            first, last = (a, b) if (pair.difference > 0) != (pair.metric in LOWER_IS_BETTER) else (b, a)
            better[last] = better.get(last, 0) + 1
            worse[first] = worse.get(first, 0) + 1
    count = len(means)
    names = {arm for arm, _ in means}
    if len(names) < count or len(pairs) != count * (count - 1) // 2:
        return []
    sign = 1 if pairs[0].metric in LOWER_IS_BETTER else -1
    found = [
        Rank(arm=arm[0], mean=mean, best=1 + better.get(arm, 0), worst=count - worse.get(arm, 0))
        for arm, mean in means.items()
    ]
    return sorted(found, key=lambda one: (one.best, one.worst, math.isnan(one.mean), sign * one.mean))


def ranks_table(found: Sequence[Rank]) -> list[list[str]]:
    """A header and one row of text for each arm."""
    return [["arm", "mean", "rank"], *([one.arm, number(one.mean, ".5g"), one.text] for one in found)]
