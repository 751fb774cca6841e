"""The commands that train: `run`, `claims` and `bench`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jaxinv import registry
from jaxinv.cli.options import DataDir, Dir, Flag, Machine, Output, StudyInput, one, optional, several
from jaxinv.cli.output import keep_stdout, print_json, print_verdicts
from jaxinv.cli.stopping import resumable
from jaxinv.engine.launchers import parse_share
from jaxinv.errors import InputError
from jaxinv.utils.progress import say

if TYPE_CHECKING:
    from jaxinv.stats import Until


@dataclass(kw_only=True)
class Storage:
    """What is stored of each trial, beyond its accuracies and losses."""

    keep: Annotated[tuple[str, ...], several(str, registry.KEEP), optional("NAME [NAME ...]", "nothing more")] = ()
    """More to keep of each trial: correct and predictions (of each test image), confusion (counts), params (the
    network)."""
    test_arms: Annotated[
        tuple[str, ...], several(str, registry.PREPROCESSINGS), optional("NAME [NAME ...]", "none")
    ] = ()
    """Preprocessings under which to test every network as well, whatever it was trained under."""


@dataclass(kw_only=True)
class Stopping:
    """A run that stops by itself, once the answer is known."""

    until: Annotated[str | None, one(str), optional('"A-B +- 0.001"', "run all --trials")] = None
    """Stop when the mean difference of two arms is known: "normal-inverted +- 0.001" to that precision;
    "normal-inverted != 0" when they differ; "normal-inverted within 0.005" when they are equivalent. "!= 0 or within
    0.005" stops at either; "at 0.5" names the learning rate where there are several."""
    max_trials: Annotated[int | None, one(int), optional("N", "10000")] = None
    """Number of trials after which --until stops without an answer. This replaces --trials."""
    anytime: Literal["asymptotic", "exact"] = "asymptotic"
    """Interval that --until looks at: asymptotic, or exact for accuracies, which takes far more trials."""

    def question(self, arms: Sequence[str], trials: int | None) -> "Until | None":
        """What --until asks."""
        if self.until is None:
            if self.max_trials is not None:
                raise InputError("max_trials: --max-trials goes with --until; give --trials without it")
            return None
        if trials is not None:
            raise InputError(f"trials: {trials} is not allowed beside --until; give --max-trials {trials}")
        from jaxinv.stats import Until

        return Until.parse(self.until, arms, anytime=self.anytime)


@dataclass(kw_only=True)
class Sharing:
    """One run by many processes, on one machine or many."""

    share: Annotated[str | None, one(str), optional("I/N", "what SLURM, Kubernetes or MPI says, or alone")] = None
    """Be worker I of N, from 0, that share the run in --out. Workers come and go as they like."""
    distributed: Flag = False
    """Join processes that JAX has to know of, as on a TPU pod; each is a worker of the run."""
    coordinator: Annotated[str | None, optional("HOST:PORT", "JAX finds it on clusters that it knows")] = None
    """Address of process 0."""
    num_processes: Annotated[int | None, optional("N", "JAX finds it on clusters that it knows")] = None
    """Number of processes."""
    process_id: Annotated[int | None, optional("N", "JAX finds it on clusters that it knows")] = None
    """Number of this process, from 0."""

    def join(self, *, quiet: bool) -> bool:
        """Join the other processes, if there are any; whether this is the first of them, which prints."""
        if not self.distributed:
            if (self.coordinator, self.num_processes, self.process_id) != (None, None, None):
                raise InputError(
                    "distributed: --coordinator, --num-processes and --process-id go with --distributed; "
                    "give it as well"
                )
            return True
        from jaxinv.engine import distributed

        keep_stdout(quiet=quiet)
        distributed.start(self.coordinator, self.num_processes, self.process_id)
        joined = distributed.joined_share()
        return joined is None or joined[0] == 0


