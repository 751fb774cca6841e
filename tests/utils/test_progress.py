"""Progress, seen by a terminal, a file and a notebook's kernel."""

import io
import sys
import xml.etree.ElementTree
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from jaxinv.utils import progress
from jaxinv.utils.progress import reporting


class Output:
    """One output of a notebook's cell, as IPython's display handle updates it."""

    def __init__(self, first: Any) -> None:
        self.states = [first]

    def update(self, value: Any) -> None:
        self.states.append(value)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


def install_ipython(monkeypatch: pytest.MonkeyPatch, shell: Any) -> list[Output]:
    """An IPython with that shell; the outputs that were displayed."""
    outputs: list[Output] = []

    def display(*objects: Any, display_id: Any = None) -> Output | None:
        (value,) = objects
        outputs.append(Output(value))
        return outputs[-1] if display_id is not None else None

    ipython, module = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: shell  # pyright: ignore[reportAttributeAccessIssue]
    module.display = display  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return outputs


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[Output]:
    return install_ipython(monkeypatch, SimpleNamespace(kernel=object()))


@pytest.mark.parametrize("show", [None, True])
def test_a_notebook_gets_one_output_that_is_updated(
    notebook: list[Output], capsys: pytest.CaptureFixture[str], clock: SimpleNamespace, show: bool | None
) -> None:
    with reporting("training", show) as report:
        for done in range(100, 1001):  # 100 were there before
            report(done, 1000)
            clock.seconds += 0.01
    (output,) = notebook
    assert capsys.readouterr() == ("", "")
    assert 40 <= len(output.states) <= 48, "nine seconds, at most five updates in each"
    texts = [repr(state) for state in output.states]
    assert texts[:2] == ["training: starting", "training: 100/1,000 trials, compiling"]
    assert texts[2] == "training: 120/1,000 trials, 100/s, 9 s left"
    assert texts[-1] == "training: 1,000/1,000 trials after 9.0 s"
    assert 'value="0.1200"' in output.states[2]._repr_html_()
    assert "<progress" not in output.states[-1]._repr_html_()


def test_what_is_shown_is_html_that_shows_the_text(notebook: list[Output]) -> None:
    with reporting("<b>&", None) as report:
        report(1, 3)
    for state in notebook[0].states:
        seen = xml.etree.ElementTree.fromstring(state._repr_html_())
        assert "".join(seen.itertext()).strip() == repr(state)


def test_a_failure_leaves_how_far_it_came(notebook: list[Output], clock: SimpleNamespace) -> None:
    def interrupted() -> None:
        with reporting("training", None) as report:
            for done in (0, 7):
                report(done, 10)
                clock.seconds += 0.05
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert repr(notebook[0].states[-1]) == "training: 7/10 trials after 0.1 s"


def test_nothing_to_do(notebook: list[Output]) -> None:
    with reporting("training", None) as report:
        report(0, 0)
    assert repr(notebook[0].states[-1]).startswith("training: 0/0 trials")


def test_false_and_functions_are_as_everywhere(notebook: list[Output]) -> None:
    calls: list[tuple[int, int]] = []
    with reporting("training", False) as report:
        report(1, 2)
    with reporting("training", lambda done, total: calls.append((done, total))) as report:
        report(1, 2)
    assert not notebook
    assert calls == [(1, 2)]


@pytest.mark.parametrize("shell", [None, SimpleNamespace(), SimpleNamespace(kernel=None)])
def test_ipython_outside_a_notebook_is_no_notebook(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], clock: SimpleNamespace, shell: Any
) -> None:
    outputs = install_ipython(monkeypatch, shell)
    with reporting("training", None) as report:
        report(1, 2)
    with reporting("training", True) as report:
        for done in range(3):
            report(done, 2)
            clock.seconds += 6
    assert not outputs
    assert capsys.readouterr().err.splitlines() == [
        "training: 1/2 trials, 0.17/s, 6 s left",
        "training: 2/2 trials, 0.17/s, 0 s left",
    ]


def test_ipython_is_not_imported_to_find_out() -> None:
    assert progress.notebook_display() is None or "IPython" in sys.modules


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with reporting("training", None) as report:
        report(1, 2)
        report(2, 2)
    assert "training" in terminal.getvalue()
