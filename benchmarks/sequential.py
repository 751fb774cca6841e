"""Whether what may be looked at any time keeps its promise, by simulation; and what it costs.

    python benchmarks/sequential.py                        all parts, as tables
    python benchmarks/sequential.py --parts coverage --json one part, as one JSON object

Parts: `coverage`, how often a run has any look, of all from the first to the 10,000th trial, whose interval misses the
true mean, which is how often continuous looking finds what is not there; `widths`, against the fixed interval and the
papers' own sequences; `stopping`, trials that a run takes which stops by itself, against a fixed number of trials that
somebody chooses who knows the effect; `tiny`, how often an arm differs from itself, in few trials on few test images;
`speed`, one look at a million trials.
"""

import itertools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

if not __package__:  # run as a file: modules are looked up from the checkout; and this folder hides `statistics`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import tyro
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from scipy import special

from benchmarks import machine, report
from benchmarks.harness import Contender, Ratio, measure, say
from benchmarks.report import Part
from jaxinv import stats
from jaxinv.stats.bernstein import LARGEST_BET
from jaxinv.stats.few_trials import FEWEST
from jaxinv.stats.looks import next_look
from jaxinv.stats.sequential import PRIOR_VARIANCE, look_of

PROMISED = 0.05
GRAIN = 0.0001  # of accuracies on 10,000 test images
SPREAD = 0.0085  # of differences of accuracies, in the published job
LOOK_GOAL_MS = 50.0
BATCH = 100  # runs simulated together

