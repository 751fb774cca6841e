"""The command `recommend`: which preprocessing to use for some models and data."""

from dataclasses import dataclass
from typing import Annotated, Any

from jaxinv import registry
from jaxinv.cli.options import DataDir, DatasetName, Dir, Flag, Machine, Output, optional, several
from jaxinv.cli.output import print_json
from jaxinv.cli.stopping import resumable
from jaxinv.errors import InputError


def count(word: str) -> int | None:
    """A number of training images; None for all."""
    if word == "all":
        return None
    if not word.isdecimal() or int(word) < 1:
        raise InputError(f"train_examples: {word!r} is not allowed; give whole numbers from 1, or all")
    return int(word)


@dataclass(kw_only=True)
class Recommend(Output):
    """Find which preprocessing to use for some models and data.

    Each preprocessing runs at its own best learning rate.

    Example: jaxinv recommend --dataset tfds:cifar10 --model cnn cnn_bn
    """

    dataset: DatasetName = "mnist"
    """mnist, tfds:<name>, or the path of an .npz file."""
    model: Annotated[
        tuple[str, ...], several(str, registry.MODELS), optional("NAME [NAME ...]", "mlp mlp_bn cnn cnn_bn")
    ] = ()
    """Networks to train."""
    arms: Annotated[
        tuple[str, ...], several(str, registry.PREPROCESSINGS), optional("NAME [NAME ...]", "seven customary ones")
    ] = ()
    """Preprocessings to compare; the first is what the others are compared with."""
    train_examples: Annotated[tuple[str, ...], several(str), optional("N|all [...]", "500 all")] = (
        "500",
        "all",
    )
    """Training images of each trial: numbers, or all."""
    light: Annotated[
        tuple[str, ...], several(str, ("steady", "changing")), optional("NAME [NAME ...]", "steady changing")
    ] = ()
    """steady: images as they are. changing: each with a random gain and offset."""
    steps: int = 200
    """Updates in each training."""
    trials: int = 12
    """Trials that are judged. The even ones choose the best preprocessing, the odd ones say how good it is."""
    seed: int = 0
    """Seed of all random numbers."""
    quick: Flag = False
    """Make a quarter as many updates, with two trials for each learning rate."""
    out: Dir = "runs/recommend"
    """Folder for results, recommendation.json and report. The same command resumes a run that was stopped."""
    data_dir: DataDir = None
    """Folder in which tensorflow-datasets keeps its data."""
    machine: Machine

    def __call__(self) -> None:
        images = tuple(map(count, self.train_examples))
        self.machine.ready()
        from jaxinv.data import load_dataset
        from jaxinv.experiments.recommendation import page, recommend
        from jaxinv.experiments.recommendation.cells import Protocol
        from jaxinv.experiments.reports import write_report

        data = load_dataset(self.dataset, data_dir=self.data_dir)
        given: dict[str, Any] = {"data": data, "trials": self.trials, "seed": self.seed}
        given |= {"arms": self.arms} if self.arms else {}
        given |= {"steps": max(1, self.steps // 4), "pilot": 2} if self.quick else {"steps": self.steps}
        chosen: dict[str, Any] = {
            name: values for name, values in (("models", self.model), ("lights", self.light)) if values
        }
        with resumable(self.out):
            summary = recommend(
                self.out,
                Protocol(**given),
                images=images,
                dataset=self.dataset,
                quick=self.quick,
                **self.machine.options(),
                data_dir=self.data_dir,
                **chosen,
            )
            write_report(self.out)
        if self.json:
            print_json(summary)
        else:
            print(page.text(summary))
            print(f"\nReport: {self.out}/report.html")