@dataclass(kw_only=True)
class Run(StudyInput, Output):
    """Run a study: the same trials under every arm and learning rate.

    Several models, optimizers, losses ... multiply the arms: each with each.

    Example: jaxinv run --arms normal zca --learning-rate 0.05 0.5 --out runs/zca
    """

    out: Annotated[str | None, optional("DIR", "print only")] = None
    """Folder for the results. The same command resumes a run that was stopped; more --trials add to it."""
    storage: Storage
    stopping: Stopping
    sharing: Sharing
    machine: Machine

    def __call__(self) -> None:
        study = self.study()
        until = self.stopping.question(study.arm_names, self.training.trials)
        share = None if self.sharing.share is None else parse_share(self.sharing.share)
        if share is not None and self.out is None:
            raise InputError("share: a folder is needed that all workers see; give --out")
        if share is not None and self.sharing.distributed:
            raise InputError("share: --distributed says which worker this is; give one of the two")
        self.machine.ready()
        first = self.sharing.join(quiet=self.machine.quiet)
        from jaxinv.engine import runner
        from jaxinv.report import terminal

        with resumable(self.out):
            results = runner.run(
                study,
                out=self.out,
                share=share,
                until=until,
                max_trials=self.stopping.max_trials,
                **self.machine.options(),
                data_dir=self.data.data_dir,
                keep=self.storage.keep,
                test_arms=self.storage.test_arms,
            )
        if not self.machine.quiet:
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


@dataclass(kw_only=True)
class Claims(Output):
    """Test published claims about preprocessing; give each a verdict.

    Example: jaxinv claims --quick
    """

    names: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(
            metavar="[NAME ...]",
            help=f"Claims to test: {', '.join(registry.CLAIMS)}.",
            help_behavior_hint="(default: all)",
        ),
    ] = ()
    quick: Flag = False
    """Run few trials. This takes about a minute; where they do not suffice, the verdict is "inconclusive"."""
    dataset: Annotated[
        tuple[str, ...],
        several(str, ("mnist", "tfds:fashion_mnist", "tfds:kmnist")),
        optional("NAME [NAME ...]", "mnist"),
    ] = ("mnist",)
    """Dataset to test them on; several make one table and one page of claims by datasets."""
    seed: int = 0
    """Seed of all random numbers."""
    out: Dir = "runs/claims"
    """Folder for results, claims.json, figure and report. The same command resumes a run that was stopped."""
    data_dir: DataDir = None
    """Folder in which tensorflow-datasets keeps its data."""
    machine: Machine

    def __call__(self) -> None:
        self.machine.ready()
        from jaxinv.experiments import claims
        from jaxinv.experiments.claims import several as by_dataset
        from jaxinv.experiments.reports import write_report

        if not self.dataset:
            raise InputError("dataset: none given; give one or more")
        options = {"quick": self.quick, "seed": self.seed, "data_dir": self.data_dir, "out": self.out}
        options |= self.machine.options()
        with resumable(self.out):
            if len(self.dataset) == 1:
                result = claims.run_claims(self.names, dataset=self.dataset[0], **options)
                text = claims.table(result)
            else:
                result = by_dataset.run_claims_on(self.dataset, self.names, **options)
                text = by_dataset.table(result)
                for one in result["datasets"]:
                    write_report(one["out"])
            write_report(self.out)
        if self.json:
            print_json(result)
        else:
            print_verdicts(text)
            print(f"\nReport: {self.out}/report.html")


@dataclass(kw_only=True)
class Bench(StudyInput, Output):
    """Measure how fast this machine runs a study, and how fast it could.

    Example: jaxinv bench --model mlp --most 1000 --json > here.json
    """

    most: int = 1000
    """Largest number of trials; smaller ones are 1, 10, 100, ... This replaces --trials."""
    against: Annotated[str | None, optional("FILE", "no comparison")] = None
    """Result of another machine, from its bench --json, to compare with."""
    out: Annotated[str | None, optional("DIR", "print only")] = None
    """Folder for bench.json and a figure of the speeds."""
    machine: Machine

    def __call__(self) -> None:
        study = self.study()
        self.machine.ready()
        from jaxinv import bench

        if self.out is not None:
            bench.check_bench_folder(self.out)  # before a measurement that would have nowhere to go
        other = None if self.against is None else bench.read(self.against, study)
        with resumable(None):
            result = bench.measure(
                study,
                most=self.most,
                data_dir=self.data.data_dir,
                **self.machine.options(),
            )
        if self.out is not None:
            bench.draw(result, self.out)
        if self.json:
            print_json(result)
        else:
            print(bench.table(result, other))