Name = Literal["coverage", "widths", "stopping", "tiny", "speed"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to simulate, and how often."""

    parts: tuple[Name, ...] = ("coverage", "widths", "stopping", "tiny", "speed")
    """Which parts."""
    simulations: int = 10_000
    """Simulated runs of each kind of trials."""
    trials: int = 10_000
    """Trials of each run, after each of which one looks."""
    seed: int = 0
    """Root of all randomness."""
    json: bool = False
    """One JSON object on standard output, instead of tables."""
    tiny: bool = False
    """Small samples: does it all work?"""


@dataclass(frozen=True)
class Figures:
    """A table: a head, rows of a name and figures, how figures are written, and what to know of them."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, list[float]]]
    form: str = ".3f"
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        rows = {name: dict(zip(self.head[1:], row, strict=True)) for name, row in self.rows}
        return {"title": self.title, "rows": rows}

    def show(self, console: Console) -> None:
        table = Table(title=self.title, title_justify="left", box=SIMPLE, pad_edge=False)
        for place, heading in enumerate(self.head):
            table.add_column(heading, justify="right" if place else "left")
        for name, row in self.rows:
            table.add_row(name, *("" if math.isnan(one) else format(one, self.form) for one in row))
        console.print(table)
        if self.note:
            console.print(self.note + "\n")


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.tiny:
        options = replace(options, simulations=40, trials=300)
    parts = {name: MEASURES[name](options) for name in options.parts}
    if options.json:
        facts = {"benchmark": "sequential", **machine.describe(), "simulations": options.simulations}
        report.print_json({**facts, "parts": {name: part.to_dict() for name, part in parts.items()}})
    else:
        for part in parts.values():
            part.show(report.console())


# --- coverage ----------------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """Trials of mean 0: how to draw an array of them, their grain, and their bounds where they have any."""

    draw: Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
    grain: float = 0.0
    bounds: tuple[float, float] | None = None


def jumps(chance: float, size: float = 1.0, grain: float = 0.0) -> Kind:
    """A jump with this chance, 0 otherwise, less the mean."""
    return Kind(lambda rng, shape: size * ((rng.random(shape) < chance) - chance), grain, (-1, 1))


def accuracies(images: int) -> Kind:
    """Differences of an arm and itself, on so many test images."""
    draw = lambda rng, shape: np.subtract(*rng.binomial(images, 0.85, (2, *shape))) / images  # noqa: E731
    return Kind(draw, 1 / images, (-1, 1))


KINDS: dict[str, Kind] = {
    "normal": Kind(lambda rng, shape: rng.normal(size=shape)),
    "exponential": Kind(lambda rng, shape: rng.exponential(size=shape) - 1),
    "log-normal": Kind(lambda rng, shape: np.exp(rng.normal(size=shape)) - math.exp(0.5)),
    "t with 3 df": Kind(lambda rng, shape: rng.standard_t(3, size=shape)),
    "t with 2.1 df": Kind(lambda rng, shape: rng.standard_t(2.1, size=shape)),
    "two points, 50%": jumps(0.5),
    "two points, 10%": jumps(0.1),
    "two points, 5%": jumps(0.05),
    "two points, 2%": jumps(0.02),
    "100 steps in 5%": jumps(0.05, 100 * GRAIN, GRAIN),
    "1 step in 2%": jumps(0.02, GRAIN, GRAIN),
    "constant": Kind(lambda rng, shape: np.zeros(shape), GRAIN, (-1, 1)),
    "100 test images": accuracies(100),
}


def measure_coverage(options: Options) -> Figures:
    """How many runs have a look that misses, of fixed intervals and of anytime-valid ones."""
    rows = []
    for name, kind in KINDS.items():
        say(f"coverage: {name}")
        rng, missed = np.random.default_rng(options.seed), np.zeros(5)
        for _ in range(0, options.simulations, BATCH):
            x = kind.draw(rng, (min(BATCH, options.simulations), options.trials))
            missed += np.array([hits.sum() for hits in missing(x, kind)])
        many = max(1, options.simulations // BATCH) * min(BATCH, options.simulations)
        rows.append((name, [*(missed[:4] / many), missed[4] / many if kind.bounds else math.nan]))
    return Figures(
        f"Share of runs whose interval misses the mean at any look, {options.simulations:,} runs of "
        f"{options.trials:,} trials",
        ("trials", "fixed, last", "fixed, 20 looks", "fixed, every", "asymptotic", "exact"),
        rows,
        note=f"The last two promise at most {PROMISED:.0%}, at every look. Fixed intervals are looked at from {FEWEST} "
        f"trials on. A step is {GRAIN:g}, one image of 10,000.",
    )


def missing(x: np.ndarray, kind: Kind) -> list[np.ndarray]:
    """bool [runs] for each column of the table: whether a look misses 0."""
    n = np.arange(1, x.shape[1] + 1)
    mean = np.cumsum(x, axis=1) / n
    squares = np.maximum(np.cumsum(np.square(x), axis=1) - n * np.square(mean), 0.0)
    sd = np.maximum(np.sqrt(squares / np.maximum(n - 1, 1)), kind.grain / 2)
    half = special.stdtrit(np.maximum(n - 1, 1), 1 - PROMISED / 2) * sd / np.sqrt(n)
    fixed = (np.abs(mean) > half + 1e-12) & (n >= FEWEST)
    looks = np.linspace(0, x.shape[1], 21).astype(int)[1:] - 1
    found = [fixed[:, -1], fixed[:, looks].any(axis=1), fixed.any(axis=1)]
    seen = [stats.confidence_sequence(x, grain=kind.grain)]
    seen += [stats.bernstein_sequence(x, kind.bounds)] if kind.bounds else []
    found += [((one.ci[0] > 1e-12) | (one.ci[1] < -1e-12)).any(axis=1) for one in seen]
    return found if kind.bounds else [*found, np.zeros(len(x), bool)]


# --- widths ------------------------------------------------------------------------------------------------------


def measure_widths(options: Options) -> Figures:
    """Widths over that of the fixed interval at the same number of trials."""
    numbers = (60, 100, 200, 500, 1000, 2000, 10_000, 100_000, 1_000_000)
    numbers = numbers[:5] if options.tiny else numbers
    rng = np.random.default_rng(options.seed)
    wide = rng.normal(size=numbers[-1])
    rows: dict[str, list[float]] = {}
    for n in numbers:
        x = wide[:n]
        fixed = special.stdtrit(n - 1, 0.975) * x.std(ddof=1) / math.sqrt(n)
        rows.setdefault("asymptotic", []).append(half_width(stats.anytime_interval(x)) / fixed)
        priors = {"the same, sd known": PRIOR_VARIANCE, "best at 2,000, sd known": best_prior(2000)}
        for label, prior in priors.items():
            rows.setdefault(label, []).append(robbins(n, prior) / (1.96 / math.sqrt(n)))
        for sd in (SPREAD, 0.1):
            y = np.clip(sd * x, -1, 1)
            fixed = special.stdtrit(n - 1, 0.975) * y.std(ddof=1) / math.sqrt(n)
            for bet in (LARGEST_BET, 0.5):
                look = stats.RunningBernstein((-1, 1), largest_bet=bet).add(y).look()
                rows.setdefault(f"exact, sd {sd:g}, bets to {bet:g}", []).append(half_width(look) / fixed)
    return Figures(
        "Width over that of the fixed 95% interval, normal differences; the exact one between -1 and 1",
        ("sequence", *(f"{n:,}" for n in numbers)),
        list(rows.items()),
        form=".2f",
        note="The second and third rows are the formula of Waudby-Smith et al. (2021), with the standard deviation "
        "known; bets up to 0.5 are those of Waudby-Smith and Ramdas (2024).",
    )


def half_width(look: stats.AnytimeInterval) -> float:
    """Half of what lies between the two ends."""
    return float(look.ci[1] - look.ci[0]) / 2


def best_prior(trials: int) -> float:
    """The prior variance whose interval is narrowest after so many trials, as the paper has it."""
    return (-2 * math.log(PROMISED) + math.log(1 - 2 * math.log(PROMISED))) / trials


def robbins(n: int, prior: float) -> float:
    """Half-width of the asymptotic sequence over the standard deviation, as its paper has it."""
    return math.sqrt(2 * (n * prior + 1) / (n**2 * prior) * math.log(math.sqrt(n * prior + 1) / PROMISED))


# --- stopping ----------------------------------------------------------------------------------------------------

SPREADS = {
    "normal": 1.0,
    "exponential": 1.0,
    "log-normal": math.sqrt((math.e - 1) * math.e),
    "t with 3 df": math.sqrt(3),
    "two points, 50%": 0.5,
    "two points, 10%": 0.3,
    "constant": GRAIN,
}
"""Standard deviations of what is drawn; of what does not vary, the unit of its effects."""
LONGEST = 20_000  # trials of a run that does not stop before


def measure_stopping(options: Options) -> Figures:
    """Trials until the interval leaves out 0, lies within a margin, or is narrow; and the fixed number for the same."""
    most, runs = (2000, 100) if options.tiny else (LONGEST, max(BATCH, options.simulations // 5))
    looks = list(itertools.takewhile(lambda n: n <= most, accumulated_looks()))
    rows, wrong, unanswered = [], 0.0, 0.0
    for name, spread in SPREADS.items():
        say(f"stopping: {name}")
        kind, varies = KINDS[name], name != "constant"
        for label, effect, rule, fixed in QUESTIONS if varies else [EQUAL]:
            rng, ends, misled = np.random.default_rng(options.seed), [], 0
            for _ in range(0, runs, BATCH):
                x = kind.draw(rng, (BATCH, most)) + effect * spread
                low, high = interval_at(x, looks, kind.grain)
                met = rule(low / spread, high / spread)
                met[:, -1] = True
                first = met.argmax(axis=1)
                ends.append(np.asarray(looks)[first])
                misled += int(np.sum(high[np.arange(BATCH), first] < 0)) if effect > 0 else 0
            n = np.concatenate(ends)
            wrong, unanswered = max(wrong, misled / n.size), max(unanswered, float(np.mean(n == looks[-1])))
            rows.append((f"{name}, {label}", [*fixed, n.mean(), *np.quantile(n, [0.5, 0.9])]))
    return Figures(
        f"Trials until an answer, {runs:,} runs of each kind; effects, margins and widths in standard deviations",
        ("trials, and until what", "fixed, power 80%", "fixed, 90%", "stopping, mean", "median", "90% quantile"),
        rows,
        form=",.0f",
        note=f"Fixed numbers are those of somebody who knows effect and spread, for normal trials. At most {wrong:.2%} "
        f"of the runs stop with the wrong sign; {unanswered:.2%} do not stop before {most:,} trials.",
    )


def accumulated_looks() -> Iterator[int]:
    """The numbers of trials at which a run looks."""
    n = 0
    while True:
        n = next_look(n)
        yield n


def interval_at(x: np.ndarray, looks: Sequence[int], grain: float) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of the anytime-valid interval of runs [R, T] at some numbers of trials: [R, looks]."""
    n = np.asarray(looks)
    mean = np.cumsum(x, axis=1)[:, n - 1] / n
    squares = np.cumsum(np.square(x), axis=1)[:, n - 1] - n * np.square(mean)
    return look_of(n, mean, np.sqrt(np.maximum(squares, 0) / (n - 1)), 0.95, 0.0, grain).ci


def needed(effect: float, power: float) -> int:
    """Trials of a fixed paired t-test that finds an effect of so many standard deviations."""
    return stats.trials_needed([-1.0, 0.0, 1.0], effect=effect, power=power).trials


def differs(effect: float) -> tuple[str, float, Callable[[Any, Any], np.ndarray], tuple[float, float]]:
    """A run that stops when the arms differ."""
    fixed = needed(effect, 0.8), needed(effect, 0.9)
    return f"!= 0, effect {effect:g}", effect, lambda low, high: (low > 0) | (high < 0), fixed


WIDTH, MARGIN = 0.05, 0.1
QUESTIONS = [
    *map(differs, (0.1, 0.2, 0.5, 1.0)),
    (f"± {WIDTH:g}", 0.0, lambda low, high: high - low <= 2 * WIDTH, ((1.96 / WIDTH) ** 2,) * 2),
    (
        f"within {MARGIN:g}",
        0.0,
        lambda low, high: (low > -MARGIN) & (high < MARGIN),
        tuple(((1.645 + special.ndtri((1 + power) / 2)) / MARGIN) ** 2 for power in (0.8, 0.9)),
    ),
]
"""Label, effect, rule of an interval, and the fixed numbers of trials (of equivalence, by two one-sided tests)."""
EQUAL = ("within 10 steps", 0.0, lambda low, high: (low > -10) & (high < 10), (math.nan, math.nan))


# --- few trials, few images --------------------------------------------------------------------------------------


def measure_tiny(options: Options) -> Figures:
    """How often the paired t-test finds that an arm differs from itself."""
    rng, many = np.random.default_rng(options.seed), 10 * options.simulations
    sizes, rows = (2, 3, 4, 6, 10), []
    for images in (10, 30, 100, 1000, 10_000):
        say(f"tiny: {images} images")
        arms = [rng.binomial(images, 0.85, (2, many, n)) / images for n in sizes]
        for label, grain in (("without grain", 0.0), ("with grain", 1 / images)):
            rates = [float(np.mean(stats.paired_t(*pair, grain=grain).p_value < PROMISED)) for pair in arms]
            rows.append((f"{images:,} images, {label}", rates))
    return Figures(
        f"Share of {many:,} experiments in which an arm differs from itself, paired t-test at 5%, accuracy 0.85",
        ("test images", *(f"{n} trials" for n in sizes)),
        rows,
    )


# --- speed -------------------------------------------------------------------------------------------------------


def measure_speed(options: Options) -> Part:
    """One look at a million trials, and a further block of 1,000."""
    trials = 5000 if options.tiny else 1_000_000
    x = np.random.default_rng(options.seed).normal(0, SPREAD, trials)
    moments, bets = stats.RunningMoments().add(x), stats.RunningBernstein((-1, 1)).add(x)
    looks: dict[str, Callable[[], stats.AnytimeInterval]] = {
        "asymptotic": lambda: stats.anytime_interval(x),
        "exact": lambda: stats.bernstein_interval(x, (-1, 1)),
        "asymptotic, 1,000 more": lambda: moments.add(x[:1000]).look(),
        "exact, 1,000 more": lambda: bets.add(x[:1000]).look(),
    }
    contenders = [Contender(name, name, timed(look)) for name, look in looks.items()]
    measure(contenders, 2 if options.tiny else 11, say)
    times = {one.title: sorted(1000 * sample for sample in one.samples_s) for one in contenders}
    ratios = [
        Ratio(what=f"ms, {name}", value=each[len(each) // 2], low=each[0], high=each[-1], at_most=LOOK_GOAL_MS)
        for name, each in times.items()
    ]
    return Part(title=f"One look at {trials:,} trials", contenders=contenders, ratios=ratios, facts={"trials": trials})


def timed(look: Callable[[], stats.AnytimeInterval]) -> Callable[[], Callable[[], np.ndarray]]:
    """A look as a contender."""
    return lambda: lambda: np.array([look().p_value])


MEASURES: dict[Name, Callable[[Options], Figures | Part]] = {
    "coverage": measure_coverage,
    "widths": measure_widths,
    "stopping": measure_stopping,
    "tiny": measure_tiny,
    "speed": measure_speed,
}


if __name__ == "__main__":
    main()
