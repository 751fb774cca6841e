"""Progress on standard error: a bar on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Report = Callable[[int, int], None]  # (done, total)


def say(line: str) -> None:
    """Print a line on standard error. A closed or full one is ignored, because results matter more than notes."""
    with contextlib.suppress(OSError):
        if sys.stderr is not None:  # print would take None for standard output
            print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def reporting(what: str, show: Report | bool | None, unit: str = "trials") -> Iterator[Report]:
    """A function to call with (done, total).

    `show`: a function of your own; True for a bar or lines; False for neither; None for a bar, and that only where
    standard error is a terminal.
    """
    if callable(show):
        yield show
    elif sys.stderr is None or show is False or (show is None and not sys.stderr.isatty()):
        yield lambda done, total: None
    elif sys.stderr.isatty():
        with _bar(what, unit) as report:
            yield report
    else:
        yield _lines(what, unit)


@contextlib.contextmanager
def _bar(what: str, unit: str) -> Iterator[Report]:
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=None),
        progress.TextColumn("{task.fields[count]} {task.fields[rate]}"),
        progress.TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None, start=False, count="", rate="starting")
        start, first = time.monotonic(), -1

        def report(done: int, total: int) -> None:
            nonlocal start, first
            if first < 0:  # what an earlier run finished does not count for the rate
                start, first = time.monotonic(), done
                bar.start_task(task)
            rate = f"{_rate(done - first, start)}/s" if done > first else "compiling"
            bar.update(task, completed=done, total=total, count=f"{done:,}/{total:,} {unit}", rate=rate)

        yield report


def _lines(what: str, unit: str, every: float = 5.0) -> Report:
    start, first, said = time.monotonic(), -1, time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal start, first, said
        now = time.monotonic()
        if first < 0:
            start, first = now, done
        if now - said < every or done == first:
            return
        said = now
        left = (total - done) * (now - start) / (done - first)
        say(f"{what}: {done:,}/{total:,} {unit}, {_rate(done - first, start)}/s, {left:,.0f} s left")

    return report


def _rate(done: int, start: float) -> str:
    rate = done / max(time.monotonic() - start, 1e-9)
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
