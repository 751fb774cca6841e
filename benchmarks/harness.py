"""Measuring: contenders in turn, repeat after repeat, every sample kept, and the ratios between them."""

import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.jobs import Job
from benchmarks.machine import busy_seconds
from benchmarks.peers import Run, peers_of

SETTLE_S = 0.1  # after a run, threads of its library may still be spinning for more work


class Disagreement(RuntimeError):
    """Contenders that should have done the same work got different results, so their times mean nothing."""


@dataclass
class Contender:
    """Somebody who can do the job.

    Attributes:
      name, title: for JSON and for tables.
      prepare: converts data, which is not timed; returns what is timed, a function that ends when its result is there.
      skipped: why it does not take part, or None.
      first_s: seconds of the first run, which compiles whatever there is to compile.
      samples_s: seconds of each later run.
      others: for each sample, the share of the machine's processor time that other processes had meanwhile.
      result: of the first run.
    """

    name: str
    title: str
    prepare: Callable[[], Run]
    skipped: str | None = None
    first_s: float | None = None
    samples_s: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    result: np.ndarray | None = None

    @property
    def median_s(self) -> float | None:
        return float(np.median(self.samples_s)) if self.samples_s else None

    def to_dict(self, arms: Sequence[str] = ()) -> dict[str, Any]:
        """JSON values. `arms` name the rows of the result, whose means are then given."""
        facts = {"name": self.name, "title": self.title, "skipped": self.skipped, "first_s": self.first_s}
        facts |= {"median_s": self.median_s, "samples_s": self.samples_s, "others": self.others}
        if self.result is not None and arms:
            facts["accuracy"] = {arm: float(row.mean()) for arm, row in zip(arms, self.result, strict=True)}
        return facts


def peer_contenders(job: Job, only: Sequence[str] = ()) -> list[Contender]:
    """The peers that can do this job, or those of them that are named."""
    chosen = [peer for peer in peers_of(job.model) if not only or peer.name in only]
    return [Contender(peer.name, peer.title, lambda peer=peer: peer.prepare(job), peer.missing) for peer in chosen]


def measure(
    contenders: Sequence[Contender],
    repeats: int,
    say: Callable[[str], None] = lambda text: None,
    between: Callable[[], None] = lambda: None,
) -> None:
    """Warm each contender up, then take one sample of each, `repeats` times, beginning with another each time."""
    ready: list[tuple[Contender, Run]] = []
    for contender in contenders:
        if contender.skipped is None:
            say(f"{contender.title}: first run")
            run = contender.prepare()
            start = time.perf_counter()
            contender.result = np.asarray(run())
            contender.first_s = time.perf_counter() - start
            ready.append((contender, run))
    for repeat in range(repeats):
        between()
        turn = repeat % max(len(ready), 1)
        for contender, run in ready[turn:] + ready[:turn]:
            say(f"repeat {repeat + 1} of {repeats}: {contender.title}")
            seconds, others = sample(run)
            contender.samples_s.append(seconds)
            contender.others.append(others)


def sample(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds of one run, and the share of the machine that other processes had meanwhile (NaN: not told)."""
    gc.collect()
    time.sleep(SETTLE_S)
    busy, own, start = busy_seconds(), _own_seconds(), time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    foreign = busy_seconds() - busy - (_own_seconds() - own)
    return seconds, max(0.0, foreign / (seconds * (os.cpu_count() or 1)))


def _own_seconds() -> float:
    """Processor time of this process and of those that it has started and seen end."""
    return sum(os.times()[:4])


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One number held against another in the same run.

    Attributes:
      what: the two, as "numerator / denominator".
      value: ratio of the medians.
      low, high: quartiles of the ratios within each repeat.
      at_least, at_most: the goal, if there is one.
    """

    what: str
    value: float
    low: float
    high: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        if self.at_least is None and self.at_most is None:
            return None
        return self.value >= (self.at_least or 0.0) and self.value <= (self.at_most or np.inf)

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "met": self.met}


def ratio(
    what: str,
    numerator: Sequence[float],
    denominator: Sequence[float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Ratio:
    """The ratio of two sets of samples, taken in the same repeats."""
    low, high = np.quantile(np.divide(numerator, denominator), [0.25, 0.75])
    value = float(np.median(numerator) / np.median(denominator))
    return Ratio(what=what, value=value, low=float(low), high=float(high), at_least=at_least, at_most=at_most)


def check_agreement(contenders: Sequence[Contender], tolerance: float) -> dict[str, float]:
    """Every accuracy [A, T] of every contender within `tolerance` of the first one's.

    Raises:
      Disagreement: naming the contender, the difference and the tolerance.
    """
    reference, *others = [contender for contender in contenders if contender.result is not None]
    differences = {}
    for other in others:
        assert reference.result is not None
        assert other.result is not None
        differences[other.name] = float(np.abs(other.result - reference.result).max())
        if not differences[other.name] <= tolerance:  # NaN is a disagreement too
            raise Disagreement(
                f"{other.title} and {reference.title} differ by {differences[other.name]:.4f} in the accuracy of a "
                f"trial; allowed: {tolerance}"
            )
    return differences


def check_means(contenders: Sequence[Contender], arms: Sequence[str]) -> None:
    """Each arm's mean accuracy within four standard errors of the first contender's, or within 0.002.

    Where training is unstable (`inverted` at this learning rate), rounding decides how a trial ends, and only its
    distribution can agree; `check_agreement` on a few steps is what shows that the work is the same.

    Raises:
      Disagreement: naming the contender, the arm, the difference and what is allowed.
    """
    reference, *others = [contender for contender in contenders if contender.result is not None]
    for other in others:
        assert reference.result is not None
        assert other.result is not None
        for arm, ours, theirs in zip(arms, reference.result, other.result, strict=True):
            allowed = max(0.002, 4 * float(np.hypot(ours.std(), theirs.std())) / len(ours) ** 0.5)
            if not abs(theirs.mean() - ours.mean()) <= allowed:
                raise Disagreement(
                    f"mean accuracy under {arm}: {theirs.mean():.4f} of {other.title}, {ours.mean():.4f} of "
                    f"{reference.title}; allowed difference: {allowed:.4f}"
                )


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)
