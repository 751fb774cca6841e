"""Progress: a bar on a terminal or in a notebook, plain lines on any other standard error."""

import contextlib
import html
import importlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
Report = Callable[[int, int], None]  # (done, total)
_part: ContextVar[str] = ContextVar("part", default="")  # what is under way of something larger


def in_parts(kind: str, named: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    """Go through the parts of something larger; progress says which of how many is under way.

    >>> for name, value in in_parts("study", [("a", 1), ("b", 2)]):
    ...     print(_part.get().rstrip())
    study 1 of 2, a:
    study 2 of 2, b:
    """
    parts = list(named)
    for number, (name, part) in enumerate(parts, 1):
        token = _part.set(f"{kind} {number} of {len(parts)}, {name}: ")
        try:
            yield name, part
        finally:
            _part.reset(token)


def say(line: str) -> None:
    """Print a line on standard error. A closed or full one is ignored, because results matter more than notes."""
    with contextlib.suppress(OSError):
        if sys.stderr is not None:  # print would take None for standard output
            print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def reporting(what: str, show: Report | bool | None, unit: str = "trials") -> Iterator[Report]:
    """A function to call with (done, total).

    `show`: a function of your own; True for a bar or lines; False for neither; None for a bar, and that only in a
    notebook or where standard error is a terminal.
    """
    what = _part.get() + what
    if callable(show):
        yield show
    elif show is not False and (display := notebook_display()) is not None:
        with _notebook_bar(what, unit, display) as report:
            yield report
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


def notebook_display() -> Callable[..., Any] | None:
    """IPython's `display`, where it shows things in a notebook: Jupyter, VS Code, Colab; elsewhere None."""
    ipython = sys.modules.get("IPython")  # a notebook's kernel has imported it long before
    if ipython is None or getattr(ipython.get_ipython(), "kernel", None) is None:
        return None
    return importlib.import_module("IPython.display").display


@dataclass(frozen=True)
class _Shown:
    """A line of text, in a notebook behind a bar that is filled to a fraction."""

    text: str
    fraction: float | None = None

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        bar = "" if self.fraction is None else f'<progress value="{self.fraction:.4f}" style="width: 40%"></progress> '
        return f"<div>{bar}<code>{html.escape(self.text)}</code></div>"


@contextlib.contextmanager
def _notebook_bar(what: str, unit: str, display: Callable[..., Any], every: float = 0.2) -> Iterator[Report]:
    """One output, which is updated: a notebook keeps all that is written to it. Needs no widgets."""
    handle = display(_Shown(f"{what}: starting", 0), display_id=True)
    start, first, shown, last = time.monotonic(), -1, -every, (0, 0)

    def report(done: int, total: int) -> None:
        nonlocal start, first, shown, last
        now, last = time.monotonic(), (done, total)
        if first < 0:
            start, first = now, done
        if now - shown >= every:
            shown = now
            rate = _rate_and_rest(done, total, first, start) if done > first else "compiling"
            handle.update(_Shown(f"{what}: {done:,}/{total:,} {unit}, {rate}", done / max(total, 1)))

    try:
        yield report
    finally:
        done, total = last
        handle.update(_Shown(f"{what}: {done:,}/{total:,} {unit} after {time.monotonic() - start:,.1f} s"))


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
        say(f"{what}: {done:,}/{total:,} {unit}, {_rate_and_rest(done, total, first, start)}")

    return report


def _rate_and_rest(done: int, total: int, first: int, start: float) -> str:
    left = (total - done) * (time.monotonic() - start) / (done - first)
    return f"{_rate(done - first, start)}/s, {left:,.0f} s left"


def _rate(done: int, start: float) -> str:
    rate = done / max(time.monotonic() - start, 1e-9)
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
