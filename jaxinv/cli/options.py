"""What commands share: options, and how a run ends that is stopped."""

import contextlib
import json
import logging
import os
import signal
import sys
import textwrap
from collections.abc import Iterable, Iterator
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


def named(what: str, names: Iterable[str]) -> Any:
    """How help shows an option that takes one of some names."""
    return tyro.conf.arg(metavar="NAME", help=f"{what}: {', '.join(names)}.")


@dataclass(kw_only=True)
class Machine:
    """Options of every command that computes."""

    devices: Annotated[int | None, optional("N", "all; each core of a CPU is one")] = None
    """Use only N of this machine's devices."""
    chunk: Annotated[int | None, optional("N", "what caches or memory allow")] = None
    """Trials in one call over all devices."""
    cache: Annotated[Flag, tyro.conf.arg(help="Do not keep compiled programs for the next run.")] = True
    quiet: Flag = False
    """No progress, no notes."""
    verbose: Flag = False
    """Say what is decided, compiled, read and stored, and how long it takes."""

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
    """mnist, tfds:<name>, or the path of an .npz."""
    arms: tuple[str, ...] = FIELDS["arms"]
    """Preprocessings to compare, of those that `jaxinv arms` lists; + composes, left to right."""
    model: Annotated[str, named("What is trained", registry.MODELS)] = FIELDS["model"]
    optimizer: Annotated[str, named("One of optax's", registry.OPTIMIZERS)] = FIELDS["optimizer"]
    learning_rate: tuple[float, ...] = (FIELDS["learning_rate"],)
    """One or several: an axis of the results."""
    batch_size: int = FIELDS["batch_size"]
    """Examples a step."""
    steps: int = FIELDS["steps"]
    """Updates a trial."""
    eval_every: Annotated[int | None, optional("N", "at the end")] = FIELDS["eval_every"]
    """Evaluate every so many steps."""
    trials: int = FIELDS["trials"]
    """How many trials, each with its own initial weights and batches."""
    seed: int = FIELDS["seed"]
    """Root of all randomness."""
    illumination: float = FIELDS["illumination"]
    """Strength, from 0 up to 1, of a random gain and offset for each image."""
    precision: Literal["exact", "fast"] = FIELDS["precision"]
    """Products in float32, or faster where the hardware has it."""

    def study(self) -> Study:
        values = {item.name: getattr(self, item.name) for item in fields(StudyFlags)}
        rates = values["learning_rate"]
        return Study(**values | {"learning_rate": rates[0] if len(rates) == 1 else rates})


UNHEEDED = {"_xla_gc_callback", "__del__"}
"""Functions whose exceptions Python prints and forgets."""


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
        while frame is not None:  # where Python runs inside a destructor or a collection, it would lose an exception
            if frame.f_code.co_name in UNHEEDED:
                signal.setitimer(signal.ITIMER_REAL, 0.01)
                return
            frame = frame.f_back
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM, *([signal.SIGALRM] if hasattr(signal, "SIGALRM") else [])]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(folder) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def keep_stdout() -> None:
    """Keep standard output for Python's own prints: what libraries in C++ write there goes to standard error."""
    sys.stdout.flush()
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    print(json.dumps(value, allow_nan=False))


def print_names(names: dict[str, str]) -> None:
    """A name and its line, in two columns."""
    width = max(map(len, names))
    for name, line in names.items():
        print(f"{name:{width}}  {line}")


def fill(text: str) -> str:
    """A paragraph of at most 80 columns."""
    return textwrap.fill(text, 80)
