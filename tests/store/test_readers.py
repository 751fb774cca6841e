"""What others read of a run, and what runs of jaxinv 0.1.0 are to this version."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from jaxinv.store import Store, describe_progress, load
from tests.store.test_store import check_values, fill, open_store, whole_run


@pytest.fixture
def first_version(tmp_path: Path) -> Path:
    """A run that jaxinv 0.1.0 stored: of 10 trials in blocks of 4 the first block, and half of the second."""
    with tarfile.open(Path(__file__).with_name("run_of_0.1.0.tar.xz")) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "run"


def finish(store: Store) -> xr.Dataset:
    fill(store)
    store.finish()
    return store.read()


def test_a_run_of_the_first_version_is_read(first_version: Path) -> None:
    before = {path: path.read_bytes() for path in first_version.rglob("*") if path.is_file()}
    results = load(first_version)
    assert results.done.values.tolist() == [True] * 6 + [False] * 4
    check_values(results)
    assert describe_progress(first_version) == (6, 10)
    assert {path: path.read_bytes() for path in first_version.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("trials", [10, 23])
def test_a_run_of_the_first_version_is_resumed_and_grown(first_version: Path, tmp_path: Path, trials: int) -> None:
    with open_store(first_version, trials) as store:
        assert store.notes == []
        assert next(store.todo()) == (6, 2)
        results = finish(store)
    xr.testing.assert_identical(results, whole_run(tmp_path / "at once", trials))
    xr.testing.assert_identical(load(first_version), results)
    for path in (tmp_path / "at once").rglob("*"):  # it has become a run of this version
        if path.is_file() and path.name != ".lock":
            assert (first_version / path.relative_to(tmp_path / "at once")).read_bytes() == path.read_bytes()


def test_damage_to_a_run_of_the_first_version(first_version: Path) -> None:
    chunk = first_version / "results.zarr" / "accuracy" / "c.0.0.1.0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with open_store(first_version) as store:
        assert store.notes == [f"{chunk} is truncated or altered; trials 4 to 7 are computed again"]
        finish(store)
    check_values(load(first_version))


def test_tensorstore_reads_every_array(tmp_path: Path) -> None:
    """Names as well, which stand there as bytes: Zarr's core specification has no strings."""
    tensorstore = pytest.importorskip("tensorstore")
    results = whole_run(tmp_path)

    def read(name: str) -> np.ndarray:
        place = {"driver": "file", "path": str(tmp_path / "results.zarr" / name)}
        return tensorstore.open({"driver": "zarr3", "kvstore": place}).result().read().result()

    for name in (*results.data_vars, "learning_rate", "trial", "step"):
        np.testing.assert_array_equal(read(str(name)), results[name].values, err_msg=str(name))
    for name in ("arm", "layer"):
        words = [bytes(row).rstrip(b"\0").decode() for row in read(f"blocks/{name}")]
        assert words == results[name].values.tolist()


def test_every_variable_says_what_it_is(tmp_path: Path) -> None:
    results = whole_run(tmp_path)
    with xr.open_zarr(tmp_path / "results.zarr") as seen:
        for name in seen.variables:
            assert seen[name].attrs == results[name].attrs
            assert results[name].attrs["long_name"]
            assert ("units" in results[name].attrs) == (name not in ("arm", "layer"))
    assert json.loads((tmp_path / "results.zarr" / "accuracy" / "zarr.json").read_text())["attributes"]["units"] == "1"
