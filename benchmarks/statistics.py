"""What the statistics cost, and whether they keep their promises.

    python benchmarks/statistics.py                      all parts, as tables
    python benchmarks/statistics.py --parts rates --json one part, as one JSON object

Parts: `million`, the full comparison of two arms over a million trials, seconds and peak memory; `rates`, by
simulation: how often intervals cover the truth, and how often tests at 5% reject when there is nothing to find, or
claim equivalence on the margin.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

if not __package__:  # run as a file: modules are looked up from the checkout; and this folder hides `statistics`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import tyro
import xarray as xr
from rich.console import Console
from rich.table import Table

from benchmarks import machine, report
from benchmarks.harness import Contender, Ratio, measure, say
from benchmarks.processes import run_process
from benchmarks.report import Part
from jaxinv import stats

MILLION_GOAL_S, MEMORY_GOAL_GIB = 2.0, 1.0
COVERAGE, LEVEL = (0.935, 0.965), (0.04, 0.06)

Name = Literal["million", "rates"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and how often."""

    parts: tuple[Name, ...] = ("million", "rates")
    """Which parts."""
    repeats: int = 11
    """Samples of each contender."""
    simulations: int = 10_000
    """Simulated experiments behind each rate."""
    seed: int = 0
    """Root of all randomness."""
    json: bool = False
    """One JSON object on standard output, instead of tables."""
    tiny: bool = False
    """Small samples: does it all work?"""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.tiny:
        options = replace(options, repeats=2, simulations=20)
    parts = {name: MEASURES[name](options) for name in options.parts}
    if options.json:
        facts = {"benchmark": "statistics", **machine.describe(), "scipy": metadata.version("scipy")}
        report.print_json({**facts, "parts": {name: part.to_dict() for name, part in parts.items()}})
    else:
        for part in parts.values():
            part.show(report.console())


# --- a million trials --------------------------------------------------------------------------------------------


def measure_million(options: Options) -> Part:
    """`compare` with every statistic it has, warm; and the peak memory of a process that does nothing else."""
    trials = 5000 if options.tiny else 1_000_000
    results = stored_results(trials, options.seed)

    def run() -> np.ndarray:
        return np.array([stats.compare(results, "normal", "inverted", margin=0.001).p_value])

    contender = Contender("compare", "compare", lambda: run)
    measure([contender], min(options.repeats, 5), say)
    alone = (
        f"from benchmarks import statistics as s; s.stats.compare(s.stored_results({trials}, 0), 'normal', 'inverted')"
    )
    peak = run_process([sys.executable, "-c", alone], cwd=str(machine.ROOT)).peak_bytes / 2**30
    middle = contender.median_s or 0.0
    return Part(
        title=f"Comparing two arms over {trials:,} trials",
        contenders=[contender],
        ratios=[
            Ratio(what="seconds", value=middle, low=min(contender.samples_s), high=middle, at_most=MILLION_GOAL_S),
            Ratio(what="peak GiB of a process", value=peak, low=peak, high=peak, at_most=MEMORY_GOAL_GIB),
        ],
        facts={"trials": trials, "peak_gib": peak},
    )


def stored_results(trials: int, seed: int) -> xr.Dataset:
    """Results as a run stores them: two arms whose accuracies, out of 10,000 images, hardly differ."""
    a, b = paired_arms(np.random.default_rng(seed), trials, gap=0.0001)
    dims = ("arm", "learning_rate", "trial", "step")
    accuracy = np.round([0.85 + a, 0.85 + b], 4).astype(np.float32)[:, None, :, None]
    return xr.Dataset(
        {"accuracy": (dims, accuracy), "diverged": (dims[:3], np.zeros(accuracy.shape[:3], bool))},
        coords={"arm": ["normal", "inverted"], "learning_rate": [0.5], "trial": np.arange(trials), "step": [50]},
    )


# --- rates -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How often something happened in simulated experiments, and how often it should."""

    what: str
    value: float
    allowed: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "held": self.held}

    @property
    def held(self) -> bool:
        return self.allowed[0] <= self.value <= self.allowed[1]


