"""Further arms for a stored run."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import jaxinv as ji
from jaxinv.engine.trial_runner import TrialRunner
from tests.datasets import tiny

DATA = tiny()
OLD = ji.Study(dataset=DATA, arms=("normal", "inverted"), steps=3, batch_size=10, trials=7, learning_rate=0.1)
ADAM = ji.Arm("adam", optimizer="adam", learning_rate=0.01, model="mlp")
ALL = OLD.replace(arms=("pixel_mean", "normal", ADAM, "inverted"))
KEEP: dict[str, Any] = {"keep": ("correct", "params"), "chunk": 2}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adding") / "run"
    with pytest.MonkeyPatch.context() as patch:  # blocks of 2, 2, 2 and 1 trials
        patch.setattr("jaxinv.engine.trial_runner.store_block_length", lambda *_, **__: 2)
        ji.run(OLD, out=folder, **KEEP)
    return folder


@pytest.fixture
def folder(begun: Path, tmp_path: Path) -> Path:
    shutil.copytree(begun, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def whole() -> xr.Dataset:
    return ji.run(ALL, **KEEP)


def check(found: xr.Dataset, whole: xr.Dataset) -> None:
    assert found.arm.values.tolist() == whole.arm.values.tolist()
    assert found.done.values.all()
    np.testing.assert_array_equal(found.accuracy, whole.accuracy)
    np.testing.assert_array_equal(found.correct, whole.correct)
    for name in ("test_loss", "train_loss", "layer_delta", "weight_delta", "rate"):
        np.testing.assert_allclose(found[name], whole[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_the_run_ends_as_one_of_all_arms(folder: Path, whole: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ji.load(folder)
    computed = []
    run = TrialRunner.run

    def counted(self: TrialRunner, spans: Any) -> Any:
        for block in run(self, spans):
            computed.append((self.resolved.study.arm_names, block.trials))
            yield block

    monkeypatch.setattr(TrialRunner, "run", counted)
    ji.run(ALL, out=folder, **KEEP)
    assert {arms for arms, _ in computed} == {("pixel_mean", "adam")}
    assert sum(count for _, count in computed) == 7
    after = ji.load(folder)
    check(after, whole)
    for arm in ("normal", "inverted"):
        np.testing.assert_array_equal(after.test_loss.sel(arm=arm), before.test_loss.sel(arm=arm))
    assert sorted(os.listdir(folder)) == [".lock", "results.zarr", "study.json"]
    for arm in ALL.arm_names:
        logits = ji.predictor(folder, arm, study=ALL)(DATA.x_test)
        np.testing.assert_array_equal(np.argmax(np.asarray(logits), -1) == DATA.y_test, after.correct.sel(arm=arm)[0])
    computed.clear()
    grown = ji.run(ALL.replace(trials=9), out=folder, **KEEP)
    assert {arms for arms, _ in computed} == {ALL.arm_names}
    assert grown.sizes["trial"] == 9


class Stop(Exception):
    pass


def stop_after(calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run raise `Stop` in the place of what one call more has computed."""
    run = TrialRunner.run

    def stopping(self: TrialRunner, spans: Any) -> Any:
        for done, block in enumerate(run(self, spans)):
            if done == calls:
                raise Stop
            yield block

    monkeypatch.setattr(TrialRunner, "run", stopping)


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 1, 2])
def test_interrupted_it_goes_on(folder: Path, whole: xr.Dataset, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after some blocks, or between the two renames that put the new run in place of the old one."""
    if at == 0:
        stop_after(2, monkeypatch)
    else:
        rename, renamed = os.rename, []

        def dying(source: Any, target: Any) -> None:
            renamed.append(source)
            if len(renamed) > at:
                raise Stop
            rename(source, target)

        monkeypatch.setattr(os, "rename", dying)
        if at == 2:
            monkeypatch.setattr(os, "replace", dying_replace(os.replace, folder / "study.json"))
    with pytest.raises(Stop):
        ji.run(ALL, out=folder, **KEEP)
    monkeypatch.undo()
    if at == 0:
        assert ji.load(folder).arm.values.tolist() == ["normal", "inverted"]
    ji.run(ALL, out=folder, **KEEP)
    check(ji.load(folder), whole)
    assert not (folder / ".adding").exists()


def dying_replace(replace: Any, target: Path) -> Any:
    def dying(source: Any, to: Any) -> None:
        if Path(to) == target:
            raise Stop
        replace(source, to)

    return dying


@pytest.mark.slow
def test_what_cannot_be_added_is_refused(folder: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    refused: list[tuple[ji.Study, dict[str, Any], str]] = [
        (ALL.replace(trials=9), KEEP, "trials: 9 and further arms at once are not allowed; give 7"),
        (ALL, {"chunk": 2}, "keeps other variables of its trials"),
        (OLD.replace(arms=("normal", ADAM)), KEEP, "holds another study .arms:"),
        (ALL.replace(seed=1), KEEP, "holds another study"),
    ]
    for study, options, says in refused:
        with pytest.raises(ji.InputError, match=says) as raised:
            ji.run(study, out=folder, **options)
        assert "\n" not in str(raised.value)
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    assert before == after


@pytest.mark.slow
def test_an_unfinished_run_is_finished_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(1, monkeypatch)
    monkeypatch.setattr("jaxinv.engine.trial_runner.store_block_length", lambda *_, **__: 4)
    with pytest.raises(Stop):
        ji.run(OLD, out=tmp_path / "run", chunk=4, devices=1)
    monkeypatch.undo()
    with pytest.raises(ji.InputError, match="has finished 4 of 7 trials under its own arms; run it with"):
        ji.run(ALL, out=tmp_path / "run")
