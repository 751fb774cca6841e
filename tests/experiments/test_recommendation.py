"""Recommendations: what is run in a cell, how it is judged, and that it resumes and is reported."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxinv import cli
from jaxinv.errors import InputError
from jaxinv.experiments.claims.several import matrix
from jaxinv.experiments.recommendation import page, recommend
from jaxinv.experiments.recommendation.cells import ARMS, Cell, Protocol
from jaxinv.experiments.recommendation.judging import judge_cell
from jaxinv.experiments.reports import write_report
from tests.builders import results_with_means
from tests.datasets import tiny
from tests.report.test_report import Reader

STEADY = Cell(model="mlp", light="steady", images=None)


def judged(cell: Cell = STEADY, **means: Any) -> dict[str, Any]:
    results = results_with_means(means, trials=12)
    return judge_cell(cell, results, dict.fromkeys(means, 0.001), 200)


def test_the_best_is_recommended_with_what_it_gains():
    found = judged(normal=0.8, channel_mean=0.85, zca=0.9, pixel_mean=0.9)
    assert found["use"] in ("zca", "pixel_mean")
    assert found["gain"] == pytest.approx(0.1, abs=0.003)
    assert found["ci95"][0] < found["gain"] < found["ci95"][1]
    assert (found["n"], found["instead_of"]) == (6, "normal")
    assert found["as_good"] == [({"zca", "pixel_mean"} - {found["use"]}).pop()]


def test_selection_does_not_flatter():
    """Arms that differ by nothing but noise: the best of the even trials is no better in the odd ones."""
    rng = np.random.default_rng(0)
    gains = []
    for _ in range(60):
        results = results_with_means(dict.fromkeys(ARMS, 0.5), trials=12)
        results.accuracy[:] = rng.normal(0.5, 0.02, results.accuracy.shape)
        gains.append(judge_cell(STEADY, results, dict.fromkeys(ARMS, 0.1), 200)["gain"])
    assert abs(np.mean(gains)) < 4 * np.std(gains) / 60**0.5


def test_what_the_discussion_says_is_judged_where_it_is_said():
    means: Any = {
        "normal": 0.7,
        "channel_mean": 0.8,
        "pixel_mean": 0.8,
        "channel_zscore": 0.8,
        "image_standardize": 0.75,
    }
    steady = {one["name"]: one["verdict"] for one in judged(**(means | {"zca": 0.7, "lcn": 0.8}))["comparisons"]}
    assert steady == {
        "channel mean": "supported",
        "pixel mean": "supported",
        "pixel or channel": "supported",
        "deviation": "refuted",
        "per image, steady light": "supported",
        "local contrast": "refuted",
        "whitening harms": "supported",
    }
    changing = judged(Cell(model="mlp", light="changing", images=20), **means)["comparisons"]
    assert {"per image, changing light": "refuted"}.items() <= {one["name"]: one["verdict"] for one in changing}.items()
    assert "per image, steady light" not in {one["name"] for one in changing}


def test_few_images_are_all_that_preprocessings_see():
    data = tiny()
    protocol = Protocol(data=data, seed=4)
    part = protocol.part(20)
    assert part.x_train.shape[0] == 20
    assert part.x_test is data.x_test or np.array_equal(part.x_test, data.x_test)
    assert np.array_equal(part.x_train, protocol.part(20).x_train)
    assert protocol.part(None) is data
    with pytest.raises(InputError, match="train_examples: 201 is more than the 200 training images"):
        protocol.part(201)
    pilot, study = protocol.pilot_study(STEADY), protocol.study(STEADY, dict.fromkeys(ARMS, 0.01))
    assert pilot.seed != study.seed
    assert study.batch_stats == "recomputed"
    assert protocol.study(Cell(model="mlp", light="changing", images=20), dict.fromkeys(ARMS, 0.01)).batch_size == 20


@pytest.mark.slow
def test_it_runs_resumes_and_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = tiny(shape=(8, 8, 3))
    path, out = tmp_path / "small.npz", tmp_path / "out"
    np.savez(path, x_train=data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test)
    flags = ["--dataset", str(path), "--model", "mlp_bn:4", "--light", "steady", "--train-examples", "50", "all"]
    command = ["recommend", *flags, "--steps", "8", "--trials", "12", "--quick", "--out", str(out), "--quiet"]
    assert cli.main([*command, "--json"]) == cli.DONE
    summary = json.loads(capsys.readouterr().out)
    assert [cell["images"] for cell in summary["recommendations"]] == [50, 200]
    assert cli.main(command) == cli.DONE
    assert max(len(line) for line in capsys.readouterr().out.splitlines() if str(out) not in line) <= 80
    assert json.loads((out / "recommendation.json").read_text())["recommendations"] == summary["recommendations"]
    shown = Reader((out / "report.html").read_text())
    assert summary["headline"] in shown.text
    assert "Whitening costs mlp_bn:4 in steady light" in shown.text
    assert page.recommendations(summary).rows[0][3] == summary["recommendations"][0]["use"]
    write_report(out)


def test_requests_that_make_no_sense(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for words, told in (
        (("--train-examples", "some"), "train_examples: 'some' is not allowed; give whole numbers from 1, or all"),
        (("--light", "dim"), "light: 'dim' is not allowed; give some of steady, changing"),
        (("--arms", "normal"), "arms: normal is not allowed; give two or more to compare"),
        (("--trials", "3"), "trials: 3 is not allowed; give a whole number from 4: the even ones choose, the odd"),
    ):
        assert cli.main(["recommend", *words, "--out", str(tmp_path / "out")]) == cli.SENSELESS
        assert told in capsys.readouterr().err
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(InputError, match="holds something else"):
        recommend(tmp_path, Protocol(data=tiny()))


@pytest.mark.slow
def test_claims_on_several_datasets_make_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    paths = []
    for name, lift in (("dark", 0), ("lit", 1)):
        data = tiny()
        images = [np.maximum(x, lift) for x in (data.x_train, data.x_test)]
        paths.append(str(tmp_path / f"{name}.npz"))
        np.savez(paths[-1], x_train=images[0], y_train=data.y_train, x_test=images[1], y_test=data.y_test)
    command = ["claims", "zero-pixels-never-move", "--quick", "--quiet", "--dataset", *paths]
    assert cli.main([*command, "--out", str(tmp_path / "out"), "--json"]) == cli.DONE
    found = json.loads(capsys.readouterr().out)["datasets"]
    assert [one["claims"][0]["verdict"] for one in found] == ["inconclusive", "premise absent"]
    assert [one["label"] for one in found] == ["dark.npz", "lit.npz"]
    shown = Reader((tmp_path / "out" / "report.html").read_text())
    assert "0 of 1 claims have the same verdict on both datasets." in shown.text
    assert "lit.npz: Of 1 claims, 0 came out supported, 0 refuted and 0 inconclusive; the premise of 1" in shown.text
    assert matrix(found).rows[0][1].startswith("? inconclusive")
    assert matrix(found).rows[0][2] == "– premise absent"
    assert (tmp_path / "out" / "dark-npz" / "report.html").is_file()
    assert cli.main(["claims", "--dataset", paths[0], paths[0], "--out", str(tmp_path / "two")]) == cli.SENSELESS
    assert "has a dataset twice" in capsys.readouterr().err
