"""A run's folder: begun, continued, grown; read by `load`, by xarray, by zarr; what it refuses."""

import gc
import json
import os
import shutil
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from jaxinv.arm import Arm
from jaxinv.errors import DataError, InputError
from jaxinv.results.in_memory import InMemory
from jaxinv.results.schema import ResultBlock, Schema, WeightSum
from jaxinv.store import Store, check_can_hold, describe_progress, load, reading
from jaxinv.study import Study

LAYOUT = Schema(
    arms=("normal", "inverted"),
    learning_rates=(0.5,),
    steps=(25, 50),
    layers=("weights", "biases"),
    image_shape=(3, 4, 1),
    pixel_weights=True,
    trials=10,
)
ATTRS = {"versions": '{"jax": "1"}'}


def fast_folder() -> Iterator[Path]:
    """A folder for tests that make thousands of files: in memory, where there is such a file system."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield Path(folder)


def make_study(trials: int = 10, **fields) -> Study:
    return Study(trials=trials, eval_every=25, **fields)


def results_of(schema: Schema, first: int, trials: int) -> ResultBlock:
    """Made-up results: each trial's values depend on its number alone; every seventh trial diverges.

    Weight changes are of very different sizes, so that a sum's last bits depend on the order of the additions.
    """
    front = len(schema.arms), len(schema.learning_rates)

    def draw(name: str, *last: int) -> np.ndarray:
        each = [
            np.random.default_rng([i, *name.encode()]).random((*front, *last)) for i in range(first, first + trials)
        ]
        return np.stack(each, axis=2).astype(np.float32)

    diverged = np.broadcast_to(np.arange(first, first + trials) % 7 == 3, (*front, trials))
    weights = None
    if schema.pixel_weights:
        powers = np.rint(54 * draw("power", *schema.image_shape) - 27).astype(int)
        weights = np.ldexp(draw("weight", *schema.image_shape), powers)  # exact, so the same on every machine
        weights[diverged] = np.nan
    accuracy, loss = draw("accuracy", len(schema.steps)), draw("loss", len(schema.steps))
    layers = draw("layer", len(schema.layers))
    values = {"accuracy": accuracy, "test_loss": loss, "diverged": diverged, "layer_delta": layers}
    return ResultBlock(values, weights)


def open_store(folder: Path | str, trials: int = 10, block: int = 4, schema: Schema = LAYOUT, **options) -> Store:
    options = {"fingerprint": "data", "attrs": ATTRS, "block": block, **options}
    study = make_study(trials)
    if schema.arms != study.arm_names:
        study = study.replace(arms=tuple(Arm(name, preprocess="normal") for name in schema.arms))
    return Store.open(folder, study, schema.with_trials(trials), **options)


def fill(store: Store, at_most: int | None = None) -> int:
    """Compute what is missing, or some blocks of it; how many trials that was."""
    spans = list(store.todo())[:at_most]
    for first, trials in spans:
        store.write(first, results_of(store.schema, first, trials))
    return sum(trials for _, trials in spans)


def whole_run(folder: Path | str, trials: int = 10, **options) -> xr.Dataset:
    with open_store(folder, trials, **options) as store:
        fill(store)
        store.finish()
        return store.read()


def check_values(results: xr.Dataset, schema: Schema = LAYOUT) -> None:
    """Results against the made-up ones: equal where `done`, NaN elsewhere."""
    done = results.done.values
    expected = results_of(schema, 0, len(done))
    for name in ("accuracy", "test_loss", "layer_delta"):
        found = results[name].values
        np.testing.assert_array_equal(found[:, :, done], expected.values[name][:, :, done], err_msg=name)
        assert np.isnan(found[:, :, ~done]).all()
    np.testing.assert_array_equal(results.diverged.values[:, :, done], expected.values["diverged"][:, :, done])
    if schema.pixel_weights:
        assert expected.weight_delta is not None
        kept = expected.weight_delta[:, :, ~expected.values["diverged"][0, 0]].astype(np.float64)
        mean = kept.mean(axis=2) if done.all() else np.full(kept[:, :, 0].shape, np.nan)
        np.testing.assert_allclose(results.weight_delta.values, mean, rtol=1e-6)


def test_round_trip(tmp_path: Path) -> None:
    got = whole_run(tmp_path / "run")
    check_values(got)
    assert got.done.values.all()
    xr.testing.assert_identical(load(tmp_path / "run"), got)
    assert sorted(os.listdir(tmp_path / "run")) == [".lock", "results.zarr", "study.json"]
    assert Study.from_json((tmp_path / "run" / "study.json").read_text()) == make_study()


def test_other_libraries_read_it(tmp_path: Path) -> None:
    got = whole_run(tmp_path)
    with xr.open_zarr(tmp_path / "results.zarr") as seen:
        assert set(seen.variables) == set(got.variables) - {"rate"}
        for name in seen.variables:
            np.testing.assert_array_equal(seen[name].values, got[name].values, err_msg=str(name))
        assert seen.sel(arm="inverted", step=50).accuracy.dims == ("learning_rate", "trial")
    root = zarr.open_group(tmp_path / "results.zarr", mode="r", use_consolidated=False)
    consolidated = zarr.open_group(tmp_path / "results.zarr", mode="r", use_consolidated=True)
    assert {name for name, _ in root.members(max_depth=None)} == {
        name for name, _ in consolidated.members(max_depth=None)
    }
    np.testing.assert_array_equal(np.asarray(root["accuracy"]), got.accuracy.values)


@pytest.mark.parametrize(
    "schema",
    [
        Schema(("a",), (0.1, 0.2, 0.4), (25,), (), (1, 1, 1), True, 10),
        Schema(("ä" * 40, "b+c"), (0.1,), (25, 50), ("w",), (3, 4, 3), False, 10),
    ],
    ids=["one pixel, no layers", "no pixel weights"],
)
def test_other_layouts(tmp_path: Path, schema: Schema) -> None:
    got = whole_run(tmp_path, schema=schema)
    check_values(got, schema)
    xr.testing.assert_identical(load(tmp_path), got)
    with xr.open_zarr(tmp_path / "results.zarr") as seen:
        assert seen.arm.values.tolist() == list(schema.arms)
        assert ("weight_delta" in seen) is schema.pixel_weights


def test_memory_gives_the_same(tmp_path: Path) -> None:
    stored = whole_run(tmp_path)
    memory = InMemory(LAYOUT, stored.attrs, 4)
    for first, trials in memory.todo():
        memory.write(first, results_of(LAYOUT, first, trials))
    memory.finish()
    assert memory.done.all()
    xr.testing.assert_identical(memory.read(), stored.drop_vars("done"))


def test_unfinished_trials_are_nan(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        fill(store, 1)
        check_values(store.read())
        with xr.open_zarr(tmp_path / "results.zarr") as seen:  # while the run has the folder
            assert seen.done.values.tolist() == [True] * 4 + [False] * 6
            check_values(seen.load())
        assert describe_progress(tmp_path) == (4, 10)
        with pytest.raises(DataError, match="6 of 10 trials are missing"):
            store.finish()
    check_values(load(tmp_path))


def test_continued_and_grown_equals_at_once(tmp_path: Path) -> None:
    at_once = whole_run(tmp_path / "at once", 23)
    grown, computed = tmp_path / "grown", 0
    with open_store(grown, 10) as store:
        computed += fill(store, 1)
    with open_store(grown, 10) as store:
        assert list(store.todo()) == [(4, 4), (8, 2)]
        computed += fill(store)
        store.finish()
    for trials, todo in ((11, [(10, 1)]), (23, [(11, 1), (12, 4), (16, 4), (20, 3)])):
        with open_store(grown, trials, block=9) as store:
            assert store.block == 4
            assert list(store.todo()) == todo
            assert np.isnan(xr.open_zarr(grown / "results.zarr").weight_delta.values).all()
            computed += fill(store)
            store.finish()
    assert computed == 23
    xr.testing.assert_identical(load(grown), at_once)
    assert json.loads((grown / "study.json").read_text())["trials"] == 23


def test_part_of_a_block(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.write(0, results_of(LAYOUT, 0, 1))
        store.write(1, results_of(LAYOUT, 1, 2))
        check_values(store.read())
        for first, trials in ((0, 4), (4, 5), (5, 1), (3, 2), (8, 3), (12, 4), (-1, 1)):
            with pytest.raises(ValueError, match="do not continue a block"):
                store.write(first, results_of(LAYOUT, 0, trials))
        wrong = results_of(LAYOUT, 3, 1)
        with pytest.raises(ValueError, match="accuracy has shape"):
            store.write(3, wrong._replace(values={**wrong.values, "accuracy": np.zeros((2, 1, 1, 3))}))
        fill(store)
        store.finish()
        parts = store.read()
    xr.testing.assert_identical(parts, whole_run(tmp_path / "whole"))


def test_finished_run_is_not_touched(tmp_path: Path) -> None:
    first = whole_run(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"}
    with open_store(tmp_path, attrs={"versions": '{"jax": "2"}'}) as store:
        assert list(store.todo()) == []
        store.finish()
        xr.testing.assert_identical(store.read(), first)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_other_versions_are_recorded(tmp_path: Path) -> None:
    for trials, version in ((2, "1"), (4, "2"), (6, "2"), (8, "1"), (10, "3")):
        with open_store(tmp_path, trials, attrs={"versions": version}) as store:
            fill(store)
    attrs = load(tmp_path).attrs
    assert attrs["versions"] == "1"
    assert json.loads(attrs["resumed_with"]) == [{"versions": "2"}, {"versions": "3"}]


def test_weights_are_added_in_order() -> None:
    """Bit by bit the same as one addition after the other, wherever the block is cut; diverged trials left out."""
    schema = Schema(("a", "b"), (0.1, 0.2), (1,), ("w",), (5, 3, 1), True, 300)
    block = results_of(schema, 0, 300)
    assert block.weight_delta is not None
    expected = np.zeros((2, 2, 5, 3, 1))
    for trial in range(300):
        if trial % 7 != 3:
            expected = expected + block.weight_delta[:, :, trial].astype(np.float64)
    assert (expected != block.weight_delta[:, :, np.arange(300) % 7 != 3].astype(np.float64)[:, :, ::-1].sum(2)).any()
    for cut in (0, 1, 150, 299):
        parts = [block.part(0, cut), block.part(cut, 300)]
        total = WeightSum.zero(schema).add(parts[0]).add(parts[1])
        np.testing.assert_array_equal(total.total, expected)
        np.testing.assert_array_equal(total.count, np.full((2, 2), 257))


def test_one_pixel_is_added_in_order_too() -> None:
    """NumPy would add a single column pairwise."""
    schema = Schema(("a",), (0.1,), (1,), ("w",), (1, 1, 1), True, 1000)
    block = results_of(schema, 0, 1000)
    assert block.weight_delta is not None
    expected = 0.0
    for value in block.weight_delta[0, 0, ~block.values["diverged"][0, 0], 0, 0, 0].tolist():
        expected += value
    assert WeightSum.zero(schema).add(block).total.item() == expected


def test_all_diverged_is_nan(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for first, trials in store.todo():
            block = results_of(LAYOUT, first, trials)
            diverged = block.values["diverged"].copy()
            diverged[1] = True
            store.write(first, block._replace(values={**block.values, "diverged": diverged}))
        store.finish()
        weights = store.read().weight_delta.values
    assert np.isnan(weights[1]).all()
    assert np.isfinite(weights[0]).all()


def test_large_results_are_lazy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = whole_run(tmp_path)
    monkeypatch.setattr(reading, "LAZY_BYTES", 0)
    xr.testing.assert_identical(load(tmp_path), arrays)
    lazy = load(tmp_path)
    for part in (tmp_path / "results.zarr" / "accuracy").glob("c*"):
        shutil.rmtree(part) if part.is_dir() else part.unlink()
    assert lazy.accuracy.isnull().all()  # what is read only now is not there any more


@pytest.mark.slow
def test_memory_does_not_grow_with_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = Schema(("a", "b"), (0.1,), tuple(range(200)), ("w",), (3, 3, 1), True, 0)
    monkeypatch.setattr(reading, "LAZY_BYTES", 1 << 20)
    block = results_of(schema, 0, 100)
    peaks = []
    gc.freeze()  # what other tests left makes full collections rare, and zarr's loops leave cycles
    for trials in (1_000, 8_000):  # 3 and 26 MB
        with open_store(tmp_path / str(trials), trials, block=100, schema=schema) as store:
            tracemalloc.start()
            for first, _ in store.todo():
                store.write(first, block)
            store.finish()
            store.read()
            load(tmp_path / str(trials))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    gc.unfreeze()
    assert peaks[1] < peaks[0] + 2e6


def test_refuses_another_study(tmp_path: Path) -> None:
    whole_run(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(
        InputError, match=r"another study \(learning_rate: 0.5 there, \[0.1, 1.0\] here; seed: 0 there, 1"
    ):
        check_can_hold(tmp_path, make_study(seed=1, learning_rate=(0.1, 1.0)))
    with pytest.raises(InputError, match=r"^trials: 5 is fewer than the 10 of .* give 10 or more"):
        check_can_hold(tmp_path, make_study(5))
    with pytest.raises(InputError, match=r"results from other data \(fingerprint data there, more here\)"):
        open_store(tmp_path, fingerprint="more")
    other = Schema(LAYOUT.arms, LAYOUT.learning_rates, LAYOUT.steps, ("w",), LAYOUT.image_shape, True, 10)
    with pytest.raises(InputError, match=r"other layers \(\('weights', 'biases'\) there, \('w',\) here\)"):
        open_store(tmp_path, schema=other)
    check_can_hold(tmp_path, make_study())
    check_can_hold(tmp_path, make_study(11), fingerprint="data")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("thesis.tex", "x"),
        ("study.json", '{"trials": 3, "patients": 20}'),
        ("study.json", "{"),
        ("results.zarr/zarr.json", '{"attributes": {}, "zarr_format": 3, "node_type": "group"}'),
        ("results.zarr", "a file"),
    ],
)
def test_refuses_something_else(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    for refused in (lambda: check_can_hold(tmp_path / "out", make_study()), lambda: open_store(tmp_path / "out")):
        with pytest.raises(InputError, match=f"holds something else \\({name.split('/')[0]}\\)"):
            refused()
    assert path.read_text() == content
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    with pytest.raises(InputError, match="is not the folder of a stored run"):
        load(tmp_path / "out")


def test_refuses_what_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    whole_run(tmp_path / "run")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "study.json").write_bytes((tmp_path / "run" / "study.json").read_bytes())
    (tmp_path / "linked" / "results.zarr").symlink_to(tmp_path / "run" / "results.zarr")
    for out, reason in {
        tmp_path / "file": "is not a folder",
        tmp_path / "file" / "below": "is not a folder",
        tmp_path / "nowhere": "is not a folder",
        tmp_path / ("x" * 300): "a path of [0-9]+ letters is not allowed",
        tmp_path / "linked": "is a link",
        "": "is not the name of a folder",
        "a\0b": "is not the name of a folder",
        "~nobody-of-that-name/x": "is not the name of a folder",
        "no-such-protocol://x/y": "cannot be opened",
        "zip://x": "cannot be opened",
        "data://x": "cannot be read",
    }.items():
        for refused in (lambda out=out: check_can_hold(out, make_study()), lambda out=out: open_store(out)):
            with pytest.raises(InputError, match=f"^out: .*{reason}") as error:
                refused()
            assert "\n" not in str(error.value)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="cannot be written to"):
        check_can_hold(tmp_path / "new" / "below", make_study())
    assert not (tmp_path / "new").exists()


def test_a_link_to_a_folder_and_a_home_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    got = whole_run("~/link/run")
    xr.testing.assert_identical(load(tmp_path / "disk" / "run"), got)


def test_stopped_while_beginning(tmp_path: Path) -> None:
    """A folder that holds no more than `study.json` yet is the study's."""
    whole_run(tmp_path / "run")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "study.json").write_bytes((tmp_path / "run" / "study.json").read_bytes())
    with pytest.raises(InputError, match="another study"):
        check_can_hold(tmp_path / "new", make_study(seed=2))
    with open_store(tmp_path / "new") as store:
        assert store.notes == []
    check_values(whole_run(tmp_path / "new"))
