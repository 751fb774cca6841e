"""The options that commands share."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from jaxinv import errors, registry
from jaxinv.arm import ARM_FIELDS, cross
from jaxinv.errors import InputError
from jaxinv.study import Study, read_fields

FACTORS = tuple(name for name in ARM_FIELDS if name not in ("preprocess", "learning_rate"))
"""Fields of which several values make arms: each arm with each value."""


def optional(metavar: str, default: str) -> Any:
    """How help shows an option that may be left away: what it takes, and what happens without it."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


Flag = Annotated[bool, tyro.conf.arg(help_behavior_hint="")]
Dir = Annotated[str, tyro.conf.arg(metavar="DIR")]
DatasetName = Annotated[str, tyro.conf.arg(metavar="NAME")]
Names = tuple[str, ...] | None
DataDir = Annotated[str | None, optional("DIR", "TFDS_DATA_DIR, or ~/tensorflow_datasets")]


class Known(tuple[str, ...]):
    """Names that shells complete. Other words are allowed as well, such as `mlp:1000` or `inverted+zca`."""

    def __contains__(self, word: object) -> bool:
        return not str(word).startswith("-")


def one(kind: Callable[[str], Any], known: Iterable[str] = ()) -> Any:
    """How a flag with one value is read. (As `int | None`, tyro would read the word None as well.)"""
    return _read(1, lambda words: kind(words[0]), known)


def several(kind: Callable[[str], Any], known: Iterable[str] = ()) -> Any:
    """How a flag with any number of values is read."""
    return _read("*", lambda words: tuple(map(kind, words)), known)


def _read(nargs: Any, read: Callable[[list[str]], Any], known: Iterable[str]) -> Any:
    return PrimitiveConstructorSpec(
        nargs=nargs,
        metavar="",  # `tyro.conf.arg` names it
        instance_from_str=read,
        is_instance=lambda value: value is not None,
        str_from_instance=lambda value: [str(value)],
        choices=Known(known) or None,
    )


SIZES = " Sizes of its layers may follow: mlp:1000, mlp_bn:128,64, cnn:32,64."


def flag(name: str, metavar: str) -> Any:
    """How help shows the flag of a study's field."""
    return optional(metavar, shown(name))


def named(name: str, what: str, known: Iterable[str], more: str = "") -> Any:
    """How help shows the flag of a field that takes names."""
    text = f"{what} {', '.join(known)}.{more}"
    return tyro.conf.arg(metavar="NAME [NAME ...]", help=text, help_behavior_hint=f"(default: {shown(name)})")


def shown(name: str) -> str:
    """A field's value in a study that does not set it, as one writes it on the command line."""
    value = Study.__dataclass_fields__[name].default
    return " ".join(value) if isinstance(value, tuple) else str(value)


class OneLine(logging.Formatter):
    """Notes as messages are shown: each in one line."""

    def format(self, record: logging.LogRecord) -> str:
        return errors.shown(super().format(record))


@dataclass(kw_only=True)
class Machine:
    """How this machine is used, and what is said meanwhile."""

    devices: Annotated[int | None, one(int), optional("N", "all")] = None
    """Number of this machine's cores, or accelerators, to use."""
    chunk: Annotated[int | None, one(int), optional("N", "what caches or memory allow")] = None
    """Number of trials to compute at a time, on all cores or accelerators together."""
    cache: Annotated[Flag, tyro.conf.arg(help="Do not keep compiled programs for the next run.")] = True
    quiet: Flag = False
    """Show no progress and no notes."""
    verbose: Flag = False
    """Log what is decided, compiled, read and stored, with the time that it takes."""

    def options(self) -> dict[str, Any]:
        """What every function that computes takes from here."""
        return {"chunk": self.chunk, "devices": self.devices, "progress": not self.quiet}

    def ready(self) -> None:
        """Settle the compile cache before JAX is first used."""
        from jaxinv.engine import setup

        if self.quiet and self.verbose:
            raise InputError("verbose: --quiet and --verbose exclude each other; give one of them")
        level = logging.ERROR if self.quiet else logging.DEBUG if self.verbose else logging.INFO
        handler = logging.StreamHandler()
        handler.setFormatter(OneLine("jaxinv: %(message)s"))
        logging.basicConfig(handlers=[handler], level=logging.ERROR)
        logging.getLogger("jaxinv").setLevel(level)
        setup.configure(cache=self.cache)


@dataclass(kw_only=True)
class Output:
    """Options of every command."""

    json: Flag = False
    """Print exactly one JSON object on standard output."""


