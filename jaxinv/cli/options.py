"""The options that commands share."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import tyro

from jaxinv import registry
from jaxinv.errors import InputError
from jaxinv.study import Study

FIELDS: dict[str, Any] = {name: item.default for name, item in Study.__dataclass_fields__.items()}


def optional(metavar: str, default: str) -> Any:
    """How help shows an option that may be left away: what it takes, and what happens without it."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


Flag = Annotated[bool, tyro.conf.arg(help_behavior_hint="")]
Dir = Annotated[str, tyro.conf.arg(metavar="DIR")]
DataDir = Annotated[str | None, optional("DIR", "TFDS_DATA_DIR, or ~/tensorflow_datasets")]


def named(what: str, names: Iterable[str]) -> Any:
    """How help shows an option that takes one of some names."""
    return tyro.conf.arg(metavar="NAME", help=f"{what} {', '.join(names)}.")


@dataclass(kw_only=True)
class Machine:
    """Options of every command that computes."""

    devices: Annotated[int | None, optional("N", "all; each core of a CPU is one")] = None
    """Number of this machine's devices to use."""
    chunk: Annotated[int | None, optional("N", "what caches or memory allow")] = None
    """Number of trials that one call computes on all devices together."""
    cache: Annotated[Flag, tyro.conf.arg(help="Do not keep compiled programs for the next run.")] = True
    quiet: Flag = False
    """Show no progress and no notes."""
    verbose: Flag = False
    """Log what is decided, compiled, read and stored, with the time that it takes."""

    def ready(self) -> None:
        """Settle devices and compile cache before JAX is first used."""
        from jaxinv.engine import setup

        if self.quiet and self.verbose:
            raise InputError("verbose: --quiet and --verbose exclude each other; give one of them")
        level = logging.ERROR if self.quiet else logging.DEBUG if self.verbose else logging.INFO
        logging.basicConfig(format="jaxinv: %(message)s", level=logging.ERROR)
        logging.getLogger("jaxinv").setLevel(level)
        setup.configure(devices=self.devices, cache=self.cache)


@dataclass(kw_only=True)
class Output:
    """Options of every command."""

    json: Flag = False
    """Print exactly one JSON object on standard output."""


@dataclass(kw_only=True)
class StudyFlags:
    """The fields of a study."""

    dataset: str = FIELDS["dataset"]
    """mnist, tfds:<name>, or the path of an .npz file."""
    arms: tuple[str, ...] = FIELDS["arms"]
    """Preprocessings to compare; `jaxinv arms` lists them. + composes them, left to right."""
    model: Annotated[str, named("Network to train, one of", registry.MODELS)] = FIELDS["model"]
    optimizer: Annotated[str, named("Optimizer of optax, one of", registry.OPTIMIZERS)] = FIELDS["optimizer"]
    learning_rate: tuple[float, ...] = (FIELDS["learning_rate"],)
    """One or more learning rates. Every arm is trained at each."""
    loss: Annotated[str, named("What training minimises, one of", registry.LOSSES)] = FIELDS["loss"]
    augment: Annotated[str, named("How training images are changed, one of", registry.AUGMENTATIONS)] = FIELDS[
        "augment"
    ]
    train_examples: Annotated[int | None, optional("N", "all")] = FIELDS["train_examples"]
    """Train each trial on a random subset of N examples."""
    label_noise: float = FIELDS["label_noise"]
    """Share of the training labels that are replaced at random, from 0 to 1."""
    batch_size: int = FIELDS["batch_size"]
    """Training examples in each update."""
    steps: int = FIELDS["steps"]
    """Updates in each trial."""
    eval_every: Annotated[int | None, optional("N", "at the end only")] = FIELDS["eval_every"]
    """Evaluate every N updates."""
    trials: int = FIELDS["trials"]
    """Number of trials. Each has its own initial weights and batches."""
    seed: int = FIELDS["seed"]
    """Seed of all random numbers."""
    illumination: float = FIELDS["illumination"]
    """Strength, from 0 to below 1, of a random gain and offset that each image is given."""
    precision: Literal["exact", "fast"] = FIELDS["precision"]
    """exact: products in float32. fast: in TF32 or bfloat16, where the hardware has them."""

    def study(self) -> Study:
        values = {item.name: getattr(self, item.name) for item in fields(StudyFlags)}
        rates = values["learning_rate"]
        return Study(**values | {"learning_rate": rates[0] if len(rates) == 1 else rates})
