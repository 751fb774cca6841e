"""Every field that an arm may change, alone and together with each other one, against NumPy in float64."""

import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

import jaxinv as ji
from jaxinv.arm import ARM_FIELDS
from jaxinv.engine.resolve import resolve
from jaxinv.models import get_model
from jaxinv.training import keys
from jaxinv.training.examples import noisy_labels
from jaxinv.training.shuffling import batch_indices, permutation
from tests import reference
from tests.datasets import tiny

DATA = tiny(shape=(4, 4, 1), train=2000, test=30, classes=3)
RATES, OTHER_RATES = (0.2, 0.05), (0.1, 0.02)
STEPS, BATCH, EPS = 3, 5, 0.1  # with its own eps of 1e-8, Adam would turn rounding noise into steps
TRIALS = 2


def adam(rate: Any) -> optax.GradientTransformation:
    return optax.adam(rate, eps=EPS)


CHANGES: dict[str, Any] = {
    "preprocess": "image_standardize",
    "model": "mlp:6",
    "optimizer": adam,
    "loss": "squared_error",
    "augment": "flip",
    "batch_size": 7,
    "train_examples": 1000,
    "label_noise": 0.3,
}
"""What makes a program of its own. An affine preprocessing and a learning rate do not, so they go with each."""

TOGETHER = [  # each pair of changes is in one of these
    ("model", "optimizer", "batch_size", "loss", "augment"),
    ("model", "optimizer", "train_examples", "label_noise", "preprocess"),
    ("batch_size", "loss", "train_examples", "label_noise", "preprocess"),
    ("augment", "train_examples", "label_noise", "preprocess", "model"),
]
ALONE = [(), *((field,) for field in CHANGES)]
STUDY = ji.Study(dataset=DATA, learning_rate=RATES, steps=STEPS, eval_every=1, batch_size=BATCH, trials=TRIALS)


def variants(fields: tuple[str, ...]) -> Iterator[ji.Arm]:
    """Arms with these changes: at each of the learning rates and, where the preprocessing is free, inverted as well."""
    changes: Any = {field: CHANGES[field] for field in fields}
    for rates, inverted in itertools.product((None, OTHER_RATES), (False, True)):
        if "preprocess" in changes and inverted:
            continue
        name = " ".join([*fields, *["slow"] * (rates is not None), *["inverted"] * inverted]) or "nothing"
        beside: Any = {"preprocess": "inverted"} if inverted else {}
        yield ji.Arm(name, **changes, **beside, learning_rate=rates)


ARMS = [arm for fields in (*ALONE, *TOGETHER) for arm in variants(fields)]


@pytest.fixture(scope="module")
def results() -> xr.Dataset:
    """Of all arms. What takes time here is to compile."""
    return ji.run(STUDY.replace(arms=ARMS), devices=1)


def key_of(trial: int) -> jax.Array:
    return keys.trial_key(keys.root_key(0), trial)


@cache
def walk(trial: int, size: int, subset: int | None) -> np.ndarray:
    """The examples of each step, [S, B]."""
    key, count = key_of(trial), len(DATA.x_train)
    shuffle = keys.stream(key, "shuffle")
    steps = jnp.arange(STEPS)
    places = jax.jit(jax.vmap(lambda step: batch_indices(shuffle, step, size, subset or count)))(steps)
    if subset is None:
        return np.asarray(places)
    order = permutation(keys.stream(key, "subset"), jnp.arange(count), count)
    return np.asarray(order)[:subset][places]


@cache
def labels_of(trial: int, share: float) -> np.ndarray:
    everything = jnp.arange(len(DATA.x_train))
    return np.asarray(noisy_labels(key_of(trial), everything, jnp.asarray(DATA.y_train), share, len(everything), 3))


@cache
def begin(trial: int, model: str | None) -> list[tuple[np.ndarray, np.ndarray]]:
    if model is None:
        return [(np.zeros((3, 16)), np.zeros(3))]
    params, _ = get_model(model).init(keys.stream(key_of(trial), "init"), DATA.image_shape, 3)
    return [(np.asarray(params[layer]["weight"]), np.asarray(params[layer]["bias"])) for layer in ("first", "last")]


def flipped(images: np.ndarray, trial: int, step: int) -> np.ndarray:
    key = jax.random.fold_in(keys.stream(key_of(trial), "augment"), step)
    mirrored = np.asarray(jax.random.bernoulli(key, 0.5, (len(images), 1, 1, 1)))
    return np.where(mirrored, images[:, :, ::-1], images)


