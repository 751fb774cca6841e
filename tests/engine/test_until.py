"""Runs that stop by themselves: where, why, and to the same end however they are computed."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import jaxinv as ji
from jaxinv import stats
from jaxinv.engine import watching
from jaxinv.stats.looks import stop_sentence
from jaxinv.store import Store
from tests.datasets import tiny

IMAGES = 60
STUDY = ji.Study(
    dataset=tiny(test=IMAGES), arms=("normal", "inverted", "pixel_mean", "inverted+pixel_mean"), steps=6, batch_size=30
)
MOST = 400
WIDTH = 0.075
NARROW = ji.Until("normal", "inverted", half_width=WIDTH)
LOOKS = [*range(10, 1000, 10), *range(1000, 10_000, 100)]


@pytest.fixture(scope="module")
def whole() -> xr.Dataset:
    """All trials that any of these runs may take."""
    return ji.run(STUDY.replace(trials=MOST), chunk=20)


def differences(results: xr.Dataset, a: str, b: str) -> np.ndarray:
    accuracy = results.accuracy.isel(learning_rate=0, step=-1).astype(float)
    return (accuracy.sel(arm=a) - accuracy.sel(arm=b)).values


def recomputed(results: xr.Dataset, until: ji.Until) -> tuple[int, str, tuple[float, float]]:
    """Where a run stops, by the formula of the confidence sequence at every look, from trials that are all there."""
    d = differences(results, until.arm_a, until.arm_b)
    low, high = -np.inf, np.inf
    for n in [n for n in LOOKS if n < d.size] + [d.size]:
        if until.anytime == "exact":
            look = stats.bernstein_interval(d[:n], (-1.0, 1.0))
        else:
            look = stats.anytime_interval(d[:n], grain=1 / IMAGES)
        low, high = look.ci
        if until.difference_from is not None and (low > until.difference_from or high < until.difference_from):
            return n, "difference_from", (low, high)
        if until.within is not None and max(-low, high) < until.within:
            return n, "within", (low, high)
        if until.half_width is not None and (high - low) / 2 <= until.half_width:
            return n, "half_width", (low, high)
    return d.size, "max_trials", (low, high)


QUESTIONS = {
    "narrow": NARROW,
    "differ": ji.Until("normal", "inverted", difference_from=0),
    "equal": ji.Until("pixel_mean", "inverted+pixel_mean", within=0.05),
    "either": ji.Until("pixel_mean", "normal", difference_from=0, within=0.06),
    "exact": ji.Until("normal", "inverted", difference_from=0, anytime="exact"),
    "never": ji.Until("pixel_mean", "inverted+pixel_mean", difference_from=0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_it_stops_where_an_independent_look_says(name: str, whole: xr.Dataset) -> None:
    until = QUESTIONS[name]
    results = ji.run(STUDY, until=until, max_trials=MOST, chunk=20)
    n, reason, ends = recomputed(whole, until)
    record = json.loads(results.attrs["until"])
    assert (results.sizes["trial"], record["stop"]["n"], record["stop"]["reason"]) == (n, n, reason)
    np.testing.assert_allclose(record["stop"]["interval"], ends, rtol=1e-9)
    first = whole.isel(trial=slice(n))
    for variable in ("accuracy", "diverged"):
        xr.testing.assert_equal(results[variable], first[variable])
    assert json.loads(results.attrs["study"])["trials"] == n
    if until.anytime == "asymptotic":
        pair = ji.compare(results, until.arm_a, until.arm_b)
        np.testing.assert_allclose(pair.ci95_anytime, ends, rtol=1e-9)


@pytest.mark.slow
def test_the_cases_are_different_ones(whole: xr.Dataset) -> None:
    found = {name: recomputed(whole, until) for name, until in QUESTIONS.items()}
    assert len({n for n, _, _ in found.values()}) >= 4
    assert {reason for _, reason, _ in found.values()} == {"half_width", "difference_from", "within", "max_trials"}
    assert 60 < found["narrow"][0] < MOST
    assert found["narrow"][0] % 20  # inside a block


def test_weight_changes_are_of_the_trials_that_count(whole: xr.Dataset, tmp_path: Path) -> None:
    n, _, _ = recomputed(whole, NARROW)
    fixed = ji.run(STUDY.replace(trials=n), chunk=20)
    for out in (None, tmp_path / "run"):
        results = ji.run(STUDY, until=NARROW, max_trials=MOST, chunk=20, out=out)
        np.testing.assert_allclose(results.weight_delta, fixed.weight_delta, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("chunk", "devices", "block"), [(7, 1, 7), (20, 2, 60), (100, 3, 300), (50, 4, 4096)])
def test_where_it_stops_depends_on_the_study_alone(
    chunk: int, devices: int, block: int, whole: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jaxinv.engine.trial_runner.store_block_length", lambda *_, **__: block)
    n, _, _ = recomputed(whole, NARROW)
    in_memory = ji.run(STUDY, until=NARROW, max_trials=MOST, chunk=chunk, devices=devices)
    stored = ji.run(STUDY, until=NARROW, max_trials=MOST, chunk=chunk, devices=devices, out=tmp_path / "run")
    for results in (in_memory, stored, ji.load(tmp_path / "run"), xr.open_zarr(tmp_path / "run" / "results.zarr")):
        assert results.sizes["trial"] == n
        np.testing.assert_array_equal(results.accuracy, whole.accuracy.isel(trial=slice(n)))
    assert ji.load(tmp_path / "run").done.all()
    assert json.loads((tmp_path / "run" / "study.json").read_text())["trials"] == n


class Killed(Exception):
    pass


def killed_after(blocks: int) -> Any:
    seen: list[Any] = []

    def on_block(event: dict[str, Any]) -> None:
        seen.append(event)
        if len(seen) == blocks:
            raise Killed

    return on_block


@pytest.fixture
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr("jaxinv.engine.trial_runner.store_block_length", lambda *_, **__: 20)
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("_small_blocks")
def test_it_resumes_to_the_same_end_and_then_does_nothing(tmp_path: Path, whole: xr.Dataset) -> None:
    out, n = tmp_path / "run", recomputed(whole, NARROW)[0]
    options: Any = {"until": NARROW, "max_trials": MOST, "chunk": 10, "out": out}
    for blocks in (1, 2, 3):
        with pytest.raises(Killed):
            ji.run(STUDY, **options, on_block=killed_after(blocks))
    results = ji.run(STUDY, **options)
    assert (results.sizes["trial"], results.attrs["there"], results.attrs["computed"]) == (n, 120, n - 120)
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != ".lock"}
    for most in (MOST, 10_000):
        again = ji.run(STUDY, **{**options, "max_trials": most})
        assert (again.sizes["trial"], again.attrs["there"], again.attrs["computed"]) == (n, n, 0)
        assert again.attrs["until"] == results.attrs["until"]
    assert {path: path.read_bytes() for path in files} == files


@pytest.mark.slow
@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize("step", ["shorten", "lay_out"])
def test_it_ends_though_it_is_killed_while_it_ends(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As a worker does whose own blocks were the last: a block that is full has to be cut."""
    full = ji.run(STUDY.replace(trials=MOST), chunk=20)
    n = recomputed(full, NARROW)[0]

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    late = watching.Watch.end
    monkeypatch.setattr(watching.Watch, "end", lambda *_: None)  # looks at stored blocks alone
    place = "jaxinv.store.blocks.Blocks.shorten" if step == "shorten" else "jaxinv.store.store.lay_out"
    options: Any = {"until": NARROW, "max_trials": MOST, "chunk": 20, "out": tmp_path / "run"}
    with pytest.raises(Killed):
        ji.run(STUDY, **options, on_block=killed_after(1))
    real = Store.end

    def end(self: Store, *arguments: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(place, die)
            real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "end", end)
        with pytest.raises(Killed):
            ji.run(STUDY, **options)
    monkeypatch.setattr(watching.Watch, "end", late)
    results = ji.run(STUDY, **options)
    assert results.sizes["trial"] == n
    xr.testing.assert_equal(results.accuracy, full.accuracy.isel(trial=slice(n)))
    fixed = ji.run(STUDY.replace(trials=n), chunk=20)
    np.testing.assert_allclose(results.weight_delta, fixed.weight_delta, rtol=1e-5)
    xr.testing.assert_identical(ji.load(tmp_path / "run").accuracy, results.accuracy)
    blocks = {int(path.name.split(".")[3]) for path in (tmp_path / "run" / "results.zarr" / "accuracy").glob("c.*")}
    assert blocks == set(range(-(-n // 20)))
    grown = ji.run(STUDY.replace(trials=n + 25), chunk=20, out=tmp_path / "run")
    xr.testing.assert_equal(grown.accuracy, full.accuracy.isel(trial=slice(n + 25)))
    assert grown.attrs["computed"] == 25
    assert not caplog.records


@pytest.mark.slow
@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_all_workers_of_a_shared_run_stop(workers: int, tmp_path: Path, whole: xr.Dataset) -> None:
    n, _, _ = recomputed(whole, NARROW)

    def work(index: int) -> xr.Dataset:
        options: Any = {"until": NARROW, "max_trials": 100_000, "chunk": 10, "devices": 1, "progress": False}
        return ji.run(STUDY, out=tmp_path / "run", share=(index, workers), **options)

    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(work, range(workers)))
    for results in (*found, ji.load(tmp_path / "run"), work(0)):
        assert results.sizes["trial"] == n
        xr.testing.assert_equal(results.accuracy, whole.accuracy.isel(trial=slice(n)))
        assert json.loads(results.attrs["until"])["stop"]["reason"] == "half_width"


@pytest.mark.slow
@pytest.mark.usefixtures("_small_blocks")
def test_an_executor_hands_out_a_run_that_stops(tmp_path: Path, whole: xr.Dataset) -> None:
    with ThreadPoolExecutor(2) as pool:
        options: Any = {"until": NARROW, "max_trials": 100_000, "chunk": 10, "devices": 1, "progress": False}
        results = ji.run(STUDY, out=tmp_path / "run", executor=pool, shares=2, **options)
        again = ji.run(STUDY, out=tmp_path / "run", executor=pool, shares=2, **options)
    assert results.sizes["trial"] == again.sizes["trial"] == recomputed(whole, NARROW)[0]
    assert again.attrs["computed"] == 0


@pytest.mark.slow
@pytest.mark.usefixtures("_small_blocks")
def test_a_run_that_stopped_grows(tmp_path: Path, whole: xr.Dataset) -> None:
    out = tmp_path / "run"
    first = ji.run(STUDY, until=QUESTIONS["differ"], max_trials=MOST, chunk=20, out=out)
    then = ji.run(STUDY, until=NARROW, max_trials=MOST, chunk=20, out=out)  # a harder question goes on from there
    assert then.attrs["there"] == first.sizes["trial"] < then.sizes["trial"] == recomputed(whole, NARROW)[0]
    grown = ji.run(STUDY.replace(trials=300), chunk=20, out=out)
    assert not {"until"} & {*grown.attrs, *ji.load(out).attrs}
    xr.testing.assert_equal(grown.accuracy, whole.accuracy.isel(trial=slice(300)))
    with pytest.raises(ji.InputError, match=r"until: the first .* of the 300 trials in .* answer that already"):
        ji.run(STUDY, until=NARROW, max_trials=MOST, chunk=20, out=out)
    assert ji.load(out).sizes["trial"] == 300


@pytest.mark.usefixtures("_small_blocks")
def test_a_run_that_ended_without_an_answer_goes_on_with_a_larger_maximum(tmp_path: Path, whole: xr.Dataset) -> None:
    out, (n, _, _) = tmp_path / "run", recomputed(whole, NARROW)
    short = ji.run(STUDY, until=NARROW, max_trials=n - 15, chunk=20, out=out)
    assert json.loads(short.attrs["until"])["stop"]["reason"] == "max_trials"
    assert "without an answer" in stop_sentence(json.loads(short.attrs["until"]))
    assert ji.run(STUDY, until=NARROW, max_trials=n - 15, chunk=20, out=out).attrs["computed"] == 0
    longer = ji.run(STUDY, until=NARROW, max_trials=MOST, chunk=20, out=out)
    assert longer.sizes["trial"] == n


@pytest.mark.slow
def test_one_rate_of_several_is_named(tmp_path: Path) -> None:
    study = STUDY.replace(learning_rate=(0.05, 0.5))
    with pytest.raises(ji.InputError, match=r"several learning rates; give one of 0.05, 0.5"):
        ji.run(study, until=NARROW)
    until = ji.Until("normal", "normal", difference_from=0, learning_rate=(0.5, 0.05))
    results = ji.run(study, until=until, max_trials=100, chunk=50)
    accuracy = results.accuracy.sel(arm="normal").isel(step=-1).astype(float)
    d = (accuracy.sel(learning_rate=0.5) - accuracy.sel(learning_rate=0.05)).values
    look = stats.anytime_interval(d, grain=1 / IMAGES)
    np.testing.assert_allclose(json.loads(results.attrs["until"])["stop"]["interval"], look.ci, rtol=1e-9)


@pytest.mark.parametrize(
    ("until", "most", "says"),
    [
        (ji.Until("normal", "zca", difference_from=0), 100, "until: 'zca' is not known; give one of normal"),
        (NARROW, 40, "max_trials: 40 is too few for an anytime interval, which begins with 57; give 57"),
        (ji.Until("normal", "inverted", half_width=1e-6), 1000, "half_width: 1e-06 is out of reach of 1,000 trials"),
        (ji.Until("normal", "inverted", within=1e-6), 1000, "within: 1e-06 is out of reach of 1,000 trials"),
        (ji.Until("normal", "inverted", half_width=0.001, anytime="exact"), 1000, "half_width: 0.001 is out of reach"),
        (ji.Until("normal", "inverted", half_width=0.1, metric="margin"), 100, "metric: 'margin' is not known"),
        (ji.Until("normal", "inverted", half_width=0.1, learning_rate=3), 100, "learning rate 3 is not in the study"),
        (NARROW, 0, "max_trials: 0 is not allowed; give a whole number from 1"),
    ],
)
def test_what_cannot_be_found_out_is_refused_before_anything_is_computed(
    until: ji.Until, most: int, says: str, tmp_path: Path
) -> None:
    with pytest.raises(ji.InputError, match=says):
        ji.run(STUDY, until=until, max_trials=most, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_width_that_the_spread_puts_out_of_reach_is_given_up_after_a_hundred_trials(whole: xr.Dataset) -> None:
    until = ji.Until("normal", "inverted", half_width=0.01)
    with pytest.raises(ji.InputError, match=r"half_width: 0.01 needs about .* trials, by the first 100"):
        ji.run(STUDY, until=until, max_trials=1000, chunk=50)
    assert differences(whole, "normal", "inverted")[:100].std(ddof=1) > 0.2


def test_a_maximum_alone_is_refused() -> None:
    with pytest.raises(ji.InputError, match="max_trials: 5 is not allowed without until"):
        ji.run(STUDY, max_trials=5)
