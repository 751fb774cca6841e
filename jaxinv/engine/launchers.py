"""Which worker of how many this process is, by what launched it."""

import os
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from jaxinv.errors import InputError

RANKS = {"PMI_RANK": "PMI_SIZE", "OMPI_COMM_WORLD_RANK": "OMPI_COMM_WORLD_SIZE"}

Share = tuple[int, int]  # (i, n): worker i of n, from 0


def check_share(share: Any, out: object) -> Share:
    """A share that a user has given.

    Raises:
      InputError: it is none, or there is no folder to share.
    """
    pair = tuple(share) if isinstance(share, Sequence) and not isinstance(share, str) else ()
    if len(pair) != 2 or not all(isinstance(number, Integral) for number in pair) or not 0 <= pair[0] < pair[1]:
        raise InputError(f"share: {share!r} is not allowed; give (i, n) with i from 0 to n - 1")
    if out is None:
        raise InputError("out: None is not allowed for a share of a run; give a folder that all workers see, or a URL")
    return int(pair[0]), int(pair[1])


def parse_share(text: str) -> Share:
    """A share as it stands on the command line.

    >>> parse_share("3/16")
    (3, 16)
    """
    worker, slash, workers = text.partition("/")
    if not (slash and worker.isdecimal() and workers.isdecimal() and int(worker) < int(workers)):
        raise InputError(f"share: {text!r} is not allowed; give I/N with I from 0 to N - 1")
    return int(worker), int(workers)


def launched_share(environment: Mapping[str, str] | None = None) -> Share | None:
    """The share that a launcher means: of a SLURM array, a Kubernetes indexed job, or MPI; None where there is none.

    An indexed job does not tell how many there are: its workers begin at the start, in the middle, after a quarter,
    after three quarters, and so on.

    >>> launched_share({"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "8"})
    (4, 8)
    >>> [launched_share({"JOB_COMPLETION_INDEX": str(index)}) for index in range(4)]
    [(0, 1), (1, 2), (1, 4), (3, 4)]

    Raises:
      InputError: some of a launcher's variables are set and others are not, or they make no sense.
    """
    given = os.environ if environment is None else environment

    def number(name: str, default: int | None = None) -> int:
        text = given.get(name)
        if text is None and default is not None:
            return default
        if text is None or not text.isdecimal():
            raise InputError(f"{name}: {text!r} is not allowed beside {first}; give a whole number, or --share I/N")
        return int(text)

    if (first := "SLURM_ARRAY_TASK_ID") in given:
        begin, step = number("SLURM_ARRAY_TASK_MIN", 0), max(1, number("SLURM_ARRAY_TASK_STEP", 1))
        count = max(1, number("SLURM_ARRAY_TASK_COUNT"))
        return (number(first) - begin) // step % count, count  # indices may have gaps
    if (first := "JOB_COMPLETION_INDEX") in given:
        bits = number(first).bit_length()
        return int(f"{number(first):0{bits}b}"[::-1], 2) if bits else 0, 1 << bits
    for first, size in RANKS.items():
        if first in given or size in given:
            return _share(first, number(first), number(size))
    return None


def _share(name: str, worker: int, workers: int) -> Share:
    if not 0 <= worker < workers:
        raise InputError(f"{name}: {worker} of {workers} is not allowed; give a number below {workers}, or --share I/N")
    return worker, workers
