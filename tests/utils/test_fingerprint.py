"""Objects of the user's own: the same one is known again, in every process; another one never passes for it."""

import os
import subprocess
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
from flax import linen, nnx

import jaxinv as ji
from jaxinv.utils.fingerprint import fingerprint, name_of

FACTOR = 1.0


class Net(nnx.Module):
    def __init__(self, image_shape: Any, classes: int, rngs: nnx.Rngs, width: int = 4) -> None:
        self.layer = nnx.Linear(int(np.prod(image_shape)), classes, rngs=rngs)

    def __call__(self, images: Any) -> Any:
        return self.layer(images.reshape(len(images), -1))


class Louder(Net):
    def __call__(self, images: Any) -> Any:
        return 2 * self.layer(images.reshape(len(images), -1))


class Dense(linen.Module):
    width: int

    @linen.compact
    def __call__(self, images: Any) -> Any:
        return linen.Dense(self.width)(images.reshape(len(images), -1))


class Momentum:
    def __init__(self, momentum: Any) -> None:
        self.momentum = momentum

    def __call__(self, learning_rate: Any) -> Any:
        return optax.sgd(learning_rate, momentum=self.momentum)


def with_factor(factor: float) -> Any:
    def optimizer(learning_rate: Any) -> Any:
        return optax.sgd(factor * learning_rate)

    return optimizer


def gamma(exponent: float) -> ji.Preprocess:
    return ji.Preprocess(fit=lambda images: exponent, apply=lambda e, images: (images / 255.0) ** e, name="gamma")


helper = jax.jit(lambda logits, labels: logits.sum(axis=1))


def steered(factor: float) -> Any:
    @jax.custom_vjp
    def same(logits: Any, labels: Any) -> Any:
        return logits.sum(axis=1)

    same.defvjp(lambda *given: (given[0].sum(axis=1), given), lambda given, g: (factor * given[0], None))
    return same


def scaled(factor: float) -> Any:
    def loss(logits: Any, labels: Any) -> Any:
        return factor * optax.softmax_cross_entropy_with_integer_labels(logits, labels)

    return loss


def brighter(factor: int) -> Any:
    def augment(key: Any, images: Any) -> Any:
        return images // factor

    return augment


def recursive(depth: int) -> Any:
    def again(learning_rate: Any) -> Any:
        return optax.sgd(learning_rate) if depth else again(learning_rate)

    return again


MADE = {
    "constructor": lambda: ji.from_nnx(Net),
    "another class": lambda: ji.from_nnx(Louder, name="Net"),
    "partial of a constructor": lambda: ji.from_nnx(partial(Net, width=8)),
    "other argument": lambda: ji.from_nnx(partial(Net, width=16)),
    "lambda around a constructor": lambda: ji.from_nnx(lambda shape, classes, rngs: Net(shape, classes, rngs, 8)),
    "linen attribute": lambda: ji.from_linen(Dense(4)),
    "other linen attribute": lambda: ji.from_linen(Dense(8)),
    "object": lambda: Momentum(0.9),
    "other object": lambda: Momentum(0.8),
    "object with an array": lambda: Momentum(np.arange(3.0)),
    "object with another array": lambda: Momentum(np.arange(3.0) + 1),
    "method": lambda: Momentum(0.9).__call__,
    "closure": lambda: with_factor(1.0),
    "other closure": lambda: with_factor(2.0),
    "recursive": lambda: recursive(1),
    "partial": lambda: partial(optax.sgd, momentum=0.9),
    "other partial": lambda: partial(optax.sgd, momentum=0.8),
    "partial of another": lambda: partial(optax.rmsprop, momentum=0.9),
    "installed": lambda: optax.sgd,
    "other installed": lambda: optax.adam,
    "lambda": lambda: lambda rate: optax.sgd(rate, momentum=0.9),
    "other lambda": lambda: lambda rate: optax.sgd(rate, momentum=0.8),
    "jitted": lambda: jax.jit(scaled(2.0)),
    "another jitted": lambda: jax.jit(scaled(3.0)),
    "with a gradient of its own": lambda: steered(2.0),
    "with another gradient": lambda: steered(3.0),
    "cached": lambda: cache(scaled(2.0)),
    "another cached": lambda: cache(scaled(3.0)),
    "arm": lambda: gamma(2.2),
    "other arm": lambda: gamma(0.5),
    "mapping": lambda: Momentum({"b": {1, 2}, "a": [3]}),
    "other mapping": lambda: Momentum({"b": {1, 3}, "a": [3]}),
}


