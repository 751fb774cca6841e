"""Workers that share a run on this machine: how fast they are together, when one dies, when one comes late.

    python benchmarks/workers.py                    1, 2 and 4 workers; one of 4 killed; one of 4 late
    python benchmarks/workers.py --trials 3000      a shorter run

Each worker is a process, `jaxinv run --share I/N`. Rates are counted in the store, from its first block to its last, so
that what Python and JAX take to start does not count; `seconds` are from the start of the first process to the end of
the last one. All run the published job with other numbers of trials, with compiled programs kept from a first run.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: modules are looked up from the checkout, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from benchmarks.machine import describe
from jaxinv.store import count_finished

POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    trials: int = 10_000
    """Trials of each run."""
    steps: int = 50
    """Updates in each trial."""
    repeats: int = 1
    """How often; the best of each is shown."""
    json: bool = False
    """Print one JSON object."""


@dataclass
class Shared:
    """A run that is shared, while it goes on and afterwards."""

    out: Path
    options: Options
    workers: list[subprocess.Popen[str]] = field(default_factory=list)
    seen: list[tuple[float, int]] = field(default_factory=list)

    def start(self, index: int, count: int) -> subprocess.Popen[str]:
        """One more worker."""
        job = ["--trials", str(self.options.trials), "--steps", str(self.options.steps), "--out", str(self.out)]
        command = [sys.executable, "-m", "jaxinv", "run", *job, "--share", f"{index}/{count}", "--json", "--verbose"]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.workers.append(subprocess.Popen(command, **pipes))
        return self.workers[-1]

    def follow(self, until: Callable[[int], bool]) -> int:
        """Watch the store until so many trials are finished."""
        while not until(finished := count_finished(self.out)):
            if not self.seen or finished != self.seen[-1][1]:
                self.seen.append((time.perf_counter(), finished))
            if all(worker.poll() is not None for worker in self.workers):
                raise RuntimeError(self.workers[0].communicate()[1][-2000:])
            time.sleep(POLL_SECONDS)
        self.seen.append((time.perf_counter(), finished))
        return finished

    def end(self) -> list[tuple[str, str]]:
        """Wait for all workers: what they wrote."""
        return [worker.communicate(timeout=600) for worker in self.workers]

    @property
    def rate(self) -> float:
        """Trials a second, from the first block in the store to the last."""
        begun = next(index for index, (_, finished) in enumerate(self.seen) if finished)
        (start, first), (stop, last) = self.seen[begun], self.seen[-1]
        return (last - first) / (stop - start)


def measure(options: Options, folder: Path) -> dict[str, Any]:
    """All runs, one after another."""
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    found: dict[str, Any] = {}

    def shared(name: str, count: int, late: bool = False, kill: bool = False) -> None:
        start = time.perf_counter()
        run = Shared(folder / name, options)
        for index in range(count - late):
            run.start(index, count)
        if late or kill:
            run.follow(lambda finished: finished >= 0.3 * options.trials)
        if kill:
            run.workers[1].kill()
        if late:
            run.start(count - 1, count)
        run.follow(lambda finished: finished >= options.trials)
        written = run.end()
        row = {"workers": count, "seconds": time.perf_counter() - start, "trials_per_second": run.rate}
        if late:
            out, err = written[-1]
            there = int(re.search(r"(\d+) of \d+ trials are there", err).group(1))  # pyright: ignore
            row["fair_part"] = max(1, options.trials - there) / count
            row["share_of_fair_part"] = json.loads(out)["computed"] / row["fair_part"]
        found[name] = row

    shared("warm", 1)
    del found["warm"]
    for name, count in (("one", 1), ("two", 2), ("four", 4)):
        shared(name, count)
    shared("one of four killed", 4, kill=True)
    shared("one of four late", 4, late=True)
    return found


def table(rows: dict[str, Any]) -> str:
    """The result as text."""
    one, four = rows["one"], rows["four"]
    lines = [f"{'run':22}{'seconds':>9}{'trials/s':>10}{'rate of one':>13}{'time of four':>14}"]
    for name, row in rows.items():
        rate, seconds = row["trials_per_second"], row["seconds"]
        relative = f"{rate / one['trials_per_second']:13.2f}{seconds / four['seconds']:14.2f}"
        lines.append(f"{name:22}{seconds:9.1f}{rate:10.0f}{relative}")
    lines.append(f"the late one computes {rows['one of four late']['share_of_fair_part']:.2f} of its fair part")
    return "\n".join(lines)


def best(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each run the repeat with the highest rate."""
    return {name: max((run[name] for run in runs), key=lambda row: row["trials_per_second"]) for name in runs[0]}


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    runs = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(measure(options, Path(folder)))
    rows = best(runs)
    if options.json:
        print(json.dumps({"machine": describe(), "trials": options.trials, "rows": rows}))
    else:
        print(table(rows))


if __name__ == "__main__":
    main()
