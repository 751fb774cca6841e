"""The command line: parse, call, print. Nothing heavy is imported before a command needs it."""

import contextlib
import io
import json
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal

import tyro

from jaxinv import catalogue
from jaxinv.errors import DataError, InputError, unknown
from jaxinv.study import Study

DONE, FAILED, SENSELESS, RESUMABLE, INTERRUPTED = 0, 1, 2, 75, 130

Many = tyro.conf.UseAppendAction
_NAMES = {name: default.default for name, default in Study.__dataclass_fields__.items()}


@dataclass(kw_only=True)
class Machine:
    """Options of every command that computes."""

    devices: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Use only N of this machine's devices (default: all; each core of a CPU is one)."""
    chunk: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Trials in one call over all devices (default: what caches or memory allow)."""
    cache: bool = True
    """Keep compiled programs for the next run, in a folder of your own."""
    quiet: bool = False
    """No progress, no notes."""

    def ready(self) -> None:
        """Settle devices and compile cache before JAX is first used."""
        from jaxinv import runtime

        runtime.configure(devices=self.devices, cache=self.cache)


@dataclass(kw_only=True)
class Output:
    """Options of every command."""

    json: bool = False
    """Print exactly one JSON object on standard output."""


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
    out: str = "runs/replicate"
    """Folder for results, summary.json and figures; the same command again resumes."""

    def __call__(self) -> None:
        self.ready()
        from jaxinv import replicate, tables

        with resumable(self.out):
            summary = replicate.replicate(
                self.out,
                chains=self.chains,
                trials=self.trials,
                seed=self.seed,
                chunk=self.chunk,
                devices=self.devices,
                progress=progress(self.quiet),
            )
        if self.json:
            print_json(summary)
            return
        print(replicate.table(summary))
        print(f"\n{fill(replicate.DIFFERENCE)}")
        print(f"\n{tables.spent(summary['seconds'])}")
        print(f"Figures, results and summary.json: {summary['out']}")


@dataclass(kw_only=True)
class StudyFlags:
    """The fields of a study."""

    dataset: str = _NAMES["dataset"]
    """mnist, tfds:<name>, or the path of an .npz."""
    arms: tuple[str, ...] = _NAMES["arms"]
    """Preprocessings to compare; + composes, left to right."""
    model: str = _NAMES["model"]
    """What is trained."""
    optimizer: str = _NAMES["optimizer"]
    """One of optax's, by name."""
    learning_rate: tuple[float, ...] = (_NAMES["learning_rate"],)
    """One or several: an axis of the results."""
    batch_size: int = _NAMES["batch_size"]
    """Examples a step."""
    steps: int = _NAMES["steps"]
    """Updates a trial."""
    eval_every: int | None = _NAMES["eval_every"]
    """Evaluate every so many steps (default: at the end)."""
    trials: int = _NAMES["trials"]
    """How many trials, each with its own initial weights and batches."""
    seed: int = _NAMES["seed"]
    """Root of all randomness."""
    illumination: float = _NAMES["illumination"]
    """Strength, from 0 up to 1, of a random gain and offset for each image."""
    precision: Literal["exact", "fast"] = _NAMES["precision"]
    """Products in float32, or faster where the hardware has it."""

    def study(self) -> Study:
        values = {item.name: getattr(self, item.name) for item in fields(StudyFlags)}
        rates = values["learning_rate"]
        return Study(**values | {"learning_rate": rates[0] if len(rates) == 1 else rates})


@dataclass(kw_only=True)
class Run(Machine, Output, StudyFlags):
    """Run a study: the same trials under every arm and learning rate.

    Example: jaxinv run --arms normal inverted pixel_mean --learning-rate 0.05 0.5 --trials 200 --out runs/rates
    """

    out: str | None = None
    """Folder for the results; the same command again resumes, more --trials add to it (default: print only)."""
    data_dir: str | None = None
    """Where tensorflow-datasets keeps its data (default: TFDS_DATA_DIR, or ~/tensorflow_datasets)."""

    def __call__(self) -> None:
        study = self.study()
        self.ready()
        from jaxinv import runner, tables

        with resumable(self.out):
            results = runner.run(
                study,
                out=self.out,
                chunk=self.chunk,
                devices=self.devices,
                progress=progress(self.quiet),
                data_dir=self.data_dir,
            )
        if not self.quiet:
            print(results.attrs["plan"], file=sys.stderr)
        summary = tables.run_summary(results) | {"out": self.out}
        if self.json:
            print_json(summary)
        else:
            print(tables.run_table(summary))
            if self.out:
                print(f"\nResults: {self.out}")


