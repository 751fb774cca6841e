"""Published experiments: what is declared, how it is judged, and that each runs, resumes and is reported."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxinv import cli, registry
from jaxinv.data import Dataset
from jaxinv.errors import InputError
from jaxinv.experiments.published import measures, overview, page, running, variance
from jaxinv.experiments.published.experiment import Experiment, Figure, Plan, Runs, Size
from jaxinv.experiments.published.judging import judge, outcome
from jaxinv.experiments.published.measures import Cell
from jaxinv.experiments.reports import write_report
from jaxinv.study import Study
from tests.builders import results_with_means
from tests.datasets import tiny
from tests.report.test_report import Reader

DECLARED = Path(running.__file__).parent


@pytest.mark.parametrize("name", registry.EXPERIMENTS)
def test_every_experiment_is_declared_in_a_few_lines(name: str):
    experiment = running.get_experiment(name)
    assert experiment.name == name
    assert experiment.source.startswith("https://")
    assert experiment.question.endswith("?")
    says = [one.says for one in experiment.statements]
    assert len(set(says)) == len(says)
    assert any(one.decides for one in (*experiment.statements,)) or experiment.figures
    lines = (DECLARED / f"{name.replace('-', '_')}.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) < 60


def runs(**means: Any) -> Runs:
    """A study "s" of arms with these mean accuracies."""
    return Runs({"s": Plan(Study())}, {"s": results_with_means(means, trials=20)})


def declared(**fields: Any) -> Experiment:
    source = "https://jaxinv.test, A. Author 2020"
    return Experiment(name="inversion", question="Q?", source=source, settings="S.", studies=lambda size: {}, **fields)


@pytest.mark.parametrize(("away", "wanted"), [(1.9, "replicated"), (-2.1, "not replicated")])
def test_a_published_figure_holds_within_two_standard_deviations(away: float, wanted: str):
    found = runs(normal=0.9)
    values = found.accuracy("s", "normal")
    figure = Figure(
        what="normal",
        value=values.mean() + away * values.std(ddof=1),
        measure=lambda runs: runs.accuracy("s", "normal"),
    )
    judged = judge(declared(figures=[figure]), found)
    assert judged["verdict"] == wanted
    assert judged["figures"][0]["z"] == pytest.approx(away)
    few = Runs(found.plans, {"s": found.results["s"].isel(trial=slice(5))})
    assert judge(declared(figures=[figure]), few)["verdict"] == "open"


def test_statements_are_judged_by_their_criteria():
    found = runs(a=0.9, b=0.8)
    more = measures.scores_more("A is better.", Cell("s", "a"), Cell("s", "b"), "a minus b")
    less = measures.scores_more("B is better.", Cell("s", "b"), Cell("s", "a"), "b minus a")
    asked = measures.scores_more("B is better?", Cell("s", "b"), Cell("s", "a"), "b minus a", decides=False)
    close = measures.scores_more("By much.", Cell("s", "a"), Cell("s", "b"), "a minus b", margin=0.1)
    for statements, wanted in (
        ([more, asked], "replicated"),
        ([more, less], "in part"),
        ([less], "not replicated"),
        ([more, close], "open"),
    ):
        assert judge(declared(statements=statements), found)["verdict"] == wanted
    assert judge(declared(statements=[more]), found)["statements"][0]["value"] == pytest.approx(0.1, abs=1e-3)


def test_what_short_trainings_cannot_show_is_left_open():
    found = runs(a=0.9, b=0.8)
    less = measures.scores_more("B is better.", Cell("s", "b"), Cell("s", "a"), "b minus a")
    less = replace(less, fails_at=("full",))
    for size, wanted in (("quick", "open"), ("default", "open"), ("full", "not replicated")):
        judged = judge(declared(statements=[less]), replace(found, size=size))
        assert judged["verdict"] == wanted


def test_outcomes():
    assert outcome([]) == "open"
    assert outcome(["open", "does not hold"]) == "not replicated"


def test_shares_count_trials():
    results = results_with_means({"a": 0.5}, trials=20, sd=0.0)
    results.accuracy[0, 0, :15, 0] = 0.1
    found = Runs({"s": Plan(Study())}, {"s": results})
    share = measures.share_between(Cell("s", "a"), 0, 0.11, found)
    assert (share.hits, share.n) == (15, 20)
    assert measures.above(Cell("s", "a"), 0.1, found).value == pytest.approx(0.1)


def test_dead_units_are_those_that_no_image_lights():
    images = np.array([[1.0, 0.0], [0.0, 2.0]])
    weight = np.array([[-1.0, -1.0], [-1.0, 1.0], [0.0, 0.0], [-1.0, -1.0]])
    assert measures.dead_units(weight, np.array([0.5, 0.0, 0.0, 1.5]), images) == 0.5


def test_independent_errors_have_the_variance_of_independent_errors():
    rng = np.random.default_rng(0)
    chances = rng.uniform(0.3, 1, 400)
    correct = rng.random((4000, 400)) < chances
    expected = (chances * (1 - chances)).sum() / 400**2
    assert variance.independent_variance(correct) == pytest.approx(expected, rel=0.01)
    found = variance.excess(expected, correct.mean(axis=1))
    assert found.ci95[0] < 0 < found.ci95[1]
    assert abs(found.value) < 0.1
    shared = correct & (rng.random((4000, 1)) < 0.97)  # some trials have all images wrong
    assert variance.excess(variance.independent_variance(shared), shared.mean(axis=1)).value > 1


def test_two_classes_that_an_ensemble_is_calibrated_on_have_the_variance_of_the_formula():
    """p ~ Beta such that P(right | p) = p: E[p (1 - p)] = error / 2 holds for p drawn from {q, 1 - q} in proportion."""
    rng = np.random.default_rng(1)
    q = rng.uniform(0.5, 1, 2000)
    chances = np.where(rng.random(2000) < q, q, 1 - q)
    correct = rng.random((2000, 2000)) < chances
    results = results_with_means({"normal": 0.5}, trials=2000)
    results["correct"] = (("arm", "learning_rate", "trial", "image"), correct[None, None])
    found = variance.over_binary_formula("s", Runs({"s": Plan(Study())}, {"s": results}))
    assert abs(found.value) < 0.1


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Size:
    """All studies brief, on tiny images."""
    places = {}
    for name, shape in (("mnist", (8, 8, 1)), ("tfds:fashion_mnist", (8, 8, 1)), ("tfds:cifar10", (8, 8, 3))):
        data = tiny(shape=shape, classes=10, test=40)
        path = tmp_path / f"{name.split(':')[-1]}.npz"
        np.savez(path, x_train=data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test)
        places[name] = str(path)
    monkeypatch.setattr(Size, "pick", lambda *numbers: 6)
    made = Size.study

    def brief(size: Size, dataset: str, **fields: Any) -> Study:
        short = {"steps": 6, "eval_every": 3, "batch_size": min(fields.get("batch_size", 20), 40)}
        fields["model"] = {"mlp_glorot:1000": "mlp_glorot:8", "mlp_sigmoid:400": "mlp_sigmoid:8"}.get(
            fields["model"], fields["model"]
        )
        return made(size, dataset, **(fields | short))

    monkeypatch.setattr(Size, "study", brief)
    return Size(name="quick", seed=3, places=places)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow]) for n in registry.EXPERIMENTS if n != "inversion"]
)
def test_it_runs_resumes_and_is_reported(name: str, small: Size, tmp_path: Path):
    out = tmp_path / "out"
    summary = running.run_experiment(name, out, size=small, progress=False)
    experiment = running.get_experiment(name)
    assert summary["verdict"] in ("replicated", "in part", "not replicated", "open")
    assert [one["says"] for one in summary["statements"]] == [one.says for one in experiment.statements]
    assert json.loads((out / "summary.json").read_text()) == summary
    again = running.run_experiment(name, out, size=small, progress=False)
    assert again["statements"] == summary["statements"]
    shown = Reader(write_report(out).read_text())
    for text in (
        experiment.question,
        summary["statements"][0]["says"],
        f"jaxinv replicate {name} --seed 3 --quick",
        experiment.cost,
    ):
        assert text in shown.text
    lines = page.text(summary, experiment).splitlines()
    assert not [line for line in lines if len(line) > 80 and "https://" not in line]
    assert "Run with few trials (--quick)." in " ".join(page.text(summary, experiment).split())
    rows = overview.rows({name: out})
    assert rows[0]["verdict"] == summary["verdict"]
    assert f"| `{name}`, [" in overview.markdown(rows)


def test_a_folder_of_something_else_is_left_alone(small: Size, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"out: .* holds something else"):
        running.run_experiment("cookbook", tmp_path / "out", size=small)
    with pytest.raises(InputError, match="experiment: 'cokbook' is not known; did you mean 'cookbook'"):
        running.get_experiment("cokbook")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing",), "experiment: 'nothing' is not known"),
        (("cookbook", "--trials", "5"), "trials: --chains and --trials are of inversion"),
        (("cookbook", "--quick", "--full"), "quick: --quick and --full exclude each other"),
        (("cookbook", "--dataset", "mnist"), "dataset: 'mnist' is not allowed; give NAME=PLACE"),
    ],
)
def test_senseless_requests(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str):
    assert cli.main(["replicate", *arguments]) == cli.SENSELESS
    assert words in capsys.readouterr().err


def test_the_list_names_all(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["replicate", "--list"]) == cli.DONE
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines() if line[0] != " "] == list(registry.EXPERIMENTS)
    assert cli.main(["replicate", "--list", "--json"]) == cli.DONE
    assert json.loads(capsys.readouterr().out) == {"experiments": registry.EXPERIMENTS}


def test_the_table_says_what_was_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["replicate", "--table"]) == cli.DONE
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(registry.EXPERIMENTS)
    assert all("| not run |" in line for line in lines[2:])


def test_classes_by_parity():
    from jaxinv.experiments.published.seed_variance import parity

    data = Dataset(
        x_train=np.zeros((3, 2, 2, 1), np.uint8),
        y_train=np.array([0, 3, 2]),
        x_test=np.zeros((2, 2, 2, 1), np.uint8),
        y_test=np.array([1, 2]),
        classes=4,
    )
    assert parity(data).y_train.tolist() == [0, 1, 0]
    assert (parity(data).y_test.tolist(), parity(data).classes) == ([1, 0], 2)
