"""The published job: 100 trials under 2 arms, 50 updates of 100 images each, then all 10,000 test images.

    python benchmarks/headline.py                      all parts, as tables
    python benchmarks/headline.py --parts warm --json  one part, every sample, as one JSON object

Parts: `warm`, jaxinv against its peers in one process; `scale`, 10,000 trials against 100; `cold`, whole processes from
start to exit; `memory`, peak memory of 1,000 and of 10,000 trials. Exit status 1: the contenders disagree.
"""

import importlib.util
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

if not __package__:  # run as a file: modules are looked up from the checkout, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import tyro

import jaxinv as ji
from benchmarks import machine, ours, report, warm
from benchmarks.harness import Contender, Disagreement, Ratio, measure, ratio, say
from benchmarks.peers import Run
from benchmarks.processes import Finished, run_process
from benchmarks.report import Part

GOALS = {"numpy_loop": 8.0, "torch_eager": 20.0, "torch_vmap": 12.0}
FLOOR_GOAL = 1.4
SCALE_GOAL = 1.0
COLD_GOAL, SECOND_GOAL = 0.7, 0.5
MEMORY_GOAL_GB = 1.5
MEMORY_RATIO_GOAL = 1.05  # "no more memory", within what two runs of one program differ by

TORCH_SCRIPT = Path(__file__).parent / "cold_torch.py"

