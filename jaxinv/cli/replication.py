"""The command `replicate`: published experiments, run, judged and listed."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from jaxinv import registry
from jaxinv.cli.options import DataDir, Flag, Machine, Output, one, optional, several
from jaxinv.cli.output import fill, print_json, print_names, print_verdicts
from jaxinv.cli.stopping import resumable
from jaxinv.errors import InputError, unknown

if TYPE_CHECKING:
    from jaxinv.experiments.published.experiment import Size

FIRST = "inversion"
CHAINS, TRIALS = 8, 100


@dataclass(kw_only=True)
class Replicate(Output):
    """Replicate a published experiment, and judge what was published.

    Example: jaxinv replicate --trials 1000 --out runs/replicate
    """

    name: Annotated[str, tyro.conf.Positional, optional("[NAME]", FIRST)] = FIRST
    """Name of the experiment; --list shows them."""
    list: Flag = False
    """List the experiments."""
    table: Flag = False
    """Print what was published and what came out of every experiment that was run into its own folder, as Markdown."""
    quick: Flag = False
    """Run few trials, for less than a minute. Where they do not suffice, the verdict is "open"."""
    full: Flag = False
    """Run the published protocol where the default shortens it. This may take days."""
    chains: Annotated[int | None, one(int), optional("N", str(CHAINS))] = None
    """Of inversion: number of chains of 5,000 updates, which is what the published script runs."""
    trials: Annotated[int | None, one(int), optional("N", str(TRIALS))] = None
    """Of inversion: number of independent trials of 50 updates, which is what its text describes."""
    seed: int = 0
    """Seed of all random numbers."""
    dataset: Annotated[tuple[str, ...], several(str), optional("NAME=PLACE [NAME=PLACE ...]", "where it is")] = ()
    """Where to take a dataset from instead, such as tfds:cifar10=cifar10.npz."""
    out: Annotated[str | None, optional("DIR", "runs/replicate, or runs/NAME")] = None
    """Folder for results, summary.json and figures. The same command resumes a run that was stopped."""
    data_dir: DataDir = None
    """Folder in which tensorflow-datasets keeps its data."""
    machine: Machine

    def __call__(self) -> None:
        if self.list:
            self.show_list()
        elif self.table:
            self.show_table()
        else:
            self.replicate()

    def replicate(self) -> None:
        """Run the experiment and print what came out."""
        if self.name not in registry.EXPERIMENTS:
            raise unknown("experiment", self.name, registry.EXPERIMENTS)
        if self.quick and self.full:
            raise InputError("quick: --quick and --full exclude each other; give one of them")
        out = self.out or folder_of(self.name)
        if self.name == FIRST:
            self.replicate_inversion(out)
            return
        if (self.chains, self.trials) != (None, None):
            raise InputError(f"trials: --chains and --trials are of {FIRST}; give --quick or --full for {self.name}")
        self.machine.ready()
        from jaxinv.experiments.published import page, running
        from jaxinv.experiments.reports import write_report

        with resumable(out):
            summary = running.run_experiment(
                self.name,
                out,
                size=self.size(),
                **self.machine.options(),
            )
            write_report(out)
        if self.json:
            print_json(summary)
            return
        print_verdicts(page.text(summary, running.get_experiment(self.name)))
        print(f"\n{summary['seconds']['total']:.0f} s. Report: {out}/report.html, beside results and summary.json.")

    def size(self) -> "Size":
        """How large the studies are to be, and where their data are."""
        from jaxinv.experiments.published.experiment import Size

        places = {}
        for given in self.dataset:
            name, equals, place = given.partition("=")
            if not equals or not name or not place:
                raise InputError(
                    f"dataset: {given!r} is not allowed; give NAME=PLACE, such as tfds:cifar10=cifar10.npz"
                )
            places[name] = place
        size = "quick" if self.quick else "full" if self.full else "default"
        return Size(name=size, seed=self.seed, places=places, data_dir=self.data_dir)

    def replicate_inversion(self, out: str) -> None:
        """The first experiment, which has tables and figures of its own."""
        self.machine.ready()
        from jaxinv.experiments import inversion, replicate
        from jaxinv.experiments.reports import write_report
        from jaxinv.report import terminal

        chains, trials = (6, 20) if self.quick else (CHAINS, TRIALS)
        with resumable(out):
            summary = replicate.replicate(
                out,
                chains=chains if self.chains is None else self.chains,
                trials=trials if self.trials is None else self.trials,
                seed=self.seed,
                **self.machine.options(),
            )
            write_report(out)
        if self.json:
            print_json(summary)
            return
        print(replicate.table(summary))
        print(f"\n{fill(inversion.WHY)}")
        print(f"\n{terminal.spent(summary['seconds'])}")
        print(f"Report: {summary['out']}/report.html, beside results, figures and summary.json.")

    def show_list(self) -> None:
        """The experiments that can be replicated."""
        if self.json:
            print_json({"experiments": registry.EXPERIMENTS})
        else:
            print_names(registry.EXPERIMENTS)

    def show_table(self) -> None:
        """What came out of every experiment."""
        from jaxinv.experiments.published import overview

        rows: list[dict[str, Any]] = overview.rows({name: Path(folder_of(name)) for name in registry.EXPERIMENTS})
        if self.json:
            print_json({"experiments": rows})
        else:
            print(overview.markdown(rows))


def folder_of(name: str) -> str:
    """Where an experiment's results are by default."""
    return "runs/replicate" if name == FIRST else f"runs/{name}"
