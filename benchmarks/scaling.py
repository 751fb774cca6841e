"""What scale costs: speed and memory against trials, devices and processes, and what storing takes of it.

    python benchmarks/scaling.py             # a quarter of an hour
    python benchmarks/scaling.py --tiny      # does it work?

Each point is a `jaxinv run` of the published job (2 arms, 50 updates of 100, 10,000 test images) of its own, from start
to exit, with programs compiled before; the rate is that of its training alone. The store is measured by itself, on
made-up results.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: modules are looked up from the checkout, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import tyro

import jaxinv as ji
from benchmarks import machine
from benchmarks.processes import run_process
from benchmarks.report import console
from jaxinv.results.schema import ALWAYS_KEPT, ResultBlock, Schema
from jaxinv.store import Store
from jaxinv.utils.tables import text_table


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    trials: tuple[int, ...] = (100, 1_000, 10_000, 100_000)
    """Numbers of trials."""
    parallel: int = 2_000
    """Trials for the comparison of devices and processes."""
    kept: int = 10_000
    """Trials of the job, run into a folder and into memory."""
    stored: int = 1_000_000
    """Made-up trials to store."""
    json: bool = False
    """One JSON object on standard output, instead of tables."""
    tiny: bool = False
    """A few small trials: does it all work?"""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.tiny:
        options = Options(trials=(2, 4), parallel=4, kept=4, stored=2_000, json=options.json)
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        run(at, "warm-up", 2)
        found = {
            "trials": [point(at, f"t{n}", n) for n in options.trials],
            "devices": [point(at, f"d{n}", options.parallel, "--devices", str(n)) for n in (1, 2)],
            "processes": [together(at, n, options.parallel) for n in (1, 2)],
            "storing": storing(at, options.stored),
            "overhead": overhead(at, options.kept),
        }
    if options.json:
        print(json.dumps({"benchmark": "scaling", **machine.describe(), **found}))
    else:
        console().print(table(found))


def command(out: str, trials: int, *more: str) -> list[str]:
    """The published job as a command line."""
    return [sys.executable, "-m", "jaxinv", "run", "--quiet", "--json", "--trials", str(trials), "--out", out, *more]


def run(folder: Path, out: str, trials: int, *more: str) -> dict[str, Any]:
    """One run; its JSON."""
    done = subprocess.run(command(out, trials, *more), cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def point(folder: Path, out: str, trials: int, *more: str) -> dict[str, Any]:
    """Rate and peak memory of one number of trials."""
    finished = run_process(command(out, trials, *more), cwd=str(folder))
    again = run(folder, out, trials, *more)  # nothing to compute: what a finished run costs to come back to
    rate = json.loads(finished.printed)["seconds"]["train"]
    return {
        "trials": trials,
        "options": list(more),
        "trials_per_second": trials / rate,
        "seconds": finished.seconds,
        "peak_bytes": finished.peak_bytes,
        "again_seconds": again["seconds"]["total"],
    }


def together(folder: Path, count: int, trials: int) -> dict[str, Any]:
    """Seconds of one run on several processes, each with a core of its own, as schedulers give them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start = time.perf_counter()
    flags = ["--distributed", "--coordinator", f"127.0.0.1:{port}", "--num-processes", str(count), "--devices", "1"]
    processes = []
    for index in range(count):
        with on_one_core(index):
            processes.append(
                subprocess.Popen(
                    command(f"p{count}", trials, *flags, "--process-id", str(index)),
                    cwd=folder,
                    text=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            )
    printed = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"{count} processes: exit statuses {[process.returncode for process in processes]}")
    seconds = json.loads(printed[0])["seconds"]["train"]
    return {
        "processes": count,
        "trials": trials,
        "trials_per_second": trials / seconds,
        "seconds": time.perf_counter() - start,
    }


@contextlib.contextmanager
def on_one_core(index: int) -> Iterator[None]:
    """Processes started inside run on one core; where the system cannot bind them, anywhere."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[index % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def storing(folder: Path, trials: int, block: int = 4096) -> dict[str, Any]:
    """Seconds, bytes and files that the store itself takes, two arms and one evaluation, on made-up results."""
    study = ji.Study(trials=trials)
    axes = study.arm_names, study.learning_rates, study.eval_steps, ("first",), (28, 28, 1)
    schema = Schema(*axes, pixel_weights=False, trials=trials, kept=ALWAYS_KEPT)
    rng = np.random.default_rng(0)
    values = rng.random((2, 1, block, 1), np.float32)
    start = time.perf_counter()
    with Store.open(folder / "synthetic", study, schema, fingerprint="none", attrs={}, block=block) as store:
        for first, count in store.todo():
            part = values[:, :, :count]
            drawn = dict.fromkeys(schema.per_trial, part) | {"diverged": np.zeros(part.shape[:3], bool)}
            store.write(first, ResultBlock(drawn))
        store.finish()
    seconds = time.perf_counter() - start
    files = [path for path in (folder / "synthetic").rglob("*") if path.is_file()]
    return {
        "trials": trials,
        "seconds": seconds,
        "seconds_per_million": seconds * 1e6 / trials,
        "bytes": sum(path.stat().st_size for path in files),
        "files": len(files),
    }


def overhead(folder: Path, trials: int) -> dict[str, Any]:
    """Share of a run's time that storing it takes: the same run into a folder and into memory, in turn."""
    unstored = [part for part in command("", trials) if part not in ("--out", "")]
    kept: list[float] = []
    lost: list[float] = []
    for repeat in range(3):
        kept.append(run(folder, f"kept{repeat}", trials)["seconds"]["total"])
        done = subprocess.run(unstored, cwd=folder, capture_output=True, text=True, check=True)
        lost.append(json.loads(done.stdout)["seconds"]["total"])
    return {"trials": trials, "stored": kept, "in_memory": lost, "share": float(np.median(kept) / np.median(lost) - 1)}


def table(found: dict[str, Any]) -> str:
    """Everything as text."""

    def rows(points: Sequence[dict[str, Any]], name: str) -> list[list[str]]:
        return [
            [
                label(item, name),
                f"{item['trials_per_second']:,.0f}",
                f"{item['seconds']:.1f} s",
                f"{item['peak_bytes'] / 2**20:,.0f} MiB" if "peak_bytes" in item else "",
                f"{item['again_seconds']:.2f} s" if "again_seconds" in item else "",
            ]
            for item in points
        ]

    def label(item: dict[str, Any], name: str) -> str:
        value = item["trials"] if name == "trials" else item.get("processes") or item["options"][-1]
        return f"{int(value):,} {name}"

    head = ["", "trials/s", "start to exit", "peak memory", "when finished"]
    made = [head]
    for name in ("trials", "devices", "processes"):
        made += rows(found[name], name)
    store, share = found["storing"], found["overhead"]
    return "\n".join(
        [
            text_table(made),
            "",
            f"Storing {store['trials']:,} made-up trials: {store['seconds']:.1f} s, "
            f"{store['bytes'] / 2**20:,.0f} MiB in {store['files']:,} files.",
            f"Storing {share['trials']:,} trials of the job costs {share['share']:+.1%} of the time without.",
        ]
    )


if __name__ == "__main__":
    main()