Name = Literal["warm", "scale", "cold", "memory"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and how often."""

    parts: tuple[Name, ...] = ("warm", "scale", "cold", "memory")
    """Which parts."""
    trials: int = 100
    """Trials of the job."""
    many: int = 10_000
    """Trials of the large job of `scale` and `memory`; `memory` holds it against a tenth of them."""
    repeats: int = 7
    """Samples of each contender (at most 3 of `scale`; `memory` takes one)."""
    only: tuple[str, ...] = ()
    """Peers by name (default: all)."""
    seed: int = 0
    """Root of all randomness."""
    json: bool = False
    """One JSON object on standard output, instead of tables."""
    tiny: bool = False
    """A few small trials: does it all work?"""

    def study(self, trials: int) -> ji.Study:
        """The published job with so many trials."""
        if self.tiny:
            return ji.Study(dataset=ours.small_mnist(), trials=trials, steps=3, seed=self.seed)
        return ji.Study(trials=trials, seed=self.seed)

    def command(self, trials: int, dataset: str, *more: str) -> list[str]:
        """The same as a command line."""
        study = self.study(trials)
        flags = {"dataset": dataset, "trials": trials, "steps": study.steps, "seed": study.seed}
        words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        return [sys.executable, "-m", "jaxinv", "run", "--quiet", *words, *more]


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.tiny:
        options = replace(options, trials=4, many=40, repeats=min(options.repeats, 2))
    ours.configure()
    try:
        parts = {name: MEASURES[name](options) for name in options.parts}
    except Disagreement as error:
        sys.exit(f"headline: {error}")
    if options.json:
        report.print_json(
            {"benchmark": "headline", **machine.describe(), "parts": {n: p.to_dict() for n, p in parts.items()}}
        )
    else:
        for part in parts.values():
            part.show(report.console())


def measure_warm(options: Options) -> Part:
    """jaxinv, its peers, the floor."""
    return warm.run(
        options.study(options.trials),
        repeats=options.repeats,
        goals={} if options.tiny else GOALS,
        floor_goal=None if options.tiny else FLOOR_GOAL,
        sizes=(128,) if options.tiny else machine.SIZES,
        only=options.only,
        say=say,
    )


def measure_scale(options: Options) -> Part:
    """Time per trial of many trials against that of the job."""
    few, many = (
        Contender(f"trials_{trials}", f"{trials:,} trials", lambda trials=trials: ours.prepare(options.study(trials)))
        for trials in (options.trials, options.many)
    )
    measure([few, many], min(options.repeats, 3), say)
    each = [np.array(few.samples_s) / options.trials, np.array(many.samples_s) / options.many]
    what = f"time per trial, {options.many:,} trials / {options.trials}"
    return Part(
        title="jaxinv, warm: does the time of a trial depend on how many there are?",
        contenders=[few, many],
        ratios=[ratio(what, list(each[1]), list(each[0]), at_most=SCALE_GOAL)],
        arms=options.study(1).arm_names,
    )


def measure_cold(options: Options) -> Part:
    """Processes from start to exit: with no compiled programs from before, with them, and PyTorch's loop."""
    with tempfile.TemporaryDirectory() as folder:
        dataset, job = write_files(options, Path(folder))
        cache = {"JAX_COMPILATION_CACHE_DIR": str(Path(folder, "programs"))}
        script = [sys.executable, str(TORCH_SCRIPT), job]
        no_torch = None if importlib.util.find_spec("torch") else "torch is not installed"
        first = Contender(
            "jaxinv_no_cache", "jaxinv run --no-cache", _process(options.command(options.trials, dataset, "--no-cache"))
        )
        again = Contender(
            "jaxinv_again", "jaxinv run, again", _process(options.command(options.trials, dataset), cache)
        )
        torch = Contender("torch_script", "PyTorch eager script", _process(script), no_torch)
        measure([first, again, torch], options.repeats, say)
    ratios = []
    if not torch.skipped:
        ratios.append(
            ratio("jaxinv run --no-cache / PyTorch script", first.samples_s, torch.samples_s, at_most=COLD_GOAL)
        )
        ratios.append(
            ratio("jaxinv run, again / PyTorch script", again.samples_s, torch.samples_s, at_most=SECOND_GOAL)
        )
    notes = ["The first run of `jaxinv run, again` fills an empty compile cache."]
    return Part(title="Whole processes, start to exit", contenders=[first, again, torch], ratios=ratios, notes=notes)


def measure_memory(options: Options) -> Part:
    """Peak resident memory of whole processes with many trials and with a tenth of them."""
    peaks: dict[int, list[float]] = {options.many // 10: [], options.many: []}
    contenders = []
    with tempfile.TemporaryDirectory() as folder:
        dataset, _ = write_files(options, Path(folder))
        for trials, gb in peaks.items():
            command = options.command(trials, dataset, "--no-cache")
            contender = Contender(f"trials_{trials}", f"{trials:,} trials", _process(command, peaks_gb=gb))
            contenders.append(contender)
            measure([contender], 0, say)
    (_, few), (trials, many) = peaks.items()
    ratios = [
        Ratio(what=f"GB at {trials:,} trials", value=many[0], low=many[0], high=many[0], at_most=MEMORY_GOAL_GB),
        ratio(f"memory, {trials:,} trials / {trials // 10:,}", many, few, at_most=MEMORY_RATIO_GOAL),
    ]
    return Part(
        title="Peak memory of `jaxinv run --no-cache`",
        contenders=contenders,
        ratios=ratios,
        notes=[f"Peak at {trials:,} trials: {gb[0]:.2f} GB." for trials, gb in peaks.items()],
        facts={"peak_gb": {str(trials): gb for trials, gb in peaks.items()}},
    )


MEASURES: dict[Name, Callable[[Options], Part]] = {
    "warm": measure_warm,
    "scale": measure_scale,
    "cold": measure_cold,
    "memory": measure_memory,
}


def _process(
    command: list[str], environment: dict[str, str] | None = None, peaks_gb: list[float] | None = None
) -> Callable[[], Run]:
    """A process as something to measure; its peak memory goes to the end of `peaks_gb`."""

    def run() -> np.ndarray:
        finished: Finished = run_process(command, environment=environment, cwd=str(machine.ROOT))
        if peaks_gb is not None:
            peaks_gb.append(finished.peak_bytes / 1e9)
        return np.array([finished.seconds])

    return lambda: run


def write_files(options: Options, folder: Path) -> tuple[str, str]:
    """The dataset as `jaxinv run` names it, and a file with all that PyTorch's script needs."""
    job = ours.job_of(options.study(options.trials))
    arrays = {"x_train": job.x_train, "y_train": job.y_train, "x_test": job.x_test, "y_test": job.y_test}
    np.savez(folder / "job.npz", batches=job.batches, allow_pickle=False, **arrays)
    if not options.tiny:
        return "mnist", str(folder / "job.npz")
    np.savez(folder / "small.npz", allow_pickle=False, **arrays)
    return str(folder / "small.npz"), str(folder / "job.npz")


if __name__ == "__main__":
    main()