def test_equal_objects_have_equal_fingerprints_and_others_others() -> None:
    first, second = ({name: fingerprint(make()) for name, make in MADE.items()} for _ in range(2))
    assert first == second
    assert len(set(first.values())) == len(MADE)


@pytest.mark.slow
def test_using_a_model_does_not_change_it() -> None:
    model = ji.from_nnx(Net)
    before = fingerprint(model)
    data = {"x_train": np.zeros((4, 2, 2, 1), np.uint8), "y_train": [0, 1, 0, 1]}
    dataset = ji.Dataset(**data, x_test=data["x_train"], y_test=data["y_train"], name="tiny")
    ji.run(ji.Study(dataset=dataset, model=model, trials=1, steps=1, batch_size=2), progress=False)
    assert fingerprint(model) == before


def test_a_global_that_a_function_reads_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def optimizer(learning_rate: Any) -> Any:
        return optax.sgd(FACTOR * learning_rate)

    def loss(logits: Any, labels: Any) -> Any:
        return helper(logits, labels)

    before = fingerprint(optimizer), fingerprint(loss)
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 2.0)
    monkeypatch.setattr(sys.modules[__name__], "helper", jax.jit(scaled(2.0)))
    after = fingerprint(optimizer), fingerprint(loss)
    assert before[0] != after[0]
    assert before[1] != after[1]


@pytest.mark.slow
def test_every_process_finds_the_same() -> None:
    code = "import tests.utils.test_fingerprint as t; print([t.fingerprint(m()) for m in t.MADE.values()])"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_names() -> None:
    assert name_of(partial(partial(optax.sgd), momentum=0.9)) == "sgd"
    assert name_of(Momentum(0.9)) == "Momentum"
    assert name_of(gamma(1)) == "gamma"
    assert name_of(with_factor) == "with_factor"


IMAGES = np.arange(64, dtype=np.uint8).reshape(16, 2, 2, 1)
DATA = ji.Dataset(x_train=IMAGES, y_train=np.arange(16) % 2, x_test=IMAGES, y_test=np.arange(16) % 2, name="tiny")

OWN = {
    "loss": (scaled(1.0), scaled(2.0)),
    "augment": (brighter(1), brighter(2)),
    "optimizer": (with_factor(1.0), with_factor(2.0)),
    "model": (ji.from_nnx(Net, name="net"), ji.from_nnx(Louder, name="net")),
    "preprocess": (gamma(2.2), gamma(0.5)),
}
"""Objects of a user's own by field: two of the same name."""


def of_own(arm: dict[str, int], study: dict[str, int]) -> ji.Study:
    """A study with objects of one's own, in an arm and in the study itself: the first or the second of each."""
    chosen: Any = {field: OWN[field][which] for field, which in arm.items()}
    whole: Any = {field: OWN[field][which] for field, which in study.items()}
    return ji.Study(dataset=DATA, arms=("normal", ji.Arm("own", **chosen)), trials=1, steps=1, batch_size=2, **whole)


ARM, WHOLE = dict.fromkeys(OWN, 0), dict.fromkeys((field for field in OWN if field != "preprocess"), 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "run"
    ji.run(of_own(ARM, WHOLE), out=folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "field"), [*(("arm", field) for field in ARM), *(("study", field) for field in WHOLE)]
)
def test_a_folder_refuses_another_object_of_the_same_name(folder: Path, place: str, field: str) -> None:
    other = of_own(ARM | {field: 1}, WHOLE) if place == "arm" else of_own(ARM, WHOLE | {field: 1})
    assert name_of(OWN[field][0]) == name_of(OWN[field][1])
    differs = "arms" if place == "arm" else field
    with pytest.raises(ji.InputError, match=rf"holds another study \({differs}: "):
        ji.run(other, out=folder)


@pytest.mark.slow
def test_a_folder_takes_the_same_objects_made_again(folder: Path) -> None:
    arm = of_own(ARM, WHOLE).arms[1]
    assert isinstance(arm, ji.Arm)
    again = of_own(ARM, WHOLE).replace(
        loss=scaled(1.0),
        augment=brighter(1),
        optimizer=with_factor(1.0),
        model=ji.from_nnx(Net, name="net"),
        arms=("normal", arm.replace(loss=scaled(1.0), augment=brighter(1), preprocess=gamma(2.2))),
    )
    results = ji.run(again, out=folder)
    assert results.attrs["computed"] == 0
    assert results.sizes["trial"] == 1
