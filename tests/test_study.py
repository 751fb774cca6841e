"""Study: what it refuses, how it prints, what its hash depends on."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jaxinv import registry
from jaxinv.arm import Arm, arms
from jaxinv.errors import InputError
from jaxinv.study import CHECKS, Study


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"arms": ("nomal",)}, "arms: 'nomal' is not known; did you mean 'normal'?"),
        ({"arms": ("inverted+pixel_men",)}, "did you mean 'pixel_mean'?"),
        ({"arms": "normal"}, "arms: 'normal' is not allowed; give a sequence"),
        ({"arms": ()}, "arms: none given"),
        ({"arms": ("normal+",)}, "arms: 'normal+' has an empty part"),
        ({"arms": ("normal", "normal")}, "has a name twice"),
        ({"arms": (3,)}, "arms: 3 is not allowed; give a name, a ji.Preprocess or a ji.Arm"),
        ({"model": "sofmax"}, "model: 'sofmax' is not known; did you mean 'softmax'?"),
        ({"model": 7}, "model: 7 is not allowed; give a name or a ji.Model"),
        ({"model": "mpl:128"}, "model: 'mpl' is not known; did you mean 'mlp'?"),
        ({"model": "softmax:10"}, "model: 'softmax:10' is not allowed; give 'softmax', which takes no sizes"),
        ({"model": "mlp:"}, "model: 'mlp:' is not allowed; give whole numbers from 1 to 1048576 after the colon"),
        ({"model": "cnn:8,0"}, "model: 'cnn:8,0' is not allowed; give whole numbers"),
        ({"model": "mlp:1e3"}, "model: 'mlp:1e3' is not allowed; give whole numbers"),
        ({"model": "mlp:-5,"}, "such as mlp:32,64"),
        ({"optimizer": "sdg"}, "optimizer: 'sdg' is not known; did you mean 'sgd'?"),
        ({"optimizer": 1.0}, "optimizer: 1.0 is not allowed; give a name or a function"),
        ({"dataset": "mnits"}, "dataset: 'mnits' is not known; did you mean 'mnist'?"),
        ({"dataset": 5}, "dataset: 5 is not allowed; give a name"),
        ({"trials": 0}, "trials: 0 is not allowed; give a whole number from 1"),
        ({"trials": 2.5}, "trials: 2.5 is not allowed"),
        ({"trials": True}, "trials: True is not allowed"),
        ({"steps": -1}, "steps: -1 is not allowed"),
        ({"steps": 2**31}, "steps: 2147483648 is not allowed"),
        ({"steps": 2**30, "batch_size": 4}, "draw more than 2147483647 examples"),
        ({"batch_size": 0}, "batch_size: 0 is not allowed"),
        ({"steps": 50, "eval_every": 7}, "eval_every: 7 does not divide steps=50"),
        ({"eval_every": 51}, "eval_every: 51 is not allowed; give a whole number from 1 to 50"),
        ({"learning_rate": math.nan}, "learning_rate: nan is not allowed; give a finite number"),
        ({"learning_rate": -0.5}, "learning_rate: -0.5 is not allowed; give a positive number"),
        ({"learning_rate": 0}, "learning_rate: 0.0 is not allowed"),
        ({"learning_rate": ()}, "learning_rate: none given"),
        ({"learning_rate": (0.1, 0.1)}, "has a value twice"),
        ({"learning_rate": "fast"}, "learning_rate: 'fast' is not allowed; give a number"),
        ({"seed": -1}, "seed: -1 is not allowed; give a whole number from 0 to 4294967295"),
        ({"seed": 2**32}, "seed: 4294967296 is not allowed"),
        ({"illumination": 1.0}, "illumination: 1.0 is not allowed"),
        ({"precision": "exakt"}, "precision: 'exakt' is not known; did you mean 'exact'?"),
    ],
)
def test_refuses_in_one_line(fields: dict, says: str) -> None:
    with pytest.raises(InputError) as caught:
        Study(**fields)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_is_frozen_and_keyword_only() -> None:
    with pytest.raises(TypeError):
        Study("mnist")  # pyright: ignore[reportCallIssue]
    with pytest.raises(AttributeError):
        Study().trials = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_json_round_trip() -> None:
    study = Study(arms=["normal", "lcn+pixel_mean"], learning_rate=[0.1, 1], steps=np.int64(20), eval_every=5)  # pyright: ignore[reportArgumentType]
    again = Study.from_json(study.to_json())
    assert again == study
    assert again.hash == study.hash
    assert json.loads(study.to_json())["learning_rate"] == [0.1, 1.0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "the text is not JSON"),
        ("[]", "list is not allowed; give a JSON object"),
        ('{"trails": 3}', "did you mean 'trials'?"),
        ('{"model": {"own": "net"}}', "object of your own"),
    ],
)
def test_from_json_refuses(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says.replace("?", r"\?")):
        Study.from_json(text)


def test_hash_ignores_trials_alone() -> None:
    base = Study()
    assert base.replace(trials=7).hash == base.hash
    changes = {
        "dataset": "tfds:mnist",
        "arms": ("inverted", "normal"),
        "model": "mlp",
        "optimizer": "adam",
        "learning_rate": (0.5,),
        "batch_size": 50,
        "steps": 100,
        "eval_every": 10,
        "seed": 1,
        "loss": "multiclass_hinge_loss",
        "augment": "flip",
        "train_examples": 100,
        "label_noise": 0.25,
        "batch_stats": "recomputed",
        "illumination": 0.5,
        "precision": "fast",
    }
    assert set(changes) | {"trials"} == set(Study.__dataclass_fields__)
    for name, value in changes.items():
        assert base.replace(**{name: value}).hash != base.hash, name


def test_names_are_written_as_one_likes() -> None:
    assert Study(arms=("inverted + pixel_mean",)).arm_names == ("inverted+pixel_mean",)
    with pytest.raises(InputError, match="has a name twice"):
        Study(arms=("inverted + pixel_mean", "inverted+pixel_mean"))
    assert Study(model="mlp: 128, 064").model == Study(model="mlp:128,64").model == "mlp:128,64"
    assert Study(dataset="DATA.NPZ").dataset == "DATA.NPZ"
    assert Study(trials=np.int64(3)).trials == 3  # pyright: ignore[reportArgumentType]


class Indexed:
    """Has a length and items, and is registered as no sequence."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]


