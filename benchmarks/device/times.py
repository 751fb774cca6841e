"""Times on an accelerator: jaxinv, its peers, and jaxinv with each of its choices for the device turned over."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

import jaxinv as ji
from benchmarks import ours
from benchmarks.device.correct import alone
from benchmarks.device.one_study import study_of
from benchmarks.peers import peers_of
from jaxinv.models import targets

WHILE = "--xla_gpu_enable_command_buffer=+WHILE"

#: For each model the choices that may matter, as changes of the device's `Target`.
CHOICES: dict[str, dict[str, dict[str, Any]]] = {
    "softmax": {
        "uint8 images": {"pixels": "uint8"},
        "images not flat": {"flat": False},
        "offset as a product": {"offset": "product"},
        "reductions over classes": {"spread_classes": 0},
        "5 updates a trip": {"unroll": 5},
    },
    "mlp": {"uint8 images": {"pixels": "uint8"}, "offset as a product": {"offset": "product"}},
    "cnn": {
        "patches kept": {"keep_patches": True},
        "XLA's convolutions": {"convolution": "xla"},
        "uint8 images": {"pixels": "uint8"},
    },
}
LARGE = {"softmax": (1000, 10_000, 100_000), "mlp": (1000,), "cnn": (1000,)}
PEERS_OF_CNN = 16  # trials, where hundreds would take a peer too long


@dataclass(frozen=True, kw_only=True)
class Time:
    """How long somebody took.

    Attributes:
      who, what: the contender, and its job.
      trials: of each arm.
      first, seconds: of the run that compiles, and of later ones.
      skipped: why it did not run, or None.
    """

    who: str
    what: str
    trials: int
    first: float = float("nan")
    seconds: tuple[float, ...] = ()
    skipped: str | None = None

    @property
    def best(self) -> float:
        return min(self.seconds, default=float("nan"))


class Clock:
    """How much of the time that the whole may take is left."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return self.end - time.monotonic()


def sample(who: str, study: ji.Study, prepare: Any, clock: Clock, repeats: int) -> Time:
    """Run somebody, while there is time: once to compile, then some times more."""
    found = Time(who=who, what=str(study.model), trials=study.trials)
    if clock.left < 0:
        return replace(found, skipped="no time left")
    try:
        run = prepare()
        start = time.perf_counter()
        run()
        found = replace(found, first=time.perf_counter() - start)
        while len(found.seconds) < repeats and clock.left > 0:
            start = time.perf_counter()
            run()
            found = replace(found, seconds=(*found.seconds, time.perf_counter() - start))
    except (RuntimeError, NotImplementedError, ji.DataError) as error:  # of PyTorch and JAX, memory that ran out
        return replace(found, skipped=str(error).splitlines()[0][:200])
    return found


def times(clock: Clock, *, tiny: bool, repeats: int = 5) -> Iterator[Time]:
    """jaxinv and its peers, the most telling ones first."""
    few = 4 if tiny else 100
    for model in CHOICES:
        study = study_of(model, few, tiny=tiny)
        yield sample("jaxinv", study, lambda study=study: ours.prepare(study), clock, repeats)
    for model in CHOICES:
        study = study_of(model, min(few, PEERS_OF_CNN) if model == "cnn" else few, tiny=tiny)
        job = ours.job_of(study)
        for peer in peers_of(model, accelerator=True):
            if peer.name == "numpy_loop" or (peer.name == "torch_channels_last"):
                continue
            if peer.missing:
                yield Time(who=peer.title, what=model, trials=study.trials, skipped=peer.missing)
            else:
                yield sample(peer.title, study, lambda peer=peer, job=job: peer.prepare(job), clock, 2)
    for model, sizes in LARGE.items():
        for trials in (8,) if tiny else sizes:
            study = study_of(model, trials, tiny=tiny)
            yield sample("jaxinv", study, lambda study=study: ours.prepare(study), clock, 2)
    yield from choices(clock, tiny=tiny, repeats=repeats)


def choices(clock: Clock, *, tiny: bool, repeats: int) -> Iterator[Time]:
    """jaxinv with one choice for the device turned over, and with whole loops as one launch."""
    for model, changes in CHOICES.items():
        study = study_of(model, 4 if tiny else 100, tiny=tiny)
        for name, change in changes.items():
            with written_otherwise(**change):
                yield sample(f"jaxinv, {name}", study, lambda study=study: ours.prepare(study), clock, repeats)
    if jax.default_backend() == "gpu" and clock.left > 30:
        flags = ["softmax", "--trials", "100", "--steps", "50", "--repeats", str(repeats)]
        found = alone(*flags, XLA_FLAGS=WHILE)["seconds"]
        yield Time(who=f"jaxinv, {WHILE}", what="softmax", trials=100, seconds=tuple(found))


@contextmanager
def written_otherwise(**changes: Any) -> Iterator[None]:
    """Programs for this device written in other ways meanwhile."""
    platform = jax.devices()[0].platform
    before = targets.BY_PLATFORM[platform]
    targets.BY_PLATFORM[platform] = replace(before, **changes)
    try:
        yield
    finally:
        targets.BY_PLATFORM[platform] = before


def trials_a_second(found: Time, arms: int = 2) -> float:
    """Trials of one arm each second."""
    return float(np.divide(found.trials * arms, found.best))