@dataclass(kw_only=True)
class Compare(Output):
    """Compare arms of a stored run, trial by trial: one pair, or all of them.

    Example: jaxinv compare runs/rates normal inverted --learning-rate 0.5
    """

    folder: tyro.conf.Positional[str]
    """A run's folder."""
    arms: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Two arms (default: all pairs)."""
    learning_rate: float | None = None
    """Which, where the run has several."""
    metric: Literal["accuracy", "test_loss"] = "accuracy"
    """What to compare."""
    margin: float | None = None
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
class Arms(Output):
    """List the arms; with --out, draw the same images under every one of them.

    Example: jaxinv arms --out arms.png
    """

    dataset: str = "mnist"
    """Whose images to draw."""
    out: str | None = None
    """A picture file (.png or .svg)."""

    def __call__(self) -> None:
        if self.out is not None:
            from jaxinv import sheets

            sheets.draw_arms(self.dataset, self.out)
        if self.json:
            print_json({"arms": catalogue.ARMS, "out": self.out})
        else:
            print_names(catalogue.ARMS)
            print("\nCompose with +, left to right: inverted+pixel_mean.")


@dataclass(kw_only=True)
class Datasets(Output):
    """List the datasets, what is on disk, and what would be downloaded.

    Example: jaxinv datasets --data-dir ~/tensorflow_datasets
    """

    data_dir: str | None = None
    """Where tensorflow-datasets keeps its data."""

    def __call__(self) -> None:
        from jaxinv import data, tables

        rows = data.describe_datasets(self.data_dir)
        if self.json:
            print_json({"datasets": [{**asdict(row), "path": str(row.path)} for row in rows]})
        else:
            print(tables.datasets_table(rows))


COMMANDS = {"replicate": Replicate, "run": Run, "compare": Compare, "arms": Arms, "datasets": Datasets}


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit status."""
    try:
        command = parse(arguments)
        command()
    except InputError as error:
        return fail(error, SENSELESS)
    except DataError as error:
        return fail(error, FAILED)
    except Interrupted as error:
        return fail(error, RESUMABLE if error.folder else INTERRUPTED)
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of standard output has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return DONE


def parse(arguments: Sequence[str]) -> Any:
    """The command that the arguments ask for; what they get wrong becomes one line."""
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        raise unknown("command", arguments[0], COMMANDS)
    app = tyro.extras.SubcommandApp()
    for name, command in COMMANDS.items():
        app.command(command, name=name)
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown):
            return app.cli(args=list(arguments), prog="jaxinv", description=DESCRIPTION)
    except SystemExit as exit:
        if not exit.code:
            raise
        words = re.sub(r"[^\x20-\x7e]+|-{3,}", " ", shown.getvalue())  # without tyro's boxes and rules
        raise InputError(" ".join(words.split())) from None


DESCRIPTION = "Train many small networks under several input preprocessings, paired trial by trial."


class Interrupted(Exception):
    """A run was stopped from outside; `folder` is where it can be resumed, if anywhere."""

    def __init__(self, folder: str | None) -> None:
        self.folder = folder
        kept = (
            f"finished trials are safe in {folder}; the same command goes on from there"
            if folder
            else "nothing was stored"
        )
        super().__init__(f"interrupted: {kept}")


@contextlib.contextmanager
def resumable(folder: str | None) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into `Interrupted`."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(folder) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def progress(quiet: bool) -> bool:
    """Bar or lines, or neither."""
    return not quiet


def fail(error: object, status: int) -> int:
    print(f"jaxinv: {' '.join(str(error).split())}", file=sys.stderr)
    return status


def print_json(value: Any) -> None:
    print(json.dumps(value, allow_nan=False))


def print_names(names: dict[str, str]) -> None:
    width = max(map(len, names))
    for name, line in names.items():
        print(f"{name:{width}}  {line}")


def fill(text: str) -> str:
    import textwrap

    return textwrap.fill(text, 80)
