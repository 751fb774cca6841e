"""What a run is to find out about two arms before it stops by itself."""

import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from jaxinv.errors import InputError, number, unknown
from jaxinv.stats import checks
from jaxinv.stats.sequential import AnytimeInterval
from jaxinv.utils.jsonable import jsonable

MAX_TRIALS = 10_000
"""Trials after which a run ends without an answer, where nothing else is said."""
GRAMMAR = '"A-B ± 0.001", "A-B != 0" or "A-B within 0.005", several joined by "or"'

_RULE = re.compile(r"(?P<sign>±|\+-|\+/-|!=|≠|\bwithin\b)\s*(?P<value>[^\s±]+)\s*$")
_RATES = re.compile(r"\s+at\s+(?P<a>\S+)(?:\s+and\s+(?P<b>\S+))?\s*$")
_FIELDS = {"±": "half_width", "+-": "half_width", "+/-": "half_width", "within": "within"}
_FIELDS |= {"!=": "difference_from", "≠": "difference_from"}


@dataclass(frozen=True)
class Until:
    """What a run is to find out about two arms; with the answer, it stops.

    The run looks at the anytime-valid interval of the mean paired difference, a - b, after 10, 20, ... 1,000 trials,
    after 1,100, 1,200, ... 10,000, and so on, always at the first so many trials. It stops at the first look at which
    one of the rules that are given holds. Where that is depends on the study alone.

    Attributes:
      arm_a, arm_b: names of two of the study's arms.
      half_width: stop when the interval is no wider than ± this.
      difference_from: stop when the interval leaves this value out; 0: when the arms differ.
      within: stop when the interval lies between minus this and this: the arms are equivalent.
      metric: of which the difference is taken, after the last step.
      learning_rate: one of the study's, or a pair (a's, b's); needed where there are several.
      anytime: "asymptotic" for any metric, or "exact" for accuracies, which takes several times as many trials.
      confidence: chance that no look misses the mean difference.

    Raises:
      InputError: no rule, or a value that makes no sense.

    >>> Until("normal", "inverted", half_width=0.001).text
    'normal-inverted ± 0.001'
    """

    arm_a: str
    arm_b: str
    _: KW_ONLY
    half_width: float | None = None
    difference_from: float | None = None
    within: float | None = None
    metric: str = "accuracy"
    learning_rate: float | tuple[float, float] | None = None
    anytime: str = "asymptotic"
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name in ("half_width", "within"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, checks.positive(name, value))
        if self.difference_from is not None:
            object.__setattr__(self, "difference_from", number("difference_from", self.difference_from))
        if (self.half_width, self.difference_from, self.within) == (None, None, None):
            raise InputError("until: no rule is given; give half_width, difference_from or within")
        checks.choice("anytime", self.anytime, ("asymptotic", "exact"))
        if self.anytime == "exact" and self.metric != "accuracy":
            raise InputError(
                f"anytime: 'exact' is not allowed for {self.metric}, which has no bounds; give 'asymptotic'"
            )
        checks.probability("confidence", self.confidence)
        if isinstance(self.learning_rate, list | tuple):
            if len(self.learning_rate) != 2:
                raise InputError(f"learning_rate: {self.learning_rate!r} is not allowed; give one, or one for each arm")
            object.__setattr__(self, "learning_rate", tuple(float(rate) for rate in self.learning_rate))
        if self.arm_a == self.arm_b and not isinstance(self.learning_rate, tuple):
            raise InputError(f"until: {self.arm_a!r} is given twice; give two arms")

    @classmethod
    def parse(cls, text: str, arms: Sequence[str], **options: Any) -> "Until":
        """What a text asks of two of these arms: "normal-inverted ± 0.001", "a-b != 0 or within 0.005 at 0.5".

        `at` names the learning rate where there are several; "at 0.5 and 0.05" gives each arm its own.

        >>> Until.parse("normal-inverted != 0 or within 0.005", ("normal", "inverted")).text
        'normal-inverted != 0 or within 0.005'
        """
        rest = text.strip()
        if (found := _RATES.search(rest)) is not None:
            rates = tuple(_number(text, word) for word in found.groups() if word is not None)
            options["learning_rate"] = rates if len(rates) == 2 else rates[0]
            rest = rest[: found.start()]
        rules: dict[str, float] = {}
        while (found := _RULE.search(rest)) is not None:
            field = _FIELDS[found["sign"]]
            if field in rules:
                raise InputError(f"until: {text!r} says the same kind of rule twice; give {GRAMMAR}")
            rules[field] = _number(text, found["value"])
            rest = rest[: found.start()].rstrip()
            if not re.search(r"\bor$", rest):
                break
            rest = rest[:-2].rstrip()
        if not rules:
            raise InputError(f"until: {text!r} cannot be read; give {GRAMMAR}")
        return cls(*_two_arms(rest, arms), **rules, **options)

    @property
    def text(self) -> str:
        """The question as `parse` reads it."""
        return f"{self.arm_a}-{self.arm_b} {self.rules}{self._at}"

    @property
    def rules(self) -> str:
        """The rules alone."""
        signs = {"half_width": "±", "difference_from": "!=", "within": "within"}
        given = ((sign, getattr(self, name)) for name, sign in signs.items())
        return " or ".join(f"{sign} {value:g}" for sign, value in given if value is not None)

    @property
    def _at(self) -> str:
        rates = self.learning_rate if isinstance(self.learning_rate, tuple) else (self.learning_rate,)
        return "" if rates == (None,) else f" at {' and '.join(f'{rate:g}' for rate in rates)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        fields = ("arm_a", "arm_b", "half_width", "difference_from", "within", "metric", "learning_rate", "anytime")
        return {"text": self.text, **jsonable({name: getattr(self, name) for name in (*fields, "confidence")})}

    def met(self, look: AnytimeInterval) -> str | None:
        """Which rule holds at a look, by its field; None: none does."""
        low, high = look.ci
        if not (np.isfinite(low) and np.isfinite(high)):
            return None
        if self.difference_from is not None and not low <= self.difference_from <= high:
            return "difference_from"
        if self.within is not None and -self.within < low and high < self.within:
            return "within"
        if self.half_width is not None and (high - low) / 2 <= self.half_width:
            return "half_width"
        return None

    @property
    def width(self) -> float | None:
        """The half-width that the interval has to reach, where no other rule could end the run before."""
        widths = [width for width in (self.half_width, self.within) if width is not None]
        return max(widths) if widths and self.difference_from is None else None


