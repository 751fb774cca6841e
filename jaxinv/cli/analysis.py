"""The commands that read stored runs: `compare`, `power`, `variance` and `report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jaxinv.cli.options import Dir, Flag, Output, one, optional, several
from jaxinv.cli.output import print_json
from jaxinv.errors import InputError

if TYPE_CHECKING:
    from jaxinv.stats import Comparison, Comparisons

LearningRate = Annotated[float | None, optional("FLOAT", "the run's only one")]
LearningRates = Annotated[tuple[float, ...] | None, several(float), optional("FLOAT [FLOAT]", "the run's only one")]
Step = Annotated[int | None, one(int), optional("INT", "the last")]
Metric = Annotated[str, one(str, ("accuracy", "test_loss", "train_loss")), tyro.conf.arg(metavar="NAME")]


def rate_or_pair(rates: tuple[float, ...] | None) -> float | tuple[float, float] | None:
    """One learning rate, or one for each of two arms."""
    if rates is None or len(rates) == 2:
        return rates
    if len(rates) != 1:
        raise InputError(f"learning_rate: {len(rates)} given; give one, or one for each of two arms")
    return rates[0]


@dataclass(kw_only=True)
class Compare(Output):
    """Compare two arms of a stored run, all pairs, or two runs, trial by trial.

    Example: jaxinv compare runs/rates normal inverted --learning-rate 0.5
    """

    folder: tyro.conf.Positional[Dir]
    """Folder of a stored run."""
    arms: Annotated[tuple[str, ...], tyro.conf.Positional, optional("[ARM ARM | DIR]", "all pairs")] = ()
    """Names of two arms; or the folder of another run of the same trials, to compare each arm that both have."""
    arm: Annotated[str | None, optional("NAME", "each that both have")] = None
    """Name of the arm to compare in two runs."""
    learning_rate: LearningRates = None
    """Learning rate at which to compare, or one for each of two arms."""
    step: Step = None
    """Evaluated step at which to compare."""
    metric: Metric = "accuracy"
    """Metric to compare: accuracy, test_loss, train_loss, or one of your own."""
    margin: Annotated[float | None, optional("FLOAT", "no such test")] = None
    """Also test whether the arms are equivalent within this margin."""
    alpha: float = 0.05
    """Significance level of the tests."""
    diverged: Literal["include", "exclude"] = "include"
    """Include or exclude trials that diverged."""
    anytime: Literal["asymptotic", "exact"] = "asymptotic"
    """Anytime-valid interval: asymptotic for any metric, or exact for accuracies, at least ten times as wide."""
    each_rate: Flag = False
    """Compare all pairs at every learning rate, as one family of tests."""
    out: Annotated[str | None, optional("FILE", "no figure")] = None
    """Image file (.png, .svg or .pdf) for a forest plot of the comparisons."""

    def __call__(self) -> None:
        made = self.comparison()
        if self.out is not None:
            from jaxinv import plots
            from jaxinv.plots.style import figure_of

            plots.save(figure_of(plots.forest(made)), self.out)
        if self.json:
            print_json(made.to_dict())
        else:
            print(made)

    def comparison(self) -> "Comparison | Comparisons":
        """The comparison that the arguments ask for."""
        from jaxinv import stats, store

        options: dict[str, Any] = {
            "learning_rate": "each" if self.each_rate else rate_or_pair(self.learning_rate),
            "step": self.step,
            "metric": self.metric,
            "margin": self.margin,
            "alpha": self.alpha,
            "diverged": self.diverged,
            "anytime": self.anytime,
        }
        if self.each_rate and (self.arms or self.learning_rate is not None):
            raise InputError("each_rate: --each-rate compares all pairs of one run; give neither arms nor a rate")
        if len(self.arms) == 1 and is_folder(self.arms[0]):
            if self.arm is None:
                return stats.compare_runs(self.folder, self.arms[0], **options)
            return stats.compare(self.folder, self.arms[0], arm=self.arm, **options)
        if len(self.arms) not in (0, 2):
            raise InputError(
                f"arms: {len(self.arms)} given ({', '.join(self.arms)}); give two, none for all pairs, or the folder "
                "of another run"
            )
        if self.arm is not None:
            raise InputError(f"arm: {self.arm!r} is not allowed with one run; give it with the folders of two")
        results = store.load(self.folder)
        return stats.compare(results, *self.arms, **options) if self.arms else stats.compare_all(results, **options)


def is_folder(name: str) -> bool:
    """Whether a word is a folder, on this machine or at an address, and no arm's name."""
    return "://" in name or Path(name).is_dir()