def inputs(images: np.ndarray, preprocess: Any) -> np.ndarray:
    """Images as the network sees them, [N, D]."""
    x = images.reshape(len(images), -1).astype(np.float64)
    if preprocess == "image_standardize":
        x = x - x.mean(axis=1, keepdims=True)
        return x / np.maximum(x.std(axis=1, keepdims=True), x.shape[1] ** -0.5)
    scale, offset = reference.AFFINE[preprocess or "normal"]
    return x * scale + offset


def batches(trial: int, arm: ji.Arm) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What an arm trains on: inputs and labels of each step."""
    for step, batch in enumerate(walk(trial, arm.batch_size or BATCH, arm.train_examples)):
        images = DATA.x_train[batch]
        images = flipped(images, trial, step) if arm.augment else images
        yield inputs(images, arm.preprocess), labels_of(trial, arm.label_noise or 0.0)[batch]


@pytest.mark.slow
@pytest.mark.parametrize("arm", ARMS, ids=[arm.name.replace(" ", "-") for arm in ARMS])
def test_three_steps_are_those_of_numpy(results: xr.Dataset, arm: ji.Arm) -> None:
    found, moved = results.sel(arm=arm.name), []
    test, rates = inputs(DATA.x_test, arm.preprocess), np.atleast_1d(arm.learning_rate or RATES)
    for (place, rate), trial in itertools.product(enumerate(rates), range(TRIALS)):
        first = begin(trial, arm.model)
        how: Any = {"loss": arm.loss or "cross_entropy", "eps": EPS if arm.optimizer else None}
        after = reference.train(list(batches(trial, arm)), first, rate, **how)
        one = found.isel(learning_rate=place, trial=trial)
        accuracy, loss = np.transpose([reference.evaluate(layers, test, DATA.y_test) for layers in after])
        np.testing.assert_allclose(one.accuracy, accuracy, atol=1e-6)
        np.testing.assert_allclose(one.test_loss, loss, rtol=1e-5)
        pairs = [(was, now) for (was, _), (now, _) in zip(first, after[-1], strict=True)]
        change = [np.linalg.norm(now - was) / (np.linalg.norm(was) or 1) for was, now in pairs]
        np.testing.assert_allclose(one.layer_delta.dropna("layer"), change, rtol=5e-5)
        moved.append(np.abs(pairs[0][1] - pairs[0][0]).max(axis=0))
    mean = np.reshape(moved, (2, TRIALS, *DATA.image_shape)).mean(axis=1)
    np.testing.assert_allclose(found.weight_delta, mean, rtol=5e-5, atol=1e-6)


@pytest.mark.slow
def test_a_rate_of_an_arm_is_that_of_a_study_to_the_last_bit(results: xr.Dataset) -> None:
    """Also one rate in place of an axis of two."""
    arms = [ji.Arm("nothing"), ji.Arm("inverted", preprocess="inverted")]
    alone = ji.run(STUDY.replace(arms=arms, learning_rate=OTHER_RATES), devices=1)
    for name in ("accuracy", "test_loss", "layer_delta", "weight_delta"):
        found = results[name].sel(arm=["slow", "slow inverted"]).values
        np.testing.assert_array_equal(found[..., :1] if name == "layer_delta" else found, alone[name].values)
    one = [arm.replace(learning_rate=OTHER_RATES[1]) for arm in arms]
    both = ji.run(STUDY.replace(arms=one), devices=1)
    assert both.learning_rate.values.tolist() == list(RATES)
    expected = ji.run(STUDY.replace(arms=arms, learning_rate=OTHER_RATES[1]), devices=1).test_loss.values
    np.testing.assert_array_equal(both.test_loss.values, expected.repeat(2, axis=1))


@pytest.mark.slow
def test_arms_of_one_model_begin_at_the_same_weights_whatever_else_they_change() -> None:
    fields = [field for field in CHANGES if field != "model"]
    arms = [ji.Arm(field, model="mlp:6", **{field: CHANGES[field]}) for field in fields]
    groups = resolve(STUDY.replace(arms=arms)).groups
    assert len(groups) == len(fields)
    first, *others = (group.trial.init(key_of(1), jnp.float32(0.1)).params for group in groups)
    for other in others:
        jax.tree.map(np.testing.assert_array_equal, first, other)


def test_pairs_of_changes_are_all_there() -> None:
    pairs = {frozenset(pair) for fields in TOGETHER for pair in itertools.combinations(fields, 2)}
    assert pairs == {frozenset(pair) for pair in itertools.combinations(CHANGES, 2)}
    evaluation = {"batch_stats"}  # which changes no training: tests/training/test_batch_statistics.py
    assert {*CHANGES, "learning_rate"} | evaluation == set(ARM_FIELDS)