def check_until(until: Until, arms: Sequence[str], rates: Sequence[float], metrics: Sequence[str]) -> None:
    """InputError where a study has not the arms, learning rates or metric that `until` is about."""
    for field, arm in (("until", until.arm_a), ("until", until.arm_b)):
        if arm not in arms:
            raise unknown(field, arm, arms)
    if until.metric not in metrics:
        raise unknown("metric", until.metric, metrics)
    shown = ", ".join(f"{rate:g}" for rate in rates)
    if until.learning_rate is None and len(rates) > 1:
        raise InputError(f'until: the study has several learning rates; give one of {shown} ("… at {rates[0]:g}")')
    asked = until.learning_rate if isinstance(until.learning_rate, tuple) else (until.learning_rate,)
    for rate in asked:
        if rate is not None and not np.isclose(rates, rate, rtol=1e-5, atol=0.0).any():
            raise InputError(f"until: learning rate {rate:g} is not in the study; give one of {shown}")


def _number(text: str, word: str) -> float:
    try:
        return number("until", float(word))
    except ValueError:
        raise InputError(f"until: {word!r} in {text!r} is no number; give {GRAMMAR}") from None


def _two_arms(text: str, arms: Sequence[str]) -> tuple[str, str]:
    """The arms on both sides of a minus sign, of which their names may have some as well."""
    places = [place for place, letter in enumerate(text) if letter in "-−"]
    splits = [(text[:place].strip(), text[place + 1 :].strip()) for place in places]
    for a, b in splits:
        if a in arms and b in arms:
            return a, b
    if not splits:
        raise InputError(f"until: {text!r} is no difference of two arms; give A-B, of {', '.join(arms)}")
    missing = next(name for pair in splits[:1] for name in pair if name not in arms)
    raise unknown("until", missing, arms)
