"""Whole processes: seconds from start to exit, and peak memory.

A process is started by a small one in between, which this file is when it is run. Linux counts the memory of whoever
calls `exec` as the new program's first peak, so a child of a large process would seem large itself.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


@dataclass(frozen=True)
class Finished:
    """A process that has ended well: seconds from start to exit, peak resident memory in bytes, standard output."""

    seconds: float
    peak_bytes: int
    printed: str


def run_process(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, cwd: str | None = None
) -> Finished:
    """Run a program to its end.

    Raises:
      RuntimeError: it ended with another status than 0; with the end of what it wrote to standard error.
    """
    launcher = [sys.executable, "-I", "-S", os.path.abspath(__file__), *command]
    done = subprocess.run(
        launcher, env={**os.environ, **(environment or {})}, cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return Finished(**json.loads(done.stdout.splitlines()[-1]))


def _launch(command: Sequence[str]) -> int:
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * PEAK_UNIT
    print(json.dumps({"seconds": seconds, "peak_bytes": peak, "printed": done.stdout}))
    return done.returncode


if __name__ == "__main__":
    sys.exit(_launch(sys.argv[1:]))