@dataclass(kw_only=True)
class Data:
    """What is trained and tested on."""

    dataset: Annotated[str | None, one(str), flag("dataset", "NAME")] = None
    """mnist, tfds:<name>, or the path of an .npz file."""
    augment: Annotated[
        Names, several(str, registry.AUGMENTATIONS), named("augment", "Change training images:", registry.AUGMENTATIONS)
    ] = None
    train_examples: Annotated[tuple[int, ...] | None, several(int), optional("INT [INT ...]", "all")] = None
    """Train each trial on a random subset of so many examples."""
    label_noise: Annotated[tuple[float, ...] | None, several(float), flag("label_noise", "FLOAT [FLOAT ...]")] = None
    """Share of the training labels that are replaced at random, from 0 to 1."""
    illumination: Annotated[float | None, one(float), flag("illumination", "FLOAT")] = None
    """Strength, from 0 to below 1, of a random gain and offset that each image is given."""
    data_dir: DataDir = None
    """Folder in which tensorflow-datasets keeps its data."""


@dataclass(kw_only=True)
class Training:
    """What is trained, and how."""

    arms: Annotated[Names, several(str, registry.PREPROCESSINGS), flag("arms", "ARM [ARM ...]")] = None
    """Arms to compare. An arm is a preprocessing (`jaxinv arms` lists them; + composes them, left to right), or a name
    with what it changes: "adam: optimizer=adam learning_rate=0.001"."""
    model: Annotated[
        Names, several(str, registry.MODELS), named("model", "Network to train:", registry.MODELS, SIZES)
    ] = None
    optimizer: Annotated[
        Names, several(str, registry.OPTIMIZERS), named("optimizer", "Optimizer of optax:", registry.OPTIMIZERS)
    ] = None
    learning_rate: Annotated[tuple[float, ...] | None, several(float), flag("learning_rate", "FLOAT [FLOAT ...]")] = (
        None
    )
    """One or more learning rates. Every arm is trained at each."""
    loss: Annotated[Names, several(str, registry.LOSSES), named("loss", "Loss to minimise:", registry.LOSSES)] = None
    batch_size: Annotated[tuple[int, ...] | None, several(int), flag("batch_size", "INT [INT ...]")] = None
    """Training examples in each update."""
    batch_stats: Annotated[
        Names, several(str, ("running", "recomputed")), flag("batch_stats", "{running,recomputed} [...]")
    ] = None
    """Statistics that batch normalisation evaluates with: running averages, or recomputed over training images."""
    steps: Annotated[int | None, one(int), flag("steps", "INT")] = None
    """Updates in each trial."""
    eval_every: Annotated[int | None, one(int), optional("INT", "at the end only")] = None
    """Evaluate after every so many updates."""
    trials: Annotated[int | None, one(int), flag("trials", "INT")] = None
    """Number of trials. Each has its own initial weights and batches."""
    seed: Annotated[int | None, one(int), flag("seed", "INT")] = None
    """Seed of all random numbers."""
    precision: Annotated[str | None, one(str, ("exact", "fast")), flag("precision", "{exact,fast}")] = None
    """exact: products in float32. fast: in TF32 or bfloat16, where the hardware has them."""


@dataclass(kw_only=True)
class StudyInput:
    """A study from flags, from a file, or from both. A flag that is not given is None."""

    study_file: Annotated[
        str | None, one(str), tyro.conf.arg(name="study", metavar="FILE", help_behavior_hint="(default: none)")
    ] = None
    """Take the fields that no flag gives from a file: the study.json that every stored run has."""
    data: Data
    training: Training

    def study(self) -> Study:
        """The study of the flags. Several values of a field that an arm may change make arms: each arm with each."""
        stored = {} if self.study_file is None else read_study_file(self.study_file)
        given = vars(self.data) | vars(self.training)
        given = {name: given[name] for name in Study.__dataclass_fields__ if given[name] is not None}
        factors = {}
        for name in FACTORS:
            values = given.get(name)
            if values == ():
                raise InputError(f"{name}: none given; give one or more")
            if values is not None and len(values) > 1:
                factors[name] = given.pop(name)
        alone = {name: given[name][0] for name in (*FACTORS, "learning_rate") if len(given.get(name, ())) == 1}
        study = Study.from_dict({**stored, **given, **alone})
        return study.replace(arms=cross(study.arms, **factors)) if factors else study


def read_study_file(path: str) -> dict[str, Any]:
    """The fields in a file that a run wrote; their values are not checked yet."""
    try:
        stored = read_fields(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"study: {path!r} cannot be read ({why}); give the study.json of a stored run") from None
    for name in stored.keys() - Study.__dataclass_fields__.keys():
        raise InputError(f"study: {path!r} has {name!r}, which no study has; give the study.json of a stored run")
    return stored
