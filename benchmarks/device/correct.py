"""Does the device compute what CPUs do, and what was published? Before any time is looked at."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import jaxinv as ji
from benchmarks.device.one_study import RATES, described, study_of
from benchmarks.machine import ROOT

TRIALS, STEPS = 8, 3
SAME = 0.002  # in the accuracy of one trial after a few steps: rounding turns the odd image over
CHAINS = 40
PUBLISHED = {"normal": (0.91879, 0.0012), "inverted": (0.837478, 0.0153)}  # mean of a chain; 5 and 3 sd of one chain


@dataclass(frozen=True)
class Check:
    """One thing that must hold.

    Attributes:
      what: in words.
      found, allowed: the difference, and the largest that is allowed.
    """

    what: str
    found: float
    allowed: float

    @property
    def holds(self) -> bool:
        return self.found <= self.allowed  # NaN does not


def checks(*, tiny: bool) -> Iterator[Check]:
    """All of them; the published chain only at full size."""
    for model in RATES:
        here, there = described(study_of(model, TRIALS, STEPS, tiny=tiny)), on_cpu(model, tiny=tiny)
        yield Check(f"{model}: batches as on the CPU", float(here["batches"] != there["batches"]), 0.0)
        yield Check(f"{model}: starting weights as on the CPU", _apart(here["weights"], there["weights"]), 1e-6)
        apart = float(np.abs(np.subtract(here["accuracy"], there["accuracy"])).max())
        yield Check(f"{model}: accuracies after {STEPS} updates as on the CPU", apart, 0.02 if tiny else SAME)
    if not tiny:
        chains = ji.run(ji.Study(trials=CHAINS, steps=5000, eval_every=50), progress=False)
        for arm, (published, allowed) in PUBLISHED.items():
            mean = float(chains.accuracy.sel(arm=arm).mean())
            yield Check(f"published chain, {arm}: {mean:.5f} against {published}", abs(mean - published), allowed)


def on_cpu(model: str, *, tiny: bool) -> dict[str, Any]:
    """The same study on this machine's CPU."""
    flags = ["--trials", str(TRIALS), "--steps", str(STEPS), *(["--tiny"] if tiny else [])]
    return alone(model, *flags, JAX_PLATFORMS="cpu")


def alone(model: str, *flags: str, **settings: str) -> dict[str, Any]:
    """A study in a process of its own, with settings of the environment."""
    command = [sys.executable, "-m", "benchmarks.device.one_study", model, *flags]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def _apart(a: dict[str, float], b: dict[str, float]) -> float:
    return max((abs(a[name] - b[name]) / max(abs(b[name]), 1.0) for name in b), default=0.0)
