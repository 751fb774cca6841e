"""One study in a process of its own, for settings that JAX reads once: which platform, which flags of the compiler.

    JAX_PLATFORMS=cpu python -m benchmarks.device.one_study cnn --trials 8 --steps 3

Prints one JSON object: seconds of each run, accuracies [A, T], and digests of the streams that they were trained from.
"""

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro

import jaxinv as ji
from benchmarks import ours, report

RATES = {"softmax": 0.5, "mlp": 0.1, "cnn": 0.1}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which study."""

    model: tyro.conf.Positional[str]
    """softmax, mlp or cnn."""
    trials: int = 8
    """Trials under each of two arms."""
    steps: int = 3
    """Updates of 100."""
    repeats: int = 0
    """Runs to be timed, after one that compiles."""
    tiny: bool = False
    """With few images."""


def study_of(model: str, trials: int, steps: int = 50, *, tiny: bool = False, **changes: Any) -> ji.Study:
    """The published job, or the same with another network."""
    dataset: Any = ours.small_mnist() if tiny else "mnist"
    return ji.Study(
        dataset=dataset, model=model, trials=trials, steps=steps, learning_rate=RATES[model], **changes
    )  # fmt: skip


def described(study: ji.Study, repeats: int = 0) -> dict[str, Any]:
    """Seconds, accuracies and streams of a study."""
    run = ours.prepare(study)
    accuracy, seconds = run(), []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    job = ours.job_of(study)
    drawn = hashlib.sha256(np.ascontiguousarray(job.batches).tobytes()).hexdigest()
    weights = {name: float(np.abs(value).sum(dtype=np.float64)) for name, value in job.initial.items()}
    return {"seconds": seconds, "accuracy": accuracy.tolist(), "batches": drawn, "weights": weights}


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    ours.configure()
    study = study_of(options.model, options.trials, options.steps, tiny=options.tiny)
    report.print_json(described(study, options.repeats))


if __name__ == "__main__":
    main()
