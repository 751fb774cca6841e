"""What a claim is, and what comes out when it is judged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jaxinv.experiments.claims.estimates import NAN, Cause, Estimate
from jaxinv.experiments.claims.rule import Criterion, Verdict, verdict
from jaxinv.utils.jsonable import jsonable
from jaxinv.utils.text import points

if TYPE_CHECKING:
    from jaxinv.experiments.claims.study_cache import StudyCache


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What trials say about a claim.

    Attributes:
      estimates: one for each criterion; none where nothing can be estimated.
      explanation: one sentence with numbers.
      effect: the figure to show; by default the first estimate.
      diverged: how many diverged trainings are among those that the figures include.
      causes: what brings back how much of the accuracy that inverting costs.
      premise: whether the data are such that the claim says something of them.
    """

    estimates: Sequence[Estimate] = ()
    explanation: str
    effect: Estimate | None = None
    diverged: int = 0
    causes: Sequence[Cause] = ()
    premise: bool = True


def absent(why: str) -> Measurement:
    """What is said where the premise of a claim is absent."""
    return Measurement(explanation=why, premise=False)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What came out of a claim.

    Attributes:
      verdict: by the claim's rule.
      effect, ci95: the figure to show, in `unit`, and its 95% interval over new trials. An interval of width 0 belongs
        to a figure that is no matter of chance.
      n: how many trials, or whatever `unit` says, it rests on.
      unit: what the effect is.
      explanation: one sentence with numbers.
      diverged: how many diverged trainings are among those that the figures include.
      criteria: each criterion and its figure, as plain values.
      causes: what brings back how much of the accuracy that inverting costs, as plain values.
    """

    verdict: Verdict
    effect: float
    ci95: tuple[float, float]
    n: int
    unit: str
    explanation: str
    diverged: int = 0
    criteria: Sequence[dict[str, Any]] = ()
    causes: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence from one of two public discussions, and how it is judged.

    Attributes:
      name: for the command line.
      source: the discussion, and who says so there.
      statement: what is claimed, in our words.
      method: studies and statistics, in sentences.
      criteria: what has to hold for the claim to be supported.
      unit: what the effect is.
      measure: runs, or reads, the trials, and estimates the figures of the criteria, in their order.
    """

    name: str
    source: str
    statement: str
    method: str
    criteria: Sequence[Criterion]
    unit: str
    measure: "Callable[[StudyCache], Measurement]"

    @property
    def rule(self) -> str:
        """Method and criteria in sentences: fixed before any trial."""
        return f"{self.method} Supported if {', and '.join(criterion.sentence for criterion in self.criteria)}."

    def on(self, images: str) -> "Claim":
        """The claim in the words that name the images it is tested on; it was made about MNIST."""
        return replace(self, statement=self.statement.replace("MNIST", images))

    def judge(self, studies: "StudyCache") -> Judgement:
        """Measure, and apply the rule."""
        measured = self.measure(studies)
        found = list(zip(self.criteria, measured.estimates, strict=True)) if measured.estimates else []
        effect = measured.effect or (measured.estimates[0] if measured.estimates else None)
        return Judgement(
            verdict=verdict([criterion.apply(estimate) for criterion, estimate in found])
            if measured.premise
            else "premise absent",
            effect=effect.value if effect else NAN,
            ci95=effect.ci95 if effect else (NAN, NAN),
            n=effect.n if effect else 0,
            unit=self.unit,
            explanation=measured.explanation,
            diverged=measured.diverged,
            criteria=[criterion.to_dict(estimate) for criterion, estimate in found],
            causes=[cause.to_dict() for cause in measured.causes],
        )

    def to_dict(self, judgement: Judgement) -> dict[str, Any]:
        """Claim and judgement as plain values for JSON."""
        fields = {name: getattr(self, name) for name in ("name", "source", "statement", "rule")}
        return jsonable(fields | vars(judgement))


def more(difference: float) -> str:
    """A difference of accuracies in words that follow its sign.

    >>> more(0.0531), more(-0.01)
    ('5.3 points more', '1.0 points less')
    """
    return f"{points(abs(difference))} {'more' if difference >= 0 else 'less'}"
