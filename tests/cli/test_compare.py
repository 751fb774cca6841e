"""`jaxinv compare` and `jaxinv power` of stored runs: two arms, two runs, any metric."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from jaxinv import Arm, cli
from jaxinv.study import Study
from tests.builders import store_results, study_results

ARMS = ("normal", "inverted", "raw")


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = cli.main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def stored(folder: Path, draw: int = 0, **fields) -> np.ndarray:
    """A made-up run in a folder; its accuracies [A, L, T]."""
    study = Study(**{"trials": 9, "arms": ARMS, **fields})
    results = study_results(study, seed=draw)
    store_results(folder, study, results)
    return results.accuracy.values[..., -1].astype(np.float64)


def test_two_runs_are_compared_arm_by_arm_with_adjusted_p_values(capsys, tmp_path):
    a = stored(tmp_path / "sgd")
    b = stored(tmp_path / "adam", draw=1, optimizer="adam", learning_rate=0.01, arms=("raw", "normal"), trials=7)
    status, out, err = call(capsys, "compare", tmp_path / "sgd", tmp_path / "adam", "--json")
    assert (status, err) == (cli.DONE, "")
    found = json.loads(out)["comparisons"]
    assert [pair["arms"] for pair in found] == [["sgd/normal", "adam/normal"], ["sgd/raw", "adam/raw"]]
    tests = [scipy.stats.ttest_rel(a[0, 0, :7], b[1, 0]), scipy.stats.ttest_rel(a[2, 0, :7], b[0, 0])]
    small, large = sorted(test.pvalue for test in tests)
    holm = {small: min(1.0, 2 * small), large: max(min(1.0, 2 * small), large)}
    for pair, test in zip(found, tests, strict=True):
        assert pair["n"] == 7
        assert pair["p_value"] == pytest.approx(test.pvalue)
        assert pair["p_adjusted"] == pytest.approx(holm[test.pvalue])
        assert pair["rate"] == [0.5, 0.01]
    text = call(capsys, "compare", tmp_path / "sgd", tmp_path / "adam")[1]
    assert "learning rates 0.5 (a) and 0.01 (b)" in " ".join(text.split())
    assert "Holm over 2 tests" in text
    assert max(map(len, text.splitlines())) <= 80


def test_one_arm_of_two_runs_is_picked_by_name_or_is_the_only_one(capsys, tmp_path):
    a, b = stored(tmp_path / "sgd"), stored(tmp_path / "adam", draw=1, optimizer="adam")
    status, out, _ = call(capsys, "compare", tmp_path / "sgd", tmp_path / "adam", "--arm", "inverted", "--json")
    pair = json.loads(out)
    assert (status, pair["arms"], pair["family"]) == (cli.DONE, ["sgd/inverted", "adam/inverted"], 1)
    assert pair["difference"] == pytest.approx((a[1] - b[1]).mean())
    c = stored(tmp_path / "bn", draw=2, model="mlp_bn", arms=("signed",))
    d = stored(tmp_path / "few", draw=3, arms=(Arm("few", train_examples=100),))
    (pair,) = json.loads(call(capsys, "compare", tmp_path / "bn", tmp_path / "few", "--json")[1])["comparisons"]
    assert pair["arms"] == ["bn/signed", "few/few"]
    assert pair["difference"] == pytest.approx((c - d).mean())


def test_the_exact_anytime_interval_is_an_option_and_the_steps_of_accuracies_are_known(capsys, tmp_path):
    study = Study(trials=70, arms=ARMS)
    for name, seed in (("a", 0), ("b", 1)):
        store_results(tmp_path / name, study, study_results(study, seed=seed).assign_attrs(test_images="200"))
    found = {}
    for kind in ("asymptotic", "exact"):
        out = call(capsys, "compare", tmp_path / "a", "normal", "raw", "--anytime", kind, "--json")[1]
        found[kind] = json.loads(out)
        low, high = found[kind]["ci95_anytime"]
        assert low < found[kind]["ci95"][0] < found[kind]["ci95"][1] < high
    assert found["exact"]["p_anytime"] != found["asymptotic"]["p_anytime"]
    assert found["exact"]["methods"]["p_anytime"] == "empirical Bernstein"
    pairs = json.loads(call(capsys, "compare", tmp_path / "a", tmp_path / "b", "--json")[1])["comparisons"]
    assert {pair["grain"] for pair in (*found.values(), *pairs)} == {1 / 200}


def test_what_cannot_be_compared_is_told_in_one_line(capsys, tmp_path):
    stored(tmp_path / "two")
    stored(tmp_path / "other", arms=("signed", "zca"))
    stored(tmp_path / "seed", seed=1)
    stored(tmp_path / "rates", learning_rate=(0.1, 0.5))
    (tmp_path / "empty").mkdir()
    two = tmp_path / "two"
    for arguments, says in (
        ((tmp_path / "other",), "no arm is in both (two has normal, inverted, raw; other has signed, zca)"),
        ((tmp_path / "seed",), "trials of 'two' and 'seed' are not paired (seed: 0 in two, 1 in seed)"),
        ((tmp_path / "rates",), "(learning_rate: [0.5] in two, [0.1, 0.5] in rates)"),
        ((tmp_path / "empty",), "empty"),
        ((tmp_path / "other", "--arm", "normal"), "arm: 'normal' is not known; give one of signed, zca"),
        (("normal", "raw", "--arm", "normal"), "arm: 'normal' is not allowed with one run"),
        (("normal",), "arms: 1 given (normal); give two, none for all pairs, or the folder of another run"),
        (
            ("normal", "raw", "--anytime", "exact", "--metric", "test_loss"),
            "anytime: 'exact' is not allowed",
        ),
        (("normal", "raw", "--metric", "los"), "metric: 'los' is not known; did you mean 'test_loss'? Give one of"),
        ((two, "--metric", "margin"), "metric: 'margin' is not known; give one of accuracy, test_loss"),
    ):
        status, out, err = call(capsys, "compare", two, *arguments)
        assert (status in (cli.SENSELESS, cli.FAILED), out) == (True, ""), arguments
        assert says in err
        assert err.count("\n") == 1


def test_power_of_arms_of_any_kind(capsys, tmp_path):
    adam = Arm("adam", optimizer="adam", learning_rate=(0.001, 0.01))
    values = stored(tmp_path / "run", arms=("normal", adam), learning_rate=(0.1, 0.5))
    status, out, _ = call(
        capsys, "power", tmp_path / "run", "normal", "adam", "--learning-rate", "0.5", "--effect", "0.1", "--json"
    )
    assert status == cli.DONE
    assert json.loads(out)["sd"] == pytest.approx((values[0, 1] - values[1, 1]).std(ddof=1))


def test_two_arms_have_a_learning_rate_each_at_an_earlier_step(capsys, tmp_path):
    study = Study(trials=9, arms=ARMS, learning_rate=(0.1, 0.5), steps=20, eval_every=10)
    results = study_results(study)
    store_results(tmp_path, study, results)
    where = ["--learning-rate", 0.5, 0.1, "--step", 10, "--metric", "test_loss", "--json"]
    loss = results.test_loss.values.astype(np.float64)[..., 0]
    d = loss[0, 1] - loss[2, 0]
    status, out, err = call(capsys, "compare", tmp_path, "normal", "raw", *where)
    assert (status, err) == (cli.DONE, "")
    assert json.loads(out)["difference"] == pytest.approx(d.mean())
    status, out, err = call(capsys, "power", tmp_path, "normal", "raw", *where)
    assert (status, err) == (cli.DONE, "")
    assert json.loads(out)["sd"] == pytest.approx(d.std(ddof=1))
    status, _, err = call(capsys, "compare", tmp_path, "normal", "raw", "--learning-rate", 0.1, 0.5, 0.1)
    assert status == cli.SENSELESS
    assert err == "jaxinv: learning_rate: 3 given; give one, or one for each of two arms\n"
