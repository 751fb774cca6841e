"""The question's third guess: that mostly-zero images are there to save computing time."""

import time
from dataclasses import replace

import numpy as np

from jaxinv.data import Dataset
from jaxinv.engine.trial_runner import TrialRunner
from jaxinv.experiments.claims.claim import INVERSION, Claim, Finding, percent, untestable
from jaxinv.experiments.claims.evidence import above, mean_of, verdict
from jaxinv.experiments.claims.lab import Lab
from jaxinv.models import get_model

FASTER = 0.05
TRIALS, STEPS, IMAGES, TEST_IMAGES = 8, 100, 10_000, 100
TRIES = 3


def zeros_train_faster(lab: Lab) -> Finding:
    unit = "seconds with dense images over seconds with mostly-zero ones"
    zeros = float((lab.data.x_train == 0).mean())
    if zeros < 0.5:
        return untestable(unit, f"Only {percent(zeros, 0)} of these grey values are 0: the images are not mostly zero.")
    rows = slice(0, IMAGES), slice(0, TEST_IMAGES)
    sparse = Dataset(
        x_train=lab.data.x_train[rows[0]],
        y_train=lab.data.y_train[rows[0]],
        x_test=lab.data.x_test[rows[1]],
        y_test=lab.data.y_test[rows[1]],
        classes=lab.data.classes,
    )
    blind = replace(get_model("softmax"), select_pixels=None)  # evaluations, too, are to multiply every zero
    workers = [
        lab.worker(lab.study(dataset=data, arms=("normal",), model=blind, steps=STEPS, trials=TRIALS))
        for data in (sparse, dense(sparse))
    ]
    seconds = in_turn(workers, lab.trials(24, 150))
    ratio = mean_of(np.log(seconds[1] / seconds[0]))
    low, high = ratio.ci95
    each = 1e6 * np.median(seconds, axis=1) / (TRIALS * STEPS)
    return Finding(
        verdict=verdict(above(ratio, float(np.log1p(FASTER)))),
        effect=float(np.exp(ratio.value)),
        ci95=(float(np.exp(low)), float(np.exp(high))),
        n=ratio.n,
        unit=unit,
        explanation=f"One update takes {each[0]:.1f} µs on images of which {percent(zeros, 0)} is zero and "
        f"{each[1]:.1f} µs on images without a zero, in {ratio.n} pairs of runs of the same compiled program: "
        f"{np.exp(ratio.value):.3f} times as long.",
    )


def dense(data: Dataset) -> Dataset:
    """The same images without a zero: inverted, and black lifted by one grey level."""
    train, test = (np.maximum(255 - x, 1) for x in (data.x_train, data.x_test))
    return Dataset(x_train=train, y_train=data.y_train, x_test=test, y_test=data.y_test, classes=data.classes)


def in_turn(workers: list[TrialRunner], pairs: int) -> np.ndarray:
    """Seconds that each of two workers takes for the same trials, [2, pairs]: the fastest of three runs each, which
    alternate, so that what else the machine does hits both alike."""
    seconds = np.full((2, pairs), np.inf)
    for worker in workers:
        list(worker.run(range(TRIALS)))  # compiles, and fills the caches
    for pair in range(pairs):
        for turn in range(2 * TRIES):
            which = (turn + pair) % 2
            start = time.perf_counter()
            list(workers[which].run(range(TRIALS)))
            seconds[which, pair] = min(seconds[which, pair], time.perf_counter() - start)
    return seconds


CLAIMS = (
    Claim(
        name="zeros-train-faster",
        source=f"{INVERSION}, the question's own guess",
        statement="Images are mostly 0 because that makes training faster.",
        rule="Time the same compiled program on the images and on inverted ones without a single 0, in pairs of runs "
        f"whose order alternates. Supported if zeros save more than {FASTER:.0%} (t-test of the logs of the ratios).",
        judge=zeros_train_faster,
    ),
)
