"""The promise: whatever kills a run, on however many processes, the same command again completes it, to the same."""

import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from jaxinv import store
from tests.datasets import tiny

pytestmark = pytest.mark.optimized  # to train takes longer than to compile

KILLS = 5
EXACT = ("accuracy", "diverged", "layer_delta", "weight_delta", "done")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    data = tiny()
    np.savez(folder / "tiny.npz", x_train=data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test)
    return folder


def start(folder: Path, out: str, *more: str, trials: int = 240, devices: int = 2) -> subprocess.Popen[str]:
    arguments = ["--dataset", "tiny.npz", "--batch-size", "20", "--steps", "2000", "--trials", str(trials)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "jaxinv", "run", *arguments, "--out", out, "--json", "--devices", str(devices), *more],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def complete(process: subprocess.Popen[str]) -> dict:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out) if out.strip() else {}


@pytest.fixture(scope="module")
def whole(folder: Path) -> xr.Dataset:
    """An uninterrupted run."""
    assert complete(start(folder, "whole"))["computed"] == 240
    return store.load(folder / "whole").load()


def same(a: xr.Dataset, b: xr.Dataset, loss: float = 0.0) -> None:
    assert set(a.data_vars) == set(b.data_vars)
    for name in EXACT:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=name)
    np.testing.assert_allclose(a.test_loss.values, b.test_loss.values, rtol=loss)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_if_nothing_had_happened(folder: Path, whole: xr.Dataset) -> None:
    """Wherever it is: the store alone is killed more often, and at every write, in `tests/store/test_crash.py`."""
    rng, seen = random.Random(0), [0]
    for _ in range(KILLS):
        process = start(folder, "killed")
        deadline = time.monotonic() + rng.uniform(0.5, 5)
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        process.kill()
        process.communicate()
        if (folder / "killed" / "results.zarr" / "zarr.json").exists():
            reader = xr.open_zarr(folder / "killed" / "results.zarr")
            done = reader.done.values
            assert np.isfinite(reader.accuracy.values[:, :, done]).all()
            loaded = store.load(folder / "killed")  # what was being written when the process died does not count
            np.testing.assert_array_equal(loaded.done, done)
            assert np.isnan(loaded.accuracy.values[:, :, ~done]).all()
            assert int(done.sum()) >= seen[-1]
            seen.append(int(done.sum()))
    rest = complete(start(folder, "killed"))["computed"]
    assert rest == 240 - seen[-1]
    same(store.load(folder / "killed"), whole)


@pytest.mark.slow
def test_it_grows_and_then_has_nothing_left_to_do(folder: Path, whole: xr.Dataset) -> None:
    assert complete(start(folder, "grown", trials=100))["computed"] == 100
    assert complete(start(folder, "grown", trials=240))["computed"] == 140
    same(store.load(folder / "grown"), whole, loss=1e-5)
    again = complete(start(folder, "grown", trials=240))
    assert again["computed"] == 0
    assert again["seconds"]["compile"] == 0


def launch(folder: Path, out: str, count: int, *, trials: int = 240) -> list[subprocess.Popen[str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = ("--distributed", "--coordinator", f"127.0.0.1:{port}", "--num-processes", str(count))
    return [start(folder, out, *common, "--process-id", str(index), trials=trials, devices=1) for index in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_any_number_of_processes_gives_the_same(folder: Path, whole: xr.Dataset, count: int) -> None:
    summaries = [complete(process) for process in launch(folder, f"together{count}", count)]
    assert all(not summary for summary in summaries[1:])
    same(store.load(folder / f"together{count}"), whole, loss=1e-5)


@pytest.mark.slow
def test_a_joined_process_that_dies_takes_no_results_along(folder: Path, whole: xr.Dataset) -> None:
    processes = launch(folder, "bereft", 3)
    wait_for_a_block(folder / "bereft")
    processes[2].kill()
    for process in processes:  # JAX may end them, or they go on
        process.communicate(timeout=240)
    assert store.describe_progress(folder / "bereft")[0] > 0
    for process in launch(folder, "bereft", 2):
        complete(process)
    same(store.load(folder / "bereft"), whole, loss=1e-5)


@pytest.mark.slow
def test_workers_that_die_are_replaced_and_late_ones_help(folder: Path, whole: xr.Dataset) -> None:
    """To the bit: how many workers there are changes no product."""
    workers = [start(folder, "shared", "--share", f"{index}/3") for index in range(3)]
    wait_for_a_block(folder / "shared")
    workers[1].kill()
    workers[1].communicate()
    computed = [complete(worker)["computed"] for worker in (*workers[::2], start(folder, "shared", "--share", "1/3"))]
    assert sum(computed) <= 240
    same(store.load(folder / "shared"), whole)
    assert sorted(path.name for path in (folder / "shared").iterdir()) == [".lock", "results.zarr", "study.json"]


def wait_for_a_block(out: Path) -> None:
    """Until some trials are finished."""
    root = out / "results.zarr" / "zarr.json"  # written when all around the blocks is there
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not root.exists() or store.describe_progress(out)[0] == 0):
        time.sleep(0.1)
