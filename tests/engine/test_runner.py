"""The runner: what a trial gives does not depend on how many there are, where they run, or what else is asked."""

import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr

import jaxinv as ji
from jaxinv import models
from jaxinv.engine import distributed, program, trial_batch
from jaxinv.engine.costs import costs
from jaxinv.engine.devices import in_huge_pages, local_hardware
from jaxinv.engine.resolve import resolve
from jaxinv.engine.trial_runner import CALLS_QUEUED
from jaxinv.results import grain
from jaxinv.training import keys
from tests.datasets import tiny

pytestmark = pytest.mark.optimized

SMALL = ji.Study(dataset=tiny(), arms=("normal", "inverted"), steps=6, eval_every=3, batch_size=30, trials=9)
OF_EACH_TRIAL = ("accuracy", "test_loss", "diverged", "layer_delta")
ROUNDING = 1e-5  # relative


def same(a: xr.Dataset, b: xr.Dataset) -> None:
    """Hits to the last one; sums, whose order is the compiler's, to the tolerance that README promises."""
    for name in a.data_vars:
        rounding = 0 if name in ("accuracy", "diverged") else ROUNDING
        np.testing.assert_allclose(a[name].values, b[name].values, rtol=rounding, err_msg=str(name))


@pytest.fixture(scope="module")
def whole() -> xr.Dataset:
    return ji.run(SMALL)


@pytest.mark.slow
def test_results_are_as_the_contract_says(whole: xr.Dataset) -> None:
    sizes = {"arm": 2, "learning_rate": 1, "trial": 9, "step": 2, "layer": 1, "row": 8, "col": 8, "channel": 1}
    assert dict(whole.sizes) == sizes
    assert whole.accuracy.dims == whole.test_loss.dims == ("arm", "learning_rate", "trial", "step")
    assert whole.diverged.dims == ("arm", "learning_rate", "trial")
    assert whole.weight_delta.dims == ("arm", "learning_rate", "row", "col", "channel")
    assert whole.layer_delta.dims == ("arm", "learning_rate", "trial", "layer")
    assert whole.step.values.tolist() == [3, 6]
    assert whole.arm.values.tolist() == ["normal", "inverted"]
    assert json.loads(whole.attrs["study"])["trials"] == 9
    assert whole.attrs["study_hash"] == SMALL.hash
    assert grain(whole, "accuracy") == 1 / len(SMALL.dataset.x_test)  # pyright: ignore[reportAttributeAccessIssue]
    assert SMALL.dataset.fingerprint == whole.attrs["data_fingerprint"]  # pyright: ignore[reportAttributeAccessIssue]
    assert "jax" in json.loads(whole.attrs["versions"])


@pytest.mark.slow
def test_learning_happens_and_the_border_stays(whole: xr.Dataset) -> None:
    assert float(whole.accuracy.sel(arm="normal").isel(step=-1).mean()) > 0.5
    delta = whole.weight_delta.isel(learning_rate=0, channel=0)
    assert float(delta.sel(arm="normal")[0].max()) == 0.0
    assert float(delta.sel(arm="inverted")[0].min()) > 0.0


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_change_nothing(whole: xr.Dataset, chunk: int) -> None:
    same(ji.run(SMALL, chunk=chunk), whole)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2, 4])
def test_devices_change_nothing(whole: xr.Dataset, devices: int) -> None:
    """Nine trials on four devices: the last call is filled up, and the filling is cut off."""
    same(ji.run(SMALL, devices=devices), whole)


@pytest.mark.slow
def test_more_trials_leave_the_first_as_they_were(whole: xr.Dataset) -> None:
    fewer = ji.run(SMALL.replace(trials=4))
    for name in OF_EACH_TRIAL:
        np.testing.assert_allclose(fewer[name].values, whole[name].isel(trial=slice(4)).values, rtol=1e-6)


def test_seeds_matter_and_repeat(whole: xr.Dataset) -> None:
    other = ji.run(SMALL.replace(seed=1))
    assert not np.array_equal(other.test_loss.values, whole.test_loss.values)
    same(ji.run(SMALL), whole)


