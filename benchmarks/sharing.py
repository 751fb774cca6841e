"""What one more affine arm costs: the published job with 8 arms in one run, against one arm, and against 8 runs of one.

python benchmarks/sharing.py --repeats 5
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # run as a file: modules are looked up from the checkout, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import tyro

import jaxinv as ji
from benchmarks import machine, ours

ARMS = (
    "normal",
    "inverted",
    "signed",
    "global_mean",
    "pixel_mean",
    "global_zscore",
    "channel_zscore",
    "inverted+pixel_mean",
)
ONE_ARM_GOAL, APART_GOAL = 3.0, 2.5


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and how often."""

    trials: int = 100
    """Trials of the job."""
    repeats: int = 5
    """Samples of each side, in turn."""
    json: bool = False
    """One JSON object on standard output."""
    tiny: bool = False
    """A few small trials: does it work?"""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    ours.configure()
    study = ji.Study(dataset=ours.small_mnist(), trials=4, steps=5) if options.tiny else ji.Study(trials=options.trials)
    sides = {
        "8 arms together": lambda: [ji.run(study.replace(arms=ARMS), progress=False)],
        "8 runs of one arm": lambda: [ji.run(study.replace(arms=(arm,)), progress=False) for arm in ARMS],
        "one arm": lambda: [ji.run(study.replace(arms=ARMS[:1]), progress=False)],
    }
    samples: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(options.repeats + 1):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            if repeat:  # the first compiles
                samples[name].append(time.perf_counter() - start)
    together, apart, one = (float(np.median(samples[name])) for name in sides)
    ratios = {"8 arms / one arm": together / one, "8 runs / 8 arms": apart / together}
    if options.json:
        print(json.dumps({"benchmark": "sharing", **machine.describe(), "samples": samples, "ratios": ratios}))
        return
    for name, seconds in samples.items():
        print(f"{name:20}{np.median(seconds):8.3f} s")
    print(f"8 arms cost {ratios['8 arms / one arm']:.2f} times one arm (goal: less than {ONE_ARM_GOAL:g})")
    print(f"8 runs of one arm cost {ratios['8 runs / 8 arms']:.2f} times 8 arms (goal: at least {APART_GOAL:g})")


if __name__ == "__main__":
    main()
