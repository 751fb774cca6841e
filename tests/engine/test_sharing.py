"""Runs that are shared: by launchers, by executors; events out."""

import itertools
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import jaxinv as ji
from jaxinv.engine import executors, runner
from jaxinv.engine.launchers import launched_share, parse_share
from tests.datasets import tiny

STUDY = ji.Study(dataset=tiny(), arms=("normal", "inverted"), steps=6, eval_every=3, batch_size=30, trials=22)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr("jaxinv.engine.trial_runner.store_block_length", lambda *_, **__: 2)
        yield


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    return ji.run(STUDY, out=tmp_path_factory.mktemp("alone") / "run", chunk=2, devices=1)


@pytest.mark.slow
def test_workers_in_threads_compute_each_trial_once(tmp_path: Path, alone: xr.Dataset) -> None:
    def work(index: int) -> xr.Dataset:
        return ji.run(STUDY, out=tmp_path / "run", share=(index, 3), chunk=2, devices=1, progress=False)

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(work, range(3)))
    for results in found:
        xr.testing.assert_equal(results, alone)
    assert sum(results.attrs["computed"] for results in found) == 22


@pytest.mark.slow
def test_a_share_alone_computes_all_of_it(tmp_path: Path, alone: xr.Dataset) -> None:
    results = ji.run(STUDY, out=tmp_path / "run", share=(2, 16), chunk=2, devices=1)
    xr.testing.assert_equal(results, alone)
    assert results.attrs["computed"] == 22
    again = ji.run(STUDY, out=tmp_path / "run", share=(2, 16), chunk=2, devices=1)
    assert again.attrs["computed"] == 0


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({}, None),
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "8"}, (3, 8)),
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "1"}, (2, 4)),
        ({"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_STEP": "2"}, (2, 3)),
        ({"JOB_COMPLETION_INDEX": "6"}, (3, 8)),
        ({"PMI_RANK": "1", "PMI_SIZE": "4"}, (1, 4)),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"}, (0, 1)),
    ],
)
def test_launchers_say_which_worker_this_is(environment: dict[str, str], share: tuple[int, int] | None) -> None:
    assert launched_share(environment) == share


def test_an_indexed_job_spreads_its_workers() -> None:
    begins = sorted(worker / workers for worker, workers in shares_of_a_job(16))
    np.testing.assert_allclose(begins, np.arange(16) / 16)


def shares_of_a_job(count: int) -> Iterator[tuple[int, int]]:
    for index in range(count):
        share = launched_share({"JOB_COMPLETION_INDEX": str(index)})
        assert share is not None
        yield share


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"SLURM_ARRAY_TASK_ID": "3"}, "SLURM_ARRAY_TASK_COUNT: None is not allowed beside SLURM_ARRAY_TASK_ID"),
        ({"SLURM_ARRAY_TASK_ID": "x", "SLURM_ARRAY_TASK_COUNT": "2"}, "SLURM_ARRAY_TASK_ID: 'x' is not allowed"),
        ({"PMI_RANK": "1"}, "PMI_SIZE: None is not allowed beside PMI_RANK; give a whole number, or --share I/N"),
        ({"PMI_SIZE": "1"}, "PMI_RANK: None is not allowed"),
        ({"OMPI_COMM_WORLD_RANK": "4", "OMPI_COMM_WORLD_SIZE": "4"}, "OMPI_COMM_WORLD_RANK: 4 of 4 is not allowed"),
    ],
)
def test_variables_that_are_half_set_are_refused(environment: dict[str, str], says: str) -> None:
    with pytest.raises(ji.InputError, match=says):
        launched_share(environment)


def test_a_launcher_counts_where_results_are_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_RANK", "5")
    ji.run(STUDY.replace(trials=2), chunk=2, devices=1)  # nothing to share
    with pytest.raises(ji.InputError, match="PMI_SIZE: None is not allowed"):
        ji.run(STUDY, out=tmp_path / "run")


@pytest.mark.parametrize("text", ["5/4", "0/0", "1", "-1/2", "1/2/3", "a/b", ""])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ji.InputError, match=r"share: .* is not allowed; give I/N with I from 0 to N - 1"):
        parse_share(text)


@pytest.mark.parametrize("share", [(5, 4), (0, 0), 3, "12", (1,), (-1, 2), (0.5, 2)])
def test_a_share_of_ji_run_that_is_none_is_refused(share: Any, tmp_path: Path) -> None:
    with pytest.raises(ji.InputError, match=r"share: .* is not allowed; give \(i, n\)"):
        ji.run(STUDY, out=tmp_path / "run", share=share)
    with pytest.raises(ji.InputError, match="out: None is not allowed for a share"):
        ji.run(STUDY, share=(0, 2))


