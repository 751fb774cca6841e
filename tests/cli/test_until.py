"""`jaxinv run --until`: what it prints, stores and refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

import jaxinv as ji
from jaxinv import cli
from jaxinv.experiments.reports import write_report
from tests.cli.test_compare import call
from tests.datasets import tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    made = tiny()
    np.savez(path, x_train=made.x_train, y_train=made.y_train, x_test=made.x_test, y_test=made.y_test)
    return path


@pytest.mark.slow
def test_a_question_is_answered_stored_and_told(capsys, tmp_path, data):
    command = ["run", "--dataset", data, "--steps", 6, "--batch-size", 30, "--quiet", "--out", tmp_path / "run"]
    command += ["--until", "normal-inverted != 0", "--max-trials", 500]
    status, out, err = call(capsys, *command, "--json")
    assert (status, err) == (cli.DONE, "")
    found = json.loads(out)["until"]
    n = found["stop"]["n"]
    assert (found["text"], found["max_trials"], found["stop"]["reason"]) == (
        "normal-inverted != 0",
        500,
        "difference_from",
    )
    status, out, _ = call(capsys, *command)
    told = " ".join(out.split())
    assert f"The run stopped by itself after {n} trials, {500 - n} fewer than its maximum of 500:" in told
    assert "leaves out 0." in told
    assert max(map(len, out.split("\n\n")[2].splitlines())) <= 80
    assert out.isascii()
    pair = ji.compare(ji.load(tmp_path / "run"), "normal", "inverted")
    assert pair.stopped
    assert "the run stopped by what it saw" in str(pair)
    page = write_report(tmp_path / "run").with_suffix(".md").read_text()
    assert f"The run stopped by itself after {n} trials" in page
    assert "--until 'normal-inverted != 0' --max-trials 500" in page
    assert "anytime 95% interval \\[" in page
    assert "The number of trials was not decided beforehand" in page


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--until", "normal-inverted"], "until: 'normal-inverted' cannot be read"),
        (["--until", "normal-zca +- 0.1"], "until: 'zca' is not known"),
        (["--until", "normal-inverted +- 0.1", "--trials", "50"], "trials: 50 is not allowed beside --until"),
        (["--max-trials", "50"], "max_trials: --max-trials goes with --until"),
        (["--until", "normal-inverted +- 0.1", "--max-trials", "20"], "max_trials: 20 is too few"),
        (["--until", "normal-inverted +- 1e-7"], "half_width: 1e-07 is out of reach of 10,000 trials"),
        (["--until", "normal-inverted +- 1", "--learning-rate", "0.1", "0.5"], "several learning rates"),
    ],
)
def test_what_makes_no_sense_gets_one_line(capsys, tmp_path, data, arguments, says):
    status, out, err = call(capsys, "run", "--dataset", data, "--out", tmp_path / "run", *arguments)
    assert (status, out) == (cli.SENSELESS, "")
    assert err.startswith(f"jaxinv: {says}") or says in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()
