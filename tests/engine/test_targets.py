"""Programs as they are written for accelerators: lowered for each, and run on the CPU against the CPU's own."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinv as ji
from jaxinv import registry
from jaxinv.engine.devices import Hardware
from jaxinv.engine.keeping import check_keeping
from jaxinv.engine.planning import program_spec
from jaxinv.engine.program import trace
from jaxinv.engine.resolve import resolve
from jaxinv.engine.trial_batch import TrialBatch, choose_trial_batch, fit_to_memory, plan_evaluation
from jaxinv.models import targets
from jaxinv.training.losses import classify, cross_entropy
from tests.datasets import tiny

PLATFORMS = {"gpu": ("cuda", "rocm"), "tpu": ("tpu",)}
QUICK = {"softmax", "mlp_bn"}
ARMS = {
    "affine": ("normal", "pixel_mean"),
    "unfolded": ("pixel_zscore",),  # where the first layer shares its weights between pixels
    "not_affine": ("image_mean",),
    "augmented": (ji.Arm("augmented", augment="shift"), ji.Arm("late", preprocess="image_mean", augment="flip")),
}
EVERY_ARM = tuple(arm for arms in ARMS.values() for arm in arms)


def study_of(model: str, *, arms: Any = EVERY_ARM, channels: int = 1, **fields: Any) -> ji.Study:
    dataset = tiny(shape=(8, 8, channels))
    fields = {"learning_rate": 0.05, "batch_size": 10, "steps": 4, "eval_every": 2, "trials": 3, **fields}
    return ji.Study(dataset=dataset, model=model, arms=arms, **fields)


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in registry.MODELS]
)
def test_every_program_can_be_lowered_for_every_accelerator(
    monkeypatch: pytest.MonkeyPatch, model: str, platform: str
) -> None:
    """Every kind of arm, all that can be kept, and test images under other preprocessings."""
    resolved = resolve(study_of(model, learning_rate=(0.05, 0.1)))
    keeping = check_keeping(("params", "predictions"), {"first": lambda z, y: z[:, 0]}, ("inverted", "image_mean"))
    target = targets.target_of(platform)
    if model not in QUICK:  # several updates a trip of the loop are as many times the same, and take as long to trace
        target = replace(target, unroll=1)
    monkeypatch.setitem(targets.BY_PLATFORM, "cpu", target)
    for group in resolved.groups:
        data = resolved.data(group, 60, target)
        spec, data = program_spec(resolved, keeping, group, (jax.devices()[0],), 3, data)
        traced = trace(spec, data)
        text = traced.lower(lowering_platforms=PLATFORMS[platform]).as_text()
        assert "stablehlo.while" in text
        convolutional = model.startswith(("cnn", "deep", "hosseini"))
        assert ("stablehlo.convolution" in text) == (platform == "tpu" and convolutional)


def test_groups_are_of_every_kind() -> None:
    groups = resolve(study_of("cnn")).groups
    found = {(g.trial.fold, g.trial.augment is not None, g.trial.preprocess is not None) for g in groups}
    assert found == {(True, False, False), (False, False, False), (True, True, False), (False, True, True)}
    assert {len(g.positions) for g in groups} == {1, 2}


LATE = ji.Arm("late", preprocess="image_mean", augment="flip")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "arms", "channels", "platform"),
    [
        ("softmax", ("normal", "pixel_mean", LATE), 1, "gpu"),
        ("mlp_bn:8", ("normal", LATE), 3, "gpu"),
        ("cnn:3,4", ("pixel_mean", LATE), 3, "tpu"),
        ("cnn_bn:3,4", ("normal", "pixel_mean"), 1, "gpu"),
    ],
)
def test_programs_for_accelerators_compute_the_same(
    monkeypatch: pytest.MonkeyPatch, model: str, arms: Any, channels: int, platform: str
) -> None:
    """Run on the CPU: the same random numbers, hits within one image, losses and weights to rounding."""
    study = study_of(model, arms=arms, channels=channels, eval_every=None)
    how: Any = {"progress": False, "keep": ("params", "predictions"), "test_arms": ("inverted",)}
    ours = ji.run(study, **how)
    monkeypatch.setitem(targets.BY_PLATFORM, "cpu", targets.target_of(platform))
    theirs = ji.run(study, **how)
    assert set(ours) == set(theirs)
    for name in ours:
        a, b = ours[name].values, theirs[name].values
        if name in {"accuracy", "transfer_accuracy"}:
            assert np.abs(a - b).max() <= 1.001 / 60, name
        elif name == "predictions":
            assert np.mean(a != b) < 0.01
        elif a.dtype == np.float32:
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5, err_msg=str(name))


def test_a_platform_that_is_not_known_has_a_target() -> None:
    assert targets.target_of("neuron") == targets.TPU
    assert targets.target_of("cuda") == targets.target_of("gpu") == targets.GPU


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 10])
def test_one_pass_over_the_classes_finds_what_several_do(classes: int) -> None:
    rng = np.random.default_rng(0)
    logits = np.round(rng.standard_normal((400, classes)) * 3).astype(np.float32)  # with many ties
    logits[::50, rng.integers(classes)] = np.nan
    logits[1::50, rng.integers(classes)] = np.inf
    labels = jnp.asarray(rng.integers(0, classes, 400))

    def summed(z: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(jnp.isfinite(z).all(1), cross_entropy(z, labels), 0.0) * jnp.arange(400))

    both = jax.jit(lambda z: (classify(z, labels), jnp.argmax(z, 1), cross_entropy(z, labels), jax.grad(summed)(z)))
    (taken, loss), expected, expected_loss, gradient = both(logits)
    with targets.writing_for(targets.GPU):
        again = jax.grad(summed)(jnp.asarray(logits))
    np.testing.assert_array_equal(taken, expected)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(again, gradient, rtol=1e-5, atol=1e-4)


class Accelerator:
    """Stands for a device: choosing how many trials it takes asks for no more."""

    platform, device_kind = "gpu", "made up"

    def __init__(self, free: int) -> None:
        self.free = free

    def memory_stats(self) -> dict[str, int]:
        return {"bytes_limit": self.free + 5, "bytes_in_use": 5}


def test_images_count_once_for_all_trials_of_an_accelerator() -> None:
    """By hand, for softmax: weights and gradients, the batch, the logits of a batch; tiles of logits beside them."""
    resolved = resolve(study_of("softmax", arms=("normal", "inverted"), trials=10**6, steps=4, eval_every=None))
    hardware = Hardware((Accelerator(8 << 30),), 2)
    size, why = choose_trial_batch(resolved, hardware, None)
    each = 2 * (6 * 4 * (64 * 4 + 4) + 3 * 10 * 16) + 6 * 10 * 64 + 4 * 10 * 4
    fits = int((0.6 * (8 << 30) - 3 * (1 << 30)) / each)
    assert size == -(-(10**6) // -(-(10**6) // fits))
    assert "limited by memory; 0.0 MiB a trial, 8.0 GiB free" in why
    plan = plan_evaluation(resolved.groups[0], hardware.devices[0], size)
    assert plan.wide
    assert plan.tile == (1 << 30) // (2 * size * 16)


@pytest.mark.parametrize(("needed", "size"), [(1000, 40), (1001, 23), (10**6, 1)])
def test_a_batch_that_does_not_fit_as_compiled_is_made_smaller(needed: int, size: int) -> None:
    batch = TrialBatch(40, "as guessed")
    found = fit_to_memory(batch, needed, Accelerator(1000))
    assert found.size == size
    assert (found == batch) == (size == 40)