@dataclass(kw_only=True)
class Power(Output):
    """Compute how many trials a comparison needs, from a pilot run.

    It says both: with their number fixed, and with a run that stops by itself.

    Example: jaxinv power runs/rates normal inverted --effect 0.002
    """

    folder: tyro.conf.Positional[Dir]
    """Folder of the pilot: a stored run of the same study with few trials."""
    arms: Annotated[tuple[str, str], tyro.conf.Positional, tyro.conf.arg(metavar="ARM ARM")]
    """Names of two arms."""
    learning_rate: LearningRates = None
    """Learning rate at which to compare, or one for each arm."""
    step: Step = None
    """Evaluated step at which to compare."""
    metric: Metric = "accuracy"
    """Metric to compare: accuracy, test_loss, train_loss, or one of your own."""
    effect: Annotated[float | None, optional("FLOAT", "the difference in the pilot")] = None
    """Difference in the metric's mean to detect."""
    target: float = 0.8
    """Power: the probability of detecting that difference."""
    alpha: float = 0.05
    """Significance level of the test."""

    def __call__(self) -> None:
        from jaxinv import stats, store
        from jaxinv.report import terminal
        from jaxinv.results import grain
        from jaxinv.stats import checks
        from jaxinv.stats.few_trials import too_few

        checks.probability("target", self.target)
        results = store.load(self.folder)
        where: dict[str, Any] = {"step": self.step, "metric": self.metric}
        pairs = stats.paired_trials(results, *self.arms, learning_rate=rate_or_pair(self.learning_rate), **where)
        d = pairs.a - pairs.b
        if few := too_few(d.size):
            raise InputError(f"pilot: {few}; run more trials")
        needed = stats.trials_needed(d, power=self.target, alpha=self.alpha, effect=self.effect)
        step = grain(results, self.metric)
        stopping = stats.stopping_time(d, effect=self.effect, confidence=1 - self.alpha, grain=step)
        if self.json:
            print_json(needed.to_dict() | {"stopping": stopping.to_dict()})
        else:
            print(terminal.power_text(needed, stopping, self.arms))


@dataclass(kw_only=True)
class Variance(Output):
    """Split an arm's spread over trials: how much is the test set, how much training.

    The run has to know which test images each trial has right: --keep correct.

    Example: jaxinv variance runs/correct
    """

    folder: tyro.conf.Positional[Dir]
    """Folder of a run with --keep correct."""
    learning_rate: LearningRate = None
    """Learning rate to look at."""

    def __call__(self) -> None:
        from jaxinv import stats, store

        found = stats.variances(store.load(self.folder), learning_rate=self.learning_rate)
        if self.json:
            print_json(found.to_dict())
        else:
            print(found)


@dataclass(kw_only=True)
class Report(Output):
    """Write a page about stored results: report.html, .md and .csv.

    Example: jaxinv report runs/replicate
    """

    folder: tyro.conf.Positional[Dir]
    """Folder that run, replicate or claims has written."""

    def __call__(self) -> None:
        from jaxinv.experiments.reports import write_report

        page = write_report(self.folder)
        if self.json:
            print_json({"report": str(page)})
        else:
            print(page)
