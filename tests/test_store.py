"""A run's folder: begun, continued, grown, read by `ji.load`, by xarray and by zarr."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from jaxinv.errors import InputError
from jaxinv.store import Block, Layout, Memory, Store, check_folder, describe_progress, load
from jaxinv.study import Study

LAYOUT = Layout(
    arms=("normal", "inverted"),
    learning_rates=(0.5,),
    steps=(25, 50),
    layers=("weights", "biases"),
    image_shape=(3, 4, 1),
    pixel_weights=True,
    trials=10,
)
ATTRS = {"versions": "{}"}


def make_study(trials: int = 10, **fields) -> Study:
    return Study(trials=trials, eval_every=25, **fields)


def results_of(layout: Layout, first: int, trials: int) -> Block:
    """Made-up results: each trial's values depend on its number alone; every seventh trial diverges."""

    def draw(name: str, *last: int) -> np.ndarray:
        shape = len(layout.arms), len(layout.learning_rates), *last
        each = [np.random.default_rng([i, *name.encode()]).random(shape) for i in range(first, first + trials)]
        return np.stack(each, axis=2).astype(np.float32)

    shape = len(layout.arms), len(layout.learning_rates), trials
    diverged = np.broadcast_to(np.arange(first, first + trials) % 7 == 3, shape)
    return Block(
        draw("accuracy", len(layout.steps)),
        draw("loss", len(layout.steps)),
        diverged,
        draw("layer", len(layout.layers)),
        draw("weight", *layout.image_shape) if layout.pixel_weights else None,
    )


def open_store(folder: Path, trials: int = 10, block: int = 4, **fields) -> Store:
    study = make_study(trials, **fields)
    return Store.open(folder, study, LAYOUT.with_trials(trials), fingerprint="data", attrs=ATTRS, block=block)


def fill(store: Store, at_most: int | None = None) -> None:
    for first, trials in store.todo()[:at_most]:
        store.write(first, results_of(store.layout, first, trials))


def test_round_trip(tmp_path: Path) -> None:
    with open_store(tmp_path / "run") as store:
        fill(store)
        store.finish()
        got = store.read()
    whole = results_of(LAYOUT, 0, 10)
    for name in ("accuracy", "test_loss", "diverged", "layer_delta"):
        np.testing.assert_array_equal(got[name].values, getattr(whole, name))
    assert whole.weight_delta is not None
    kept = whole.weight_delta[:, :, ~whole.diverged[0, 0]].astype(np.float64)
    np.testing.assert_allclose(got.weight_delta.values, kept.mean(axis=2), rtol=1e-6)
    xr.testing.assert_identical(load(tmp_path / "run"), got)
    with xr.open_zarr(tmp_path / "run" / "results.zarr") as seen:
        for name in got.variables:
            np.testing.assert_array_equal(seen[name].values, got[name].values, err_msg=str(name))


def test_memory_gives_the_same(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        fill(store)
        store.finish()
        stored = store.read()
    memory = Memory(LAYOUT, stored.attrs, 4)
    for first, trials in memory.todo():
        memory.write(first, results_of(LAYOUT, first, trials))
    xr.testing.assert_identical(memory.read(), stored.drop_vars("done"))


def test_continue_and_grow(tmp_path: Path) -> None:
    with open_store(tmp_path, 10) as store:
        fill(store, 1)
    assert describe_progress(tmp_path) == (4, 10)
    with xr.open_zarr(tmp_path / "results.zarr") as seen:
        assert seen.done.values.tolist() == [True] * 4 + [False] * 6
        assert np.isnan(seen.accuracy.values[:, :, 4:]).all()
        assert np.isfinite(seen.accuracy.values[:, :, :4]).all()
        assert np.isnan(seen.weight_delta.values).all()
    with open_store(tmp_path, 10) as store:
        assert store.todo() == [(4, 4), (8, 2)]
        fill(store)
        store.finish()
    with open_store(tmp_path, 23) as store:
        assert store.todo() == [(10, 2), (12, 4), (16, 4), (20, 3)]
        fill(store)
        store.finish()
        grown = store.read()
    with open_store(tmp_path / "at once", 23) as store:
        fill(store)
        store.finish()
        xr.testing.assert_identical(store.read(), grown)


def test_refuses_other_folders(tmp_path: Path) -> None:
    with open_store(tmp_path / "run") as store:
        fill(store)
    with pytest.raises(InputError, match=r"another study \(seed: 0 there, 1 here\)"):
        check_folder(tmp_path / "run", make_study(seed=1))
    with pytest.raises(InputError, match="5 is fewer than the 10"):
        check_folder(tmp_path / "run", make_study(5))
    with pytest.raises(InputError, match="holds something else"):
        check_folder(tmp_path, make_study())
    with pytest.raises(InputError, match="not the folder of a stored run"):
        load(tmp_path / "new")