class ListConfig(Indexed, Sequence):
    """A sequence that is neither a list nor a tuple, as those of OmegaConf."""


@pytest.mark.parametrize("sequence", [list, tuple, np.array, pd.Series, Indexed, ListConfig])
def test_sequences_of_any_kind_are_taken(sequence: Any) -> None:
    study = Study(arms=sequence(["normal", "raw"]), learning_rate=sequence([0.1, 1.0]))
    assert study == Study(arms=("normal", "raw"), learning_rate=(0.1, 1.0))
    assert study.hash == Study(arms=("normal", "raw"), learning_rate=(0.1, 1.0)).hash
    assert Study.from_json(study.to_json()) == study
    assert Arm("x", learning_rate=sequence([0.1, 1.0])) == Arm("x", learning_rate=(0.1, 1.0))
    assert arms(model=sequence(["mlp", "cnn"])) == arms(model=("mlp", "cnn"))


@pytest.mark.parametrize(
    "several", [set, lambda items: (item for item in items), lambda items: dict.fromkeys(items), iter]
)
def test_what_has_no_order_or_is_read_once_is_refused(several: Any) -> None:
    with pytest.raises(InputError, match=r"arms: .* is not allowed; give a sequence"):
        Study(arms=several(["normal", "raw"]))
    with pytest.raises(InputError, match=r"learning_rate: .* is not allowed; give a number or a sequence of numbers"):
        Study(learning_rate=several([0.1, 1.0]))


def test_every_field_has_a_check() -> None:
    assert {*CHECKS, "arms"} == set(Study.__dataclass_fields__)


def test_axes() -> None:
    study = Study(learning_rate=0.5, steps=20, eval_every=5, arms=("normal", "inverted+pixel_mean"))
    assert study.learning_rates == (0.5,)
    assert study.eval_steps == (5, 10, 15, 20)
    assert Study(steps=20).eval_steps == (20,)
    assert study.arm_names == ("normal", "inverted+pixel_mean")


def test_every_name_of_the_registry_makes_a_study() -> None:
    for arm in registry.PREPROCESSINGS:
        Study(arms=(arm,))
    for model in registry.MODELS:
        Study(model=model)
    for optimizer in registry.OPTIMIZERS:
        Study(optimizer=optimizer)
