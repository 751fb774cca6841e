"""Two runs as one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import jaxinv as ji
from tests.datasets import tiny

pytestmark = pytest.mark.slow  # three runs are made first

DATA = tiny()
STUDY = ji.Study(dataset=DATA, steps=3, batch_size=10, trials=4, learning_rate=0.1, arms=("normal", "inverted"))
ADAM = STUDY.replace(optimizer="adam", learning_rate=0.01, model="mlp", trials=6)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("merged")
    for name, study in {"sgd": STUDY, "adam": ADAM}.items():
        ji.run(study, out=root / name)
    return {name: root / name for name in ("sgd", "adam")}


@pytest.fixture(scope="module")
def both() -> xr.Dataset:
    """One run with the arms of both."""
    changes: dict[str, Any] = {"optimizer": "adam", "learning_rate": 0.01, "model": "mlp"}
    sgd = [ji.Arm(f"sgd/{arm}", preprocess=arm) for arm in ("normal", "inverted")]
    adam = [ji.Arm(f"adam/{arm}", preprocess=arm, **changes) for arm in ("normal", "inverted")]
    return ji.run(STUDY.replace(arms=(*sgd, *adam)))


def test_merged_runs_are_one_run_with_both_arms(folders: dict[str, Path], both: xr.Dataset) -> None:
    merged = ji.merge(folders)
    assert merged.arm.values.tolist() == both.arm.values.tolist()
    assert merged.rate.values.tolist() == both.rate.values.tolist() == [[0.1], [0.1], [0.01], [0.01]]
    assert merged.optimizer.values.tolist() == both.optimizer.values.tolist()
    assert merged.layer.values.tolist() == both.layer.values.tolist()
    np.testing.assert_array_equal(merged.accuracy, both.accuracy)
    for name in ("test_loss", "train_loss", "layer_delta"):
        np.testing.assert_allclose(merged[name], both[name], rtol=1e-4, atol=1e-6, err_msg=name)
    a, b = (ji.compare(results, "sgd/normal", "adam/normal") for results in (merged, both))
    assert (a.n, a.difference) == (4, pytest.approx(b.difference, abs=1e-7))


def test_merged_runs_carry_the_study_of_one(folders: dict[str, Path], both: xr.Dataset) -> None:
    found, expected = (json.loads(results.attrs["study"]) for results in (ji.merge(folders), both))
    assert found == expected


def test_two_folders_are_compared_by_trial(folders: dict[str, Path]) -> None:
    found = ji.compare(folders["sgd"], str(folders["adam"]), arm="inverted")
    a, b = (
        ji.load(folders[name]).accuracy.sel(arm="inverted").values[0, :4, 0].astype(float) for name in ("sgd", "adam")
    )
    assert found.arms == ("sgd/inverted", "adam/inverted")
    assert found.n == 4
    assert found.difference == pytest.approx((a - b).mean(), abs=1e-9)


def test_results_and_folders_alike(folders: dict[str, Path]) -> None:
    one = ji.run(STUDY.replace(arms=("normal",)))
    other = ji.run(STUDY.replace(arms=("inverted",)))
    found = ji.compare(one, other)
    assert found.arms == ("a/normal", "b/inverted")
    whole = ji.compare(folders["sgd"], "normal", "inverted")
    assert found.difference == pytest.approx(whole.difference, abs=1e-7)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seed": 1}, "not paired .seed: 0 in a, 1 in b"),
        ({"steps": 4}, "steps: 3 in a, 4 in b"),
        ({"learning_rate": (0.1, 0.2)}, r"learning_rate: \[.*0.1.*\] in a, \[.*0.1.*0.2.*\] in b"),
        ({"illumination": 0.5}, "illumination: 0.0 in a, 0.5 in b; dataset: fingerprint"),
        ({"dataset": tiny(train=100)}, "dataset: fingerprint"),
    ],
)
def test_runs_that_are_not_paired_are_refused(changes: dict[str, Any], says: str) -> None:
    runs = {"a": ji.run(STUDY.replace(trials=1)), "b": ji.run(STUDY.replace(trials=1, **changes))}
    with pytest.raises(ji.InputError, match=says) as raised:
        ji.merge(runs)
    assert "\n" not in str(raised.value)


def test_bad_pairs_get_one_line(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ji.InputError, match="arm: None is not allowed; give one of normal, inverted"):
        ji.compare(folders["sgd"], folders["adam"])
    with pytest.raises(ji.InputError, match="arm_b: None is not allowed beside the arm 'normal'"):
        ji.compare(folders["sgd"], "normal")
    with pytest.raises(ji.InputError, match="arm: 'normal' is not allowed beside two arms"):
        ji.compare(folders["sgd"], "normal", "inverted", arm="normal")
    with pytest.raises(ji.InputError, match="is not the folder of a stored run"):
        ji.compare(folders["sgd"], tmp_path / "none", arm="normal")
    with pytest.raises(ji.InputError, match="runs: none given"):
        ji.merge({})