def test_trials_differ(whole: xr.Dataset) -> None:
    losses = whole.test_loss.sel(arm="normal").isel(learning_rate=0, step=-1).values
    assert len(set(losses.tolist())) == 9


@pytest.mark.slow
def test_one_trace_for_arms_chunks_and_repeats(compiled: list[program.ProgramSpec]) -> None:
    base, traces = models.get_model("softmax"), 0
    bound = base.bind(tiny().image_shape, tiny().classes)

    def apply(*args: Any, **kwargs: Any) -> Any:
        nonlocal traces
        traces += 1
        return bound.apply(*args, **kwargs)

    counted = ji.Model("counted", base.init, apply, base.fold, base.fold_refusal, base.pixel_weights)
    study = SMALL.replace(model=counted, arms=("normal", "inverted", "signed", "pixel_mean"), trials=19)
    ji.run(study, chunk=4)
    assert len(compiled) == 1
    first = traces
    ji.run(study, chunk=4)
    ji.run(study.replace(seed=5), chunk=4)
    assert len(compiled) == 1
    assert traces == first


@pytest.mark.slow
def test_learning_rates_are_an_axis_of_the_same_trials() -> None:
    """Each learning rate of a grid gives what it gives alone."""
    grid = ji.run(SMALL.replace(learning_rate=(0.05, 0.5)))
    for rate in (0.05, 0.5):
        alone = ji.run(SMALL.replace(learning_rate=rate))
        for name in ("accuracy", "test_loss"):
            a, b = grid[name].sel(learning_rate=[rate]).values, alone[name].values
            np.testing.assert_allclose(a, b, rtol=1e-5, err_msg=name)


@pytest.mark.slow
def test_arms_are_paired_and_independent_of_each_other(whole: xr.Dataset) -> None:
    """An arm gives the same beside others, alone, and as an arm of one's own that is not folded."""
    alone = ji.run(SMALL.replace(arms=("inverted",)))
    np.testing.assert_allclose(alone.test_loss.values[0], whole.test_loss.sel(arm="inverted").values, rtol=1e-5)
    own = ji.Preprocess(fit=lambda images: (), apply=lambda params, x: 1 - x / 255.0, name="own")
    beside = ji.run(SMALL.replace(arms=("image_standardize", own, "inverted")))
    assert beside.arm.values.tolist() == ["image_standardize", "own", "inverted"]
    own_loss, folded = (beside.test_loss.sel(arm=arm).values for arm in ("own", "inverted"))
    np.testing.assert_allclose(own_loss, folded, rtol=1e-4)
    assert not np.allclose(beside.test_loss.sel(arm="image_standardize").values, folded, rtol=1e-2)


