"""The commands: each a dataclass of its flags, to be called. Nothing heavy is imported before a command needs it."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import tyro

from jaxinv import registry
from jaxinv.cli.options import (
    Flag,
    Machine,
    Output,
    StudyFlags,
    fill,
    keep_stdout,
    optional,
    print_json,
    print_names,
    resumable,
)
from jaxinv.errors import InputError
from jaxinv.utils.progress import say

Dir = Annotated[str, tyro.conf.arg(metavar="DIR")]
DataDir = Annotated[str | None, optional("DIR", "TFDS_DATA_DIR, or ~/tensorflow_datasets")]
LearningRate = Annotated[float | None, optional("FLOAT", "the run's only one")]


@dataclass(kw_only=True)
class Replicate(Machine, Output):
    """Run the published inversion experiment in both readings of its text.

    Example: jaxinv replicate --trials 1000 --out runs/replicate
    """

    chains: int = 8
    """Chains of 5,000 updates, as the published script runs them."""
    trials: int = 100
    """Fresh trials of 50 updates, as its text says."""
    seed: int = 0
    """Root of all randomness."""
    out: Dir = "runs/replicate"
    """Folder for results, summary.json and figures; the same command again resumes."""

    def __call__(self) -> None:
        self.ready()
        from jaxinv import report
        from jaxinv.experiments import replicate
        from jaxinv.report import terminal

        with resumable(self.out):
            summary = replicate.replicate(
                self.out,
                chains=self.chains,
                trials=self.trials,
                seed=self.seed,
                chunk=self.chunk,
                devices=self.devices,
                progress=not self.quiet,
            )
            report.write_report(self.out)
        if self.json:
            print_json(summary)
            return
        print(replicate.table(summary))
        print(f"\n{fill(replicate.DIFFERENCE)}")
        print(f"\n{terminal.spent(summary['seconds'])}")
        print(f"Report: {summary['out']}/report.html, beside results, figures and summary.json.")


@dataclass(kw_only=True)
class Run(Machine, Output, StudyFlags):
    """Run a study: the same trials under every arm and learning rate.

    Example: jaxinv run --arms normal zca --learning-rate 0.05 0.5 --out runs/zca
    """

    out: Annotated[str | None, optional("DIR", "print only")] = None
    """Folder for the results; the same command again resumes, more --trials add to it."""
    data_dir: DataDir = None
    """Where tensorflow-datasets keeps its data."""

    distributed: Flag = False
    """One of several processes, each with its own share of the trials; on clusters that JAX knows, found by itself."""
    coordinator: Annotated[str | None, optional("HOST:PORT", "found by JAX")] = None
    """Where process 0 listens."""
    num_processes: Annotated[int | None, optional("N", "found by JAX")] = None
    """How many processes there are."""
    process_id: Annotated[int | None, optional("N", "found by JAX")] = None
    """Which one this is, from 0."""

    def __call__(self) -> None:
        study = self.study()
        self.ready()
        first = self.join()
        from jaxinv.engine import runner
        from jaxinv.report import terminal

        with resumable(self.out):
            results = runner.run(
                study,
                out=self.out,
                chunk=self.chunk,
                devices=self.devices,
                progress=not self.quiet,
                data_dir=self.data_dir,
            )
        if not self.quiet:
            say(f"{results.attrs['plan']}; {results.attrs['computed']} trials computed here")
        if not first:
            return
        summary = terminal.run_summary(results) | {"out": self.out}
        if self.json:
            print_json(summary)
        else:
            print(terminal.run_table(summary))
            if self.out:
                print(f"\nResults: {self.out}")

    def join(self) -> bool:
        """Join the other processes, if there are any; whether this is the first of them, which prints."""
        if not self.distributed:
            if (self.coordinator, self.num_processes, self.process_id) != (None, None, None):
                raise InputError("distributed: --coordinator, --num-processes and --process-id go with --distributed")
            return True
        from jaxinv.engine import distributed

        keep_stdout()
        distributed.start(self.coordinator, self.num_processes, self.process_id)
        return distributed.membership().index == 0


@dataclass(kw_only=True)
class Claims(Machine, Output):
    """Put the claims of the two discussions to the test, each with a verdict.

    Example: jaxinv claims --quick
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional, optional("[NAME ...]", "all")] = ()
    """Which claims."""
    quick: Flag = False
    """Few trials: about a minute, and "inconclusive" where they do not suffice."""
    dataset: str = "mnist"
    """What to test them on."""
    seed: int = 0
    """Root of all randomness."""
    out: Dir = "runs/claims"
    """Folder for results, claims.json, figure and report; the same command again resumes."""
    data_dir: DataDir = None
    """Where tensorflow-datasets keeps its data."""

    def __call__(self) -> None:
        self.ready()
        from jaxinv import report
        from jaxinv.experiments import claims

        with resumable(self.out):
            result = claims.run_claims(
                self.names,
                quick=self.quick,
                out=self.out,
                dataset=self.dataset,
                progress=not self.quiet,
                seed=self.seed,
                chunk=self.chunk,
                devices=self.devices,
                data_dir=self.data_dir,
            )
            report.write_report(self.out)
        if self.json:
            print_json(result)
        else:
            print(claims.table(result))
            print(f"\nReport: {self.out}/report.html")