@dataclass(frozen=True)
class Rates:
    """All rates, each over so many simulated experiments."""

    simulations: int
    rates: list[Rate]

    def to_dict(self) -> dict[str, Any]:
        return {"simulations": self.simulations, "rates": [rate.to_dict() for rate in self.rates]}

    def show(self, console: Console) -> None:
        table = Table(title=f"Rates over {self.simulations:,} simulated experiments", title_justify="left")
        table.add_column("statistic")
        for heading in ("rate", "allowed", "held"):
            table.add_column(heading, justify="right")
        for rate in self.rates:
            allowed = f"{rate.allowed[0]:g} to {rate.allowed[1]:g}"
            table.add_row(rate.what, f"{rate.value:.4f}", allowed, "yes" if rate.held else "no")
        console.print(table)


def measure_rates(options: Options) -> Rates:
    """Coverage of 95% intervals, and rejections at 5%, when the truth is known."""
    rng, many = np.random.default_rng(options.seed), options.simulations
    rates: list[Rate] = []

    def covers(what: str, hits: Any) -> None:
        rates.append(Rate(what=f"{what}: 95% interval covers", value=float(np.mean(hits)), allowed=COVERAGE))

    def rejects(what: str, hits: Any, verb: str = "rejects") -> None:
        rates.append(Rate(what=f"{what}: {verb}", value=float(np.mean(hits)), allowed=LEVEL))

    for n in (3, 10, 100):
        say(f"rates: t, n = {n}")
        test = stats.paired_t(*paired_arms(rng, (many, n)))
        covers(f"paired t, n = {n}", (test.ci95[0] <= 0) & (test.ci95[1] >= 0))
        rejects(f"paired t, n = {n}", test.p_value < 0.05)
    test = stats.welch(rng.normal(size=(many, 20)), 3 * rng.normal(size=(many, 12)))
    covers("Welch's t, n = 20 and 12", (test.ci95[0] <= 0) & (test.ci95[1] >= 0))
    rejects("Welch's t, n = 20 and 12", test.p_value < 0.05)
    for n in (14, 60):
        say(f"rates: ranks and signs, n = {n}")
        pairs = list(zip(*paired_arms(rng, (many, n)), strict=True))
        rejects(f"Wilcoxon, n = {n}", [stats.wilcoxon(*pair).p_value < 0.05 for pair in pairs])
        flips = [stats.sign_flip(*pair, resamples=999, seed=k).p_value < 0.05 for k, pair in enumerate(pairs)]
        rejects(f"sign flips, n = {n}", flips)
    for n in (10, 100):
        say(f"rates: equivalence, n = {n}")
        pairs = zip(*paired_arms(rng, (many, n), gap=0.02), strict=True)
        claims = [stats.tost(*pair, margin=0.02).equivalent for pair in pairs]
        rejects(f"equivalence, n = {n}, on its margin", claims, "claimed")
    a, b = paired_arms(rng, (many, 100))
    for method in ("bca", "percentile"):
        say(f"rates: bootstrap, {method}")
        drawn = [stats.bootstrap_interval(d, method=method, resamples=2000, seed=k) for k, d in enumerate(a - b)]
        covers(f"bootstrap {method}, n = 100", [one.low <= 0 <= one.high for one in drawn])
    say("rates: trials and test images")
    covers("new trials on new test images", [image_interval_covers(rng) for _ in range(many)])
    return Rates(many, rates)


def image_interval_covers(rng: np.random.Generator, trials: int = 20, images: int = 200) -> bool:
    """Whether the interval for new trials on new images holds the 0 that is true over both."""
    shape = (trials, images)
    shared = rng.normal(size=(1, images)) + 0.5
    arms = [
        shared + 0.6 * rng.normal(size=(1, images)) + 0.3 * rng.normal(size=(trials, 1)) + rng.normal(size=shape) > 0
        for _ in range(2)
    ]
    low, high = stats.variation(*arms).new_trials_and_images.ci95
    return low <= 0 <= high


def paired_arms(rng: np.random.Generator, shape: Any, gap: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies around 0 of two arms whose trials share half of their variance."""
    shared = rng.normal(0, 0.01, shape)
    return shared + rng.normal(gap, 0.01, shape), shared + rng.normal(0, 0.01, shape)


MEASURES: dict[Name, Callable[[Options], Part | Rates]] = {
    "million": measure_million,
    "rates": measure_rates,
}


if __name__ == "__main__":
    main()