@pytest.mark.slow
def test_centred_normal_and_centred_inverted_mirror_each_other() -> None:
    results = ji.run(SMALL.replace(arms=("pixel_mean", "inverted+pixel_mean"), trials=20))
    np.testing.assert_array_equal(results.accuracy.values[0], results.accuracy.values[1])
    np.testing.assert_allclose(results.weight_delta.values[0], results.weight_delta.values[1], rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_diverged_trials_are_flagged_and_left_out_of_the_mean_weight_change() -> None:
    results = ji.run(SMALL.replace(learning_rate=(0.1, 1e9)))
    assert not results.diverged.sel(learning_rate=0.1).any()
    assert results.diverged.sel(learning_rate=1e9).all()
    assert np.isnan(results.weight_delta.sel(learning_rate=1e9)).all()
    assert np.isfinite(results.weight_delta.sel(learning_rate=0.1)).all()


@pytest.mark.slow
def test_an_image_that_an_arm_turns_into_nan_flags_the_trials_that_see_it() -> None:
    def poison(params: Any, x: Any) -> Any:
        return jax.numpy.where(x.sum((1, 2, 3), keepdims=True) == params, jax.numpy.nan, x / 255.0)

    first = lambda images: float(np.asarray(images[0], np.float32).sum())  # noqa: E731
    bad = ji.Preprocess(fit=first, apply=poison, name="bad")
    results = ji.run(SMALL.replace(arms=("normal", bad), steps=2, eval_every=2, batch_size=20, trials=40))
    flagged = results.diverged.sel(arm="bad").values
    assert 0 < flagged.sum() < flagged.size
    assert not results.diverged.sel(arm="normal").any()
    assert np.isfinite(results.weight_delta).all()


@pytest.mark.slow
def test_per_image_correctness_adds_up_to_the_accuracy(whole: xr.Dataset) -> None:
    results = ji.run(SMALL, per_image=True, chunk=4)
    assert results.correct.shape == (2, 1, 9, 60)
    np.testing.assert_allclose(results.correct.mean("image"), results.accuracy.isel(step=-1), rtol=1e-6)


@pytest.mark.slow
def test_memory_that_runs_out_halves_the_chunk(whole: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    call, sizes = program.Program.__call__, []

    def scarce(self: program.Program, *args: Any) -> Any:
        sizes.append(self.spec.trial_batch)
        if self.spec.trial_batch > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
        return call(self, *args)

    monkeypatch.setattr(program.Program, "__call__", scarce)
    same(ji.run(SMALL, chunk=8, devices=1), whole)
    assert list(dict.fromkeys(sizes)) == [8, 4, 2]

    def none_left(self: program.Program, *args: Any) -> Any:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")

    monkeypatch.setattr(program.Program, "__call__", none_left)
    with pytest.raises(ji.DataError, match="one trial at a time does not fit"):
        ji.run(SMALL, chunk=2, devices=1)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["softmax", "cnn:2"])
def test_calls_side_by_side_give_the_same_bits(model: str) -> None:
    """The same batches of trials, one after another and in two, three and four threads; and two runs at once."""
    study = SMALL.replace(model=model)
    expected = ji.run(study, chunk=2, devices=1)
    for cores in (2, 3, 4):
        xr.testing.assert_equal(ji.run(study, chunk=2 * cores, devices=cores), expected)
    with ThreadPoolExecutor(2) as pool:
        for results in pool.map(lambda _: ji.run(study, chunk=2, devices=1), range(2)):
            xr.testing.assert_equal(results, expected)


@pytest.mark.slow
def test_calls_are_under_way_together(monkeypatch: pytest.MonkeyPatch) -> None:
    call, together = program.Program.__call__, threading.Barrier(2, timeout=60)

    def met(self: program.Program, *args: Any) -> Any:
        together.wait()  # raises where nobody else comes
        return call(self, *args)

    monkeypatch.setattr(program.Program, "__call__", met)
    ji.run(SMALL.replace(trials=8), chunk=4, devices=2)


@pytest.mark.slow
def test_what_fails_in_a_thread_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def failing(self: program.Program, *args: Any) -> Any:
        calls.append(args)
        raise ZeroDivisionError("in a thread")

    monkeypatch.setattr(program.Program, "__call__", failing)
    with pytest.raises(ZeroDivisionError, match="in a thread"):
        ji.run(SMALL.replace(trials=100), chunk=2, devices=2)
    assert len(calls) <= 2 * CALLS_QUEUED < 50  # those that were handed over, and no more
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("jaxinv")]


@pytest.mark.slow
def test_a_stored_run_resumes_and_grows(tmp_path: Any, whole: xr.Dataset) -> None:
    class Stop(Exception):
        pass

    def stop_after(done: int, total: int) -> None:
        if done >= 4:
            raise Stop

    out = tmp_path / "run"
    with pytest.raises(Stop):
        ji.run(SMALL, out=out, chunk=2, devices=1, progress=stop_after)
    asked: list[tuple[int, int]] = []
    same(ji.run(SMALL, out=out, progress=lambda done, total: asked.append((done, total))).drop_vars("done"), whole)
    grown = ji.run(SMALL.replace(trials=15), out=out, progress=lambda done, total: asked.append((done, total)))
    assert (9, 15) in asked
    for name in OF_EACH_TRIAL:
        np.testing.assert_allclose(grown[name].isel(trial=slice(9)).values, whole[name].values, rtol=1e-6)
    assert ji.load(out).sizes["trial"] == 15
    with pytest.raises(ji.InputError, match="seed"):
        ji.run(SMALL.replace(seed=4), out=out)


