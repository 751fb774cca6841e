"""README's table of launchers, each run for real where its package is there: `pip install 'jaxinv[launch]'`."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import jaxinv as ji
from tests.datasets import tiny

STUDY = ji.Study(dataset=tiny(), arms=("normal", "inverted"), steps=6, batch_size=30, trials=20)
ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # others' packages warn as they like


@pytest.fixture(scope="module")
def alone() -> xr.Dataset:
    return ji.run(STUDY, chunk=4, devices=2)


def check(out: Path, executor: Any, alone: xr.Dataset) -> None:
    results = ji.run(STUDY, out=out, executor=executor, shares=2, chunk=4, devices=2, progress=False)
    assert results.attrs["computed"] == 20
    for name in ("accuracy", "test_loss", "layer_delta", "weight_delta"):
        xr.testing.assert_equal(results[name], alone[name])


def test_dask(tmp_path: Path, alone: xr.Dataset) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        check(tmp_path / "run", client, alone)


def test_submitit(tmp_path: Path, alone: xr.Dataset) -> None:
    submitit = pytest.importorskip("submitit")
    executor = submitit.LocalExecutor(folder=tmp_path / "logs")
    executor.update_parameters(timeout_min=5)
    check(tmp_path / "run", executor, alone)


def test_ray(tmp_path: Path, alone: xr.Dataset) -> None:
    """By the class that README shows, in a process of its own: Ray starts servers, which end with it."""
    pytest.importorskip("ray")
    shown = re.search(r"^class OnRay:\n.*?\n```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert shown is not None
    script = f"""
import ray
import jaxinv as ji
from tests.engine.test_launchers import STUDY

{shown.group(0).removesuffix("```")}

if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    ji.run(STUDY, out={str(tmp_path / "run")!r}, executor=OnRay(), shares=2, chunk=4, devices=2, progress=False)
    ray.shutdown()
"""
    (tmp_path / "on_ray.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, tmp_path / "on_ray.py"], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = ji.load(tmp_path / "run")
    for name in ("accuracy", "test_loss", "layer_delta", "weight_delta"):
        xr.testing.assert_equal(results[name], alone[name])
