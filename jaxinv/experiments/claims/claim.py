"""What a claim is, and what is found out about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jaxinv.experiments.claims.evidence import NAN, Estimate, Verdict
from jaxinv.utils.jsonable import jsonable

if TYPE_CHECKING:
    from jaxinv.experiments.claims.lab import Lab

INVERSION = "https://stats.stackexchange.com/q/220164"
NORMALISATION = "https://stats.stackexchange.com/q/211436"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the trials say of a claim.

    Attributes:
      verdict: by the claim's rule.
      effect, ci95: the figure that decided, in `unit`, and its 95% interval over new trials. An interval of width 0
        belongs to a figure that is no matter of chance.
      n: how many trials, or whatever `unit` says, it rests on.
      unit: what the effect is.
      explanation: one sentence with numbers.
    """

    verdict: Verdict
    effect: float
    ci95: tuple[float, float]
    n: int
    unit: str
    explanation: str


def finding(verdict: Verdict, estimate: Estimate, unit: str, explanation: str) -> Finding:
    """The finding whose deciding figure is an estimate."""
    return Finding(
        verdict=verdict,
        effect=estimate.value,
        ci95=estimate.ci95,
        n=estimate.n,
        unit=unit,
        explanation=explanation,
    )


def untestable(unit: str, why: str) -> Finding:
    """Inconclusive, because what the claim speaks of is not there."""
    return Finding(verdict="inconclusive", effect=NAN, ci95=(NAN, NAN), n=0, unit=unit, explanation=why)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence from one of two public discussions, and how it is judged.

    Attributes:
      name: for the command line.
      source: the discussion, and who says so there.
      statement: what is claimed, in our words.
      rule: study, statistic, margin, and when the claim counts as supported or refuted: fixed before any trial.
      judge: runs, or reads, the trials and applies the rule.
    """

    name: str
    source: str
    statement: str
    rule: str
    judge: "Callable[[Lab], Finding]"

    def to_dict(self, found: Finding) -> dict[str, Any]:
        """Claim and finding as plain values for JSON."""
        fields = {name: getattr(self, name) for name in ("name", "source", "statement", "rule")}
        return jsonable(fields | vars(found))


def points(share: float, digits: int = 1) -> str:
    """A difference of accuracies in words.

    >>> points(0.0531), points(0.01)
    ('5.3 points', '1.0 points')
    """
    return f"{100 * share:.{digits}f} points"


def percent(share: float, digits: int = 1) -> str:
    """An accuracy in words.

    >>> percent(0.91879, 2)
    '91.88%'
    """
    return f"{100 * share:.{digits}f}%"