@dataclass(kw_only=True)
class Compare(Output):
    """Compare arms of a stored run, trial by trial: one pair, or all of them.

    Example: jaxinv compare runs/rates normal inverted --learning-rate 0.5
    """

    folder: tyro.conf.Positional[Dir]
    """A run's folder."""
    arms: Annotated[tuple[str, ...], tyro.conf.Positional, optional("[ARM ARM]", "all pairs")] = ()
    """Two arms."""
    learning_rate: LearningRate = None
    """Which learning rate."""
    metric: Literal["accuracy", "test_loss"] = "accuracy"
    """What to compare."""
    margin: Annotated[float | None, optional("FLOAT", "do not")] = None
    """Also test for equivalence within this margin."""
    alpha: float = 0.05
    """Level of the tests."""
    diverged: Literal["include", "exclude"] = "include"
    """Whether diverged trials are in the figures."""

    def __call__(self) -> None:
        from jaxinv import stats, store

        if len(self.arms) not in (0, 2):
            raise InputError(f"arms: {len(self.arms)} given ({', '.join(self.arms)}); give two, or none for all pairs")
        results = store.load(self.folder)
        options: dict[str, Any] = {
            "learning_rate": self.learning_rate,
            "metric": self.metric,
            "margin": self.margin,
            "alpha": self.alpha,
            "diverged": self.diverged,
        }
        made = stats.compare(results, *self.arms, **options) if self.arms else stats.compare_all(results, **options)
        if self.json:
            print_json(made.to_dict())
        else:
            print(made)


@dataclass(kw_only=True)
class Power(Output):
    """How many trials a comparison needs, reckoned from a stored run as a pilot.

    Example: jaxinv power runs/rates normal inverted --effect 0.002
    """

    folder: tyro.conf.Positional[Dir]
    """The pilot's folder."""
    arms: Annotated[tuple[str, str], tyro.conf.Positional, tyro.conf.arg(metavar="ARM ARM")]
    """Two arms."""
    learning_rate: LearningRate = None
    """Which learning rate."""
    effect: Annotated[float | None, optional("FLOAT", "the pilot's own")] = None
    """The difference in accuracy to find."""
    target: float = 0.8
    """The chance to find it."""
    alpha: float = 0.05
    """Level of the test."""

    def __call__(self) -> None:
        from jaxinv import stats, store
        from jaxinv.report import terminal
        from jaxinv.stats import checks

        checks.probability("target", self.target)
        pairs = stats.paired_trials(store.load(self.folder), *self.arms, learning_rate=self.learning_rate)
        needed = stats.trials_needed(pairs.a - pairs.b, power=self.target, alpha=self.alpha, effect=self.effect)
        if self.json:
            print_json(needed.to_dict())
        else:
            print(terminal.power_text(needed, self.arms))


@dataclass(kw_only=True)
class Report(Output):
    """Write a page about a folder of results: report.html, .md and values as .csv.

    Example: jaxinv report runs/replicate
    """

    folder: tyro.conf.Positional[Dir]
    """A folder made by run, replicate or claims."""

    def __call__(self) -> None:
        from jaxinv import report

        page = report.write_report(self.folder)
        if self.json:
            print_json({"report": str(page)})
        else:
            print(page)


@dataclass(kw_only=True)
class Arms(Output):
    """List the arms; with --out, draw the same images under every one of them.

    Example: jaxinv arms --out arms.png
    """

    dataset: str = "mnist"
    """Whose images to draw; goes with --out."""
    out: Annotated[str | None, optional("FILE", "none")] = None
    """A picture file (.png or .svg)."""

    def __call__(self) -> None:
        if self.out is not None:
            from jaxinv.experiments import contact_sheet

            contact_sheet.draw_arms(self.dataset, self.out)
        if self.json:
            from jaxinv.preprocess import describe_preprocesses

            print_json({"arms": {arm.name: arm._asdict() for arm in describe_preprocesses()}, "out": self.out})
        else:
            print_names(registry.PREPROCESSINGS)
            print("\nCompose with +, left to right: inverted+pixel_mean.")
            if self.out is not None:
                print(f"Picture: {self.out}")


@dataclass(kw_only=True)
class Datasets(Output):
    """List the datasets, what is on disk, and what would be downloaded.

    Example: jaxinv datasets --data-dir ~/tensorflow_datasets
    """

    data_dir: DataDir = None
    """Where tensorflow-datasets keeps its data."""

    def __call__(self) -> None:
        from jaxinv import data
        from jaxinv.report import terminal

        rows = data.describe_datasets(self.data_dir)
        if self.json:
            print_json({"datasets": [{**asdict(row), "path": str(row.path)} for row in rows]})
        else:
            print(terminal.datasets_table(rows))


@dataclass(kw_only=True)
class Bench(Machine, Output, StudyFlags):
    """Measure what this machine does with a study, against what it could do.

    Example: jaxinv bench --model mlp --most 1000 --json > here.json
    """

    most: int = 1000
    """Measure 1, 10, 100, ... trials, up to so many; --trials is left out of account."""
    against: Annotated[str | None, optional("FILE", "none")] = None
    """Another machine's result (its --json), to compare with."""
    out: Annotated[str | None, optional("DIR", "print only")] = None
    """Folder for bench.json and a figure."""
    data_dir: DataDir = None
    """Where tensorflow-datasets keeps its data."""

    def __call__(self) -> None:
        study = self.study()
        self.ready()
        from jaxinv import bench

        if self.out is not None:
            bench.check_folder(self.out)  # before a measurement that would have nowhere to go
        other = None if self.against is None else bench.read(self.against, study)
        with resumable(None):
            result = bench.measure(
                study,
                most=self.most,
                chunk=self.chunk,
                devices=self.devices,
                data_dir=self.data_dir,
                progress=not self.quiet,
            )
        if self.out is not None:
            bench.draw(result, self.out)
        if self.json:
            print_json(result)
        else:
            print(bench.table(result, other))


COMMANDS = {
    "replicate": Replicate,
    "run": Run,
    "claims": Claims,
    "compare": Compare,
    "power": Power,
    "report": Report,
    "bench": Bench,
    "arms": Arms,
    "datasets": Datasets,
}