@pytest.mark.parametrize(
    ("trials", "size", "cores", "workers", "length"),
    [
        (2000, 25, 1, 1, 400),  # 5 blocks, no longer than 2 s of 228 trials each
        (2000, 25, 2, 1, 700),
        (2000, 25, 2, 2, 75),  # 12 blocks for each worker
        (2000, 25, 2, 16, 25),
        (100, 50, 1, 1, 100),
        (7, 50, 1, 2, 50),
        (20_000, 9000, 1, 1, 9000),  # a call is never divided
    ],
)
def test_blocks_are_about_two_seconds_and_several_for_each_worker(
    monkeypatch: pytest.MonkeyPatch, trials: int, size: int, cores: int, workers: int, length: int
) -> None:
    monkeypatch.setattr(trial_batch, "trials_a_second", lambda resolved, device: 228.0)
    resolved, hardware = resolve(SMALL.replace(trials=trials)), local_hardware(cores)
    assert trial_batch.store_block_length(resolved, hardware, size, workers) == length


def test_refuses_what_is_no_study_and_no_results() -> None:
    with pytest.raises(ji.InputError, match=r"study: \{'steps': 3\} is not allowed; give a ji.Study"):
        ji.run({"steps": 3})  # pyright: ignore[reportArgumentType]
    for refused in (lambda: ji.compare(3, "a", "b"), lambda: ji.compare_all("runs/x")):  # pyright: ignore
        with pytest.raises(ji.InputError, match=r"results: (3|'runs/x') is not allowed; give what"):
            refused()
    careless: Any = lambda: None  # noqa: E731
    with pytest.raises(ji.InputError, match="optimizer: it cannot be called with a learning rate"):
        ji.run(ji.Study(dataset=tiny(), optimizer=careless, batch_size=10))
    with pytest.raises(ji.InputError, match=r"coordinator: 'x' is not allowed; give HOST:PORT"):
        distributed.start("x", 1, 0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"chunk": 0}, "chunk: 0 is not allowed"),
        ({"devices": 9}, "devices: 9 is not allowed; give a whole number from 1 to "),
        ({"devices": 0}, "devices: 0 is not allowed"),
        ({"keep": "weights"}, "keep: 'weights' is not known"),
        ({"out": 5}, "out: 5 is not allowed; give a folder or a URL"),
        ({"on_block": 5}, "on_block: 5 is not allowed; give a function"),
    ],
)
def test_refuses_in_one_line(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ji.InputError, match=says):
        ji.run(SMALL, **options)


@pytest.mark.parametrize("hidden", [(128,), (128, 8), (8, 128)])
def test_costs_of_an_mlp_are_counted_from_its_layers(hidden: tuple[int, ...]) -> None:
    sizes = (6, *hidden, 10)
    found = costs(models.get_model(f"mlp:{','.join(map(str, hidden))}").bind((3, 2, 1), 10))
    products = [2 * before * after for before, after in itertools.pairwise(sizes)]
    assert found.forward_flops == sum(products)
    assert found.update_flops == 3 * sum(products) - products[0]  # pixels need no gradient
    assert found.activation_bytes == 4 * 128


def test_refuses_a_batch_larger_than_the_data() -> None:
    with pytest.raises(ji.InputError, match="batch_size: 201 is more than the 200 training images"):
        ji.run(SMALL.replace(batch_size=201))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_devices_read_training_images_where_they_are(dtype: Any) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7001, 28, 28, 1)).astype(dtype)[1:]
    copy = in_huge_pages(images)
    np.testing.assert_array_equal(copy, images)
    assert copy.dtype == images.dtype
    placed = jax.device_put(copy, program.replicated(tuple(jax.local_devices()[:2])))
    assert {part.data.unsafe_buffer_pointer() for part in placed.addressable_shards} == {copy.ctypes.data}


@pytest.mark.slow
def test_without_jit_run_is_refused_and_make_trial_works() -> None:
    with jax.disable_jit():
        with pytest.raises(ji.InputError, match=r"^jax_disable_jit: True is not allowed; give False, or .*make_trial"):
            ji.run(SMALL)
        trial, arm, data = ji.make_trial(SMALL.replace(steps=2, eval_every=None))
        assert trial(keys.trial_key(keys.root_key(0), 0), 0.5, arm, data).hits.shape == (1,)