def test_every_block_is_an_event(tmp_path: Path, alone: xr.Dataset) -> None:
    for out in (None, tmp_path / "run"):
        events: list[dict[str, Any]] = []
        ji.run(STUDY, out=out, chunk=2, devices=1, on_block=events.append)
        assert [event["first"] for event in events] == list(range(0, 22, 2))
        assert [event["done"] for event in events] == list(range(2, 23, 2))
        assert {(event["trials"], event["total"]) for event in events} == {(2, 22)}
        assert all(before["seconds"] <= after["seconds"] for before, after in itertools.pairwise(events))
        for event in events:
            trials = slice(event["first"], event["first"] + event["trials"])
            expected = alone.accuracy.isel(trial=trials, step=-1).mean(["learning_rate", "trial"])
            np.testing.assert_allclose([event["accuracy"][arm] for arm in alone.arm.values], expected, rtol=1e-6)


@pytest.mark.slow
def test_a_pool_of_threads_computes_the_shares(tmp_path: Path, alone: xr.Dataset) -> None:
    seen: list[tuple[int, int]] = []
    with ThreadPoolExecutor(2) as pool:
        results = ji.run(
            STUDY,
            out=tmp_path / "run",
            executor=pool,
            shares=5,
            chunk=2,
            devices=1,
            progress=lambda done, total: seen.append((done, total)),
        )
    xr.testing.assert_equal(results, alone)
    assert (results.attrs["there"], results.attrs["computed"]) == (0, 22)
    assert seen[0] == (0, 22)
    assert seen[-1] == (22, 22)


@pytest.mark.slow
def test_a_pool_of_processes_computes_the_shares(tmp_path: Path, alone: xr.Dataset) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = ji.run(STUDY, out=tmp_path / "run", executor=pool, shares=4, chunk=2, devices=1)
    xr.testing.assert_equal(results, alone)


@pytest.mark.slow
def test_shares_that_fail_are_taken_up_by_others(
    tmp_path: Path, alone: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = runner._run_share

    def failing(study: Any, out: Any, options: Any, share: tuple[int, int], launch: str) -> int:
        if share[0] != 1:
            raise ZeroDivisionError("a share that fails")
        return work(study, out, options, share, launch)

    monkeypatch.setattr(runner, "_run_share", failing)
    with ThreadPoolExecutor(3) as pool:
        results = ji.run(STUDY, out=tmp_path / "run", executor=pool, shares=3, chunk=2, devices=1)
    xr.testing.assert_equal(results, alone)


def test_where_all_shares_fail_the_first_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*arguments: Any) -> int:
        raise ZeroDivisionError("each share fails")

    monkeypatch.setattr(runner, "_run_share", failing)
    with ThreadPoolExecutor(3) as pool:
        with pytest.raises(ji.DataError, match="executor: 3 of 3 shares failed, and 22 trials are missing; the first"):
            ji.run(STUDY, out=tmp_path / "run", executor=pool, shares=3)
        monkeypatch.undo()
        with pytest.raises(ji.InputError, match="batch_size: 500 is more than"):
            ji.run(STUDY.replace(batch_size=500), out=tmp_path / "run", executor=pool, shares=2)


class Waiting:
    """An executor that begins nothing."""

    def __init__(self) -> None:
        self.futures: list[Future[int]] = []

    def submit(self, function: Any, *arguments: Any) -> Future[int]:
        self.futures.append(Future())
        return self.futures[-1]


def test_what_stops_the_caller_cancels_the_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting()

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(executors.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ji.run(STUDY, out=tmp_path / "run", executor=waiting, shares=4)
    assert len(waiting.futures) == 4
    assert all(future.cancelled() for future in waiting.futures)


def test_a_share_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ji.run(STUDY.replace(trials=2), out=tmp_path / "run", chunk=2, devices=1)
    monkeypatch.setattr(executors, "END_SECONDS", 0.1)
    waiting = Waiting()
    results = ji.run(STUDY.replace(trials=2), out=tmp_path / "run", executor=waiting, shares=2)
    assert results.attrs["computed"] == 0
    assert all(future.cancelled() for future in waiting.futures)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"executor": 3, "shares": 2, "out": "run"}, "executor: 3 is not allowed; give an object with submit"),
        ({"executor": Waiting(), "shares": 2}, "out: None is not allowed with an executor"),
        ({"executor": Waiting(), "out": "run"}, "shares: None is not allowed; give a whole number"),
        ({"executor": Waiting(), "shares": 0, "out": "run"}, "shares: 0 is not allowed"),
        (
            {"executor": Waiting(), "shares": 2, "share": (0, 2), "out": "run"},
            "share: an executor hands out",
        ),
        ({"shares": 2, "out": "run"}, "shares: 2 is not allowed without an executor"),
    ],
)
def test_refuses_executors_in_one_line(
    options: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ji.InputError, match=says):
        ji.run(STUDY, **options)
    assert not (tmp_path / "run").exists()


def test_refuses_forked_processes(tmp_path: Path) -> None:
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool,
        pytest.raises(ji.InputError, match="executor: a pool of forked processes is not allowed, since JAX hangs"),
    ):
        ji.run(STUDY, out=tmp_path / "run", executor=pool, shares=1)
