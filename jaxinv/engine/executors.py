"""Shares of a run handed to an executor of the user's: a pool, Dask, submitit, mpi4py, Ray."""

import os
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, ProcessPoolExecutor
from typing import Any, Protocol

from jaxinv.errors import DataError, InputError, first_line, whole
from jaxinv.utils.progress import Report

POLL_SECONDS = 0.2
END_SECONDS = 10  # in which workers leave once all trials are there; one that hangs is not waited for
LOOK_SHARE = 0.05  # of the time goes into looking at how far the run is


class Submitted(Protocol):
    """What an executor gives back: the part of `concurrent.futures.Future` that others have as well."""

    def done(self) -> bool:
        """Whether it has ended."""
        ...

    def exception(self) -> BaseException | None:
        """What it raised."""
        ...

    def cancel(self) -> Any:
        """Do not begin it, or stop it."""
        ...


class Executor(Protocol):
    """Whatever can be asked to call a function elsewhere: `concurrent.futures`, `dask.distributed.Client`, submitit."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Call it, sometime; a `Submitted`."""
        ...


def check_executor(executor: Any, shares: int | None, out: object) -> int:
    """How many shares a run is cut into.

    Raises:
      InputError: the executor is none, there is no folder, or its processes would be forked.
    """
    if not callable(getattr(executor, "submit", None)):
        raise InputError(f"executor: {executor!r} is not allowed; give an object with submit(function, *arguments)")
    if out is None:
        raise InputError("out: None is not allowed with an executor; give a folder that its workers see, or a URL")
    context = getattr(executor, "_mp_context", None)
    if isinstance(executor, ProcessPoolExecutor) and context is not None and context.get_start_method() == "fork":
        raise InputError(
            "executor: a pool of forked processes is not allowed, since JAX hangs in them; give "
            'ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"))'
        )
    return whole("shares", shares)


def run_shares(
    executor: Executor,
    shares: int,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
    count: Callable[[], tuple[int, int]],
    report: Report,
) -> None:
    """Have an executor call `work(*arguments, share, launch)` for each share (i, n), until all trials are there.

    `count` says how many are there, and how many it takes.

    Shares that fail are taken up by the others. Whatever stops this function, Ctrl-C for one, cancels all of them.

    Raises:
      DataError: all shares have ended, and trials are missing.
      InputError: the workers refuse the run.
    """
    launch = f"{os.getpid()}-{time.time_ns()}"  # an argument of its own: Dask gives back what it knows for equal ones
    futures: list[Submitted] = []
    try:
        futures += [executor.submit(work, *arguments, (share, shares), launch) for share in range(shares)]
        wait, complete = POLL_SECONDS, 0.0
        while True:
            time.sleep(wait)
            ended = all(future.done() for future in futures)  # before looking: who ends has stored before
            start = time.monotonic()
            finished, trials = count()
            wait = max(POLL_SECONDS, (time.monotonic() - start) / LOOK_SHARE)
            report(finished, trials)
            if finished == trials:
                complete = complete or start
                if ended or start - complete > END_SECONDS:
                    return
            elif ended:
                raise failure(futures, trials - finished)
    finally:
        for future in futures:
            if not future.done():
                future.cancel()


def failure(futures: list[Submitted], missing: int) -> Exception:
    """What to raise where all shares have ended too early."""
    errors = [error for future in futures if (error := raised(future)) is not None]
    refused = next((error for error in errors if isinstance(error, (InputError, DataError))), None)
    if refused is not None and len(errors) == len(futures):
        return refused
    why = f"; the first says: {first_line(errors[0]) or type(errors[0]).__name__}" if errors else ""
    return DataError(
        f"executor: {len(errors)} of {len(futures)} shares failed, and {missing} trials are missing{why}; "
        "run the same again"
    )


def raised(future: Submitted) -> BaseException | None:
    """What a share raised."""
    try:
        return future.exception()
    except CancelledError as error:
        return error
