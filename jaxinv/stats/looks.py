"""The looks at a run's trials that end it, and why it ended."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinv.errors import InputError, whole
from jaxinv.stats import checks
from jaxinv.stats.bernstein import LARGEST_BET, RunningBernstein
from jaxinv.stats.sequential import AnytimeInterval, RunningMoments, first_look, trials_for
from jaxinv.stats.stopping import Until
from jaxinv.utils.jsonable import jsonable
from jaxinv.utils.text import interval, listed, number, plural

FIRST_DOUBT = 100
"""Trials after which a width is given up that `max_trials` would not reach if trials spread half as much as they do."""


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Why a run ended after n trials: the rule that held there, or "max_trials".

    `interval` is the anytime-valid one of the mean difference at n. `needed` says roughly how many trials would be
    needed, where the run ended without an answer and a width was asked for.
    """

    n: int
    reason: str
    mean: float
    interval: tuple[float, float]
    needed: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an end that is not finite becomes None."""
        return jsonable(self)


def next_look(n: int) -> int:
    """The number of trials of the next look, after n: numbers of two digits and zeros, from 10 on.

    >>> [next_look(n) for n in (0, 10, 995, 1000, 1234, 99_999)]
    [10, 20, 1000, 1100, 1300, 100000]
    """
    step = 10 ** max(1, len(str(n)) - 2)
    return (n // step + 1) * step


class Looks:
    """The looks at a run's trials, in their order, until one of them answers what is asked.

    Attributes:
      n: trials taken.
      stop: why the run ends; None while it goes on.
    """

    def __init__(self, until: Until, most: int, grain: float = 0.0) -> None:
        """`most`: trials after which the run ends anyway. `grain`: the step in which the metric moves."""
        self.until, self.most, self.grain = until, whole("max_trials", most), checks.step(grain)
        self.n = 0
        self._seen = RunningBernstein((-1.0, 1.0), until.confidence) if until.anytime == "exact" else RunningMoments()
        self._waiting: list[np.ndarray] = []
        self._looked = 0
        self._largest = 0.0
        self._first = 1 if until.anytime == "exact" else first_look(until.confidence)
        self.stop: Stop | None = None
        self._check_reachable()

    def take(self, a: Any, b: Any) -> Stop | None:
        """Take the values of both arms in the next trials [T]. Pairs with a value that is not finite are left out.

        Raises:
          InputError: at the look at 100 trials, a width that is out of reach.
        """
        both = np.stack([np.asarray(a, np.float64), np.asarray(b, np.float64)])
        while self.stop is None and both.shape[1]:
            due = min(next_look(self._looked), self.most)
            part, both = both[:, : due - self.n], both[:, due - self.n :]
            self._waiting.append(part)
            self.n += part.shape[1]
            if self.n == due:
                self._look()
        return self.stop

    def _look(self) -> None:
        """Look. What has come since the last look is taken in one piece, so that no rounding depends on the blocks."""
        a, b = np.concatenate(self._waiting, axis=1)
        self._waiting, self._looked = [], self.n
        kept = np.isfinite(a) & np.isfinite(b)
        self._largest = max(self._largest, *(float(np.abs(side[kept]).max(initial=0.0)) for side in (a, b)))
        self._seen = self._seen.add(a[kept] - b[kept])
        if self.n < self.most and self._seen.n < self._first:
            return
        look = self._now()
        reason = self.until.met(look)
        if reason is None and self._looked == FIRST_DOUBT and self.most > FIRST_DOUBT:
            self._doubt()
        if reason is None and self.n < self.most:
            return
        needed = self._needed(1.0) if reason is None else None
        ends = (float(look.ci[0]), float(look.ci[1]))
        self.stop = Stop(n=self.n, reason=reason or "max_trials", mean=float(look.mean), interval=ends, needed=needed)

    def _now(self) -> AnytimeInterval:
        if isinstance(self._seen, RunningBernstein):
            return self._seen.look()
        return self._seen.look(confidence=self.until.confidence, grain=self._step)

    @property
    def _step(self) -> float:
        """The step in which values move; metrics are float32, so their differences have a smallest one anyway."""
        return max(self.grain, self._largest * 2.0**-22)

    def _needed(self, share: float) -> int | None:
        """How many trials the width asks for, roughly, if the spread is this share of what it is so far."""
        width = self.until.width
        if width is None or self._seen.n < 2:
            return None
        sd = self._seen.sd
        spread = max(share * sd, self._step / 2)
        return trials_for(width / spread, self.until.confidence) if spread > 0 else None

    def _doubt(self) -> None:
        likely, least = self._needed(1.0), self._needed(0.5)
        if likely is None or least is None or least <= self.most:
            return
        field = "half_width" if self.until.half_width == self.until.width else "within"
        raise InputError(
            f"{field}: {self.until.width:g} needs {'at least' if self.until.anytime == 'exact' else 'about'} "
            f"{_round(likely):,} trials, by the first {self._looked}, and max_trials is {self.most:,}; give that many, "
            f"or a larger {field}"
        )

    def _check_reachable(self) -> None:
        """Refuse, before a trial is computed, what `most` trials cannot show even if they did not vary at all."""
        until, most = self.until, self.most
        if until.anytime == "exact":
            bound = -2 * math.log((1 - until.confidence) / 2) / LARGEST_BET
            first, needed = math.ceil(bound), None if until.width is None else math.ceil(bound / until.width)
        else:
            first, needed = self._first, None
            if until.width is not None and self.grain:
                needed = trials_for(2 * until.width / self.grain, until.confidence)
        if most < first:
            raise InputError(
                f"max_trials: {most} is too few for an anytime interval, which begins with {first}; give {first}"
            )
        if needed is not None and needed > most:
            field = "half_width" if until.half_width == until.width else "within"
            raise InputError(
                f"{field}: {until.width:g} is out of reach of {most:,} trials; it needs {_round(needed):,} or more "
                f"even where trials hardly differ; give as many, or a larger {field}"
            )


def stop_sentence(record: Mapping[str, Any]) -> str:
    """Why a run ended, and what that saved, from what the run's attribute `until` holds; "" while it goes on."""
    stop = record.get("stop")
    if stop is None:
        return ""
    names = f"{record['arm_a']} - {record['arm_b']}"
    at = record.get("learning_rate")
    if at is not None:
        names += f" at {' and '.join(f'{rate:g}' for rate in (at if isinstance(at, list) else [at]))}"
    low, high = stop["interval"]
    form = "+.5f" if record["metric"] == "accuracy" else "+.5g"
    known = low is not None and high is not None
    what = f"the anytime {100 * record['confidence']:g}% interval of the mean difference in {record['metric']}, {names}"
    seen = f"{what}, {interval((low, high), form)}," if known else f"{what},"
    most, n = record["max_trials"], stop["n"]
    if stop["reason"] == "max_trials":
        asked = {
            "half_width": lambda v: f"is not within ± {v:g} of its middle",
            "difference_from": lambda v: f"does not leave out {v:g}",
            "within": lambda v: f"does not lie between {number(-v, 'g')} and {v:g}",
        }
        failed = [say(record[name]) for name, say in asked.items() if record[name] is not None]
        needed = stop["needed"]
        more = f" About {_round(needed):,} trials would be needed." if needed is not None and needed > n else ""
        return f"The run ended at its maximum of {plural(n, 'trial')} without an answer: {seen} {listed(failed)}.{more}"
    half = ((high or 0.0) - (low or 0.0)) / 2
    found = {
        "half_width": lambda: f"is ± {half:.3g}, no wider than the ± {record['half_width']:g} asked for",
        "difference_from": lambda: f"leaves out {record['difference_from']:g}",
        "within": lambda: f"lies within ± {record['within']:g}",
    }
    saved = f", {most - n:,} fewer than its maximum of {most:,}" if n < most else ""
    return f"The run stopped by itself after {plural(n, 'trial')}{saved}: {seen} {found[stop['reason']]()}."


def _round(n: int) -> int:
    """Up to two digits: it is a rough guess."""
    unit = 10 ** max(0, len(str(n)) - 2)
    return -(-n // unit) * unit
