"""A claim's rule: which figures have to lie where, stated before any trial is run.

A criterion names a region that a figure is to lie in ("more than 0.005", "within ±0.005"). It *holds* if the figure's
95% interval lies inside the region, *fails* if it lies outside, and is else open: more trials would tell. A claim is
*supported* if all of its criteria hold; it is *refuted* if one fails, after Holm's adjustment for having looked at
several; and else *inconclusive*.

In terms of tests, each side is a one-sided t-test of level 2.5%; for a region around 0 that is TOST. The rule's
sentence, the verdict and the sentence that compares a figure with its margin are all made from the criterion.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxinv import stats
from jaxinv.experiments.claims.estimates import LEVEL, Estimate
from jaxinv.utils.jsonable import jsonable

Verdict = Literal["supported", "refuted", "inconclusive", "premise absent"]
"""Of the last one, the data say nothing: what the claim takes for granted is not so there."""
Region = Literal["above", "within", "at most"]

WORDS: dict[Region, str] = {"above": "more than", "within": "within ±", "at most": "at most"}


class PValues(NamedTuple):
    """p-values against a figure's lying outside, and inside, the region that its criterion names."""

    inside: float
    outside: float


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One condition of a claim.

    Attributes:
      figure: what is estimated, as a sentence's subject.
      region: where the figure has to lie: above the margin, less than the margin away from 0, or at most at it.
      margin: in the figure's own unit.
      unit: of figure and margin; "%" stands for shares that are told as such.
      test: how it is tested, where that is no t-test.
    """

    figure: str
    region: Region
    margin: float
    unit: str = ""
    test: str = ""

    def apply(self, estimate: Estimate) -> PValues:
        """Both tests of an estimate."""
        margin = self.margin
        if self.region == "above":
            return PValues(estimate.p_above(margin), estimate.p_below(margin))
        if self.region == "within":
            inside = max(estimate.p_above(-margin), estimate.p_below(margin))
            return PValues(inside, min(estimate.p_above(margin), estimate.p_below(-margin)))
        return PValues(1 - estimate.p_above(margin), estimate.p_above(margin))

    @property
    def sentence(self) -> str:
        """The condition in words.

        >>> Criterion(figure="the difference", region="within", margin=0.005).sentence
        'the difference is within ±0.005 (two one-sided tests)'
        """
        test = self.test or ("two one-sided tests" if self.region == "within" else "")
        return f"{self.figure} is {self._region}{f' ({test})' if test else ''}"

    def compare(self, estimate: Estimate) -> str:
        """An estimate beside the margin, in words.

        >>> from jaxinv.experiments.claims.estimates import mean_of
        >>> gain = Criterion(figure="the gain", region="above", margin=0.5, unit="points")
        >>> gain.compare(mean_of([0.9, 1.0, 1.1] * 2))
        'The gain is 1 [0.906, 1.09], more than 0.5 points.'
        >>> gain.compare(mean_of([0.9, 1.0, 1.1]))
        'The gain is 1 [0.752, 1.25]; n = 3 is too few to say whether it is more than 0.5 points.'
        """
        place = {"supported": ", ", "refuted": ", not ", "inconclusive": "; that leaves open whether it is "}
        low, high = estimate.ci95
        interval = "" if low == high else f" [{self._told(low)}, {self._told(high)}]"
        subject = f"{self.figure[:1].upper()}{self.figure[1:]}"
        if np.isnan(estimate.value):
            return f"{subject} could not be estimated."
        if np.isnan(self.apply(estimate).inside):
            where = f"; n = {estimate.n} is too few to say whether it is {self._region}"
            return f"{subject} is {self._told(estimate.value)}{interval}{where}."
        where = f"{place[verdict([self.apply(estimate)])]}{self._region}"
        return f"{subject} is {self._told(estimate.value)}{interval}{where}."

    def to_dict(self, estimate: Estimate) -> dict[str, Any]:
        """Criterion and estimate as plain values for JSON."""
        return jsonable(
            vars(self)
            | {"value": estimate.value, "ci95": estimate.ci95, "n": estimate.n}
            | {"verdict": verdict([self.apply(estimate)]), "comparison": self.compare(estimate)}
        )

    @property
    def _region(self) -> str:
        space = "" if self.region == "within" else " "
        unit = f" {self.unit}" if self.unit not in ("", "%") else ""
        return f"{WORDS[self.region]}{space}{self._told(self.margin)}{unit}"

    def _told(self, value: float) -> str:
        return f"{100 * value:.3g}%" if self.unit == "%" else f"{value:.3g}"


def verdict(tests: Sequence[PValues]) -> Verdict:
    """Supported if every figure lies inside its region, refuted if one lies outside after Holm's adjustment.

    >>> inside, outside, open = PValues(0.01, 0.99), PValues(0.99, 0.01), PValues(0.5, 0.5)
    >>> verdict([inside]), verdict([inside, outside]), verdict([inside, open])
    ('supported', 'refuted', 'inconclusive')
    """
    if tests and all(test.inside < LEVEL for test in tests):  # NaN is not
        return "supported"
    if tests and np.any(stats.holm([test.outside for test in tests]) < LEVEL):
        return "refuted"
    return "inconclusive"
