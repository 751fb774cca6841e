"""What a run keeps of each trial beyond what all runs do, and under what it tests its networks as well."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from jaxinv.engine.resolve import ArmGroup, ResolvedStudy
from jaxinv.errors import InputError, unknown
from jaxinv.fields import as_tuple
from jaxinv.fields import check_preprocess as check_name
from jaxinv.models.targets import Target
from jaxinv.preprocess import Preprocess, check_preprocess, fit_preprocesses, get_preprocess, transform
from jaxinv.registry import KEEP
from jaxinv.results.schema import (
    ALWAYS_KEPT,
    AXIS_ATTRS,
    OVERALL,
    PER_TRIAL,
    TRANSFER,
    ParamArray,
    Schema,
)
from jaxinv.results.selection import PIXELS
from jaxinv.training import keys
from jaxinv.training.evaluate import Metric
from jaxinv.training.evaluation_tiles import TestSet
from jaxinv.training.inputs import Affine, Transfer
from jaxinv.training.losses import check_per_example
from jaxinv.training.trial import Trial
from jaxinv.utils.fingerprint import fingerprint

TAKEN = {*PER_TRIAL, *OVERALL, *AXIS_ATTRS, *PIXELS, "rate"}


@dataclass(frozen=True)
class Keeping:
    """What is kept of each trial.

    Attributes:
      keep: of `KEEP`.
      metrics: the user's metrics, by name.
      test_arms: preprocessings under which each network is tested as well.
    """

    keep: tuple[str, ...] = ()
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    test_arms: tuple[Preprocess, ...] = ()

    def of(self, trial: Trial, transfer_folds: tuple[bool, ...]) -> Trial:
        """A trial that keeps it."""
        return replace(
            trial,
            metrics=tuple(self.metrics.items()),
            transfer_folds=transfer_folds,
            keep_predictions=bool({"correct", "predictions", "confusion"} & set(self.keep)),
            keep_networks="params" in self.keep,
        )


NOTHING = Keeping()


def check_keeping(
    keep: str | Iterable[str] = (),
    metrics: Mapping[str, Metric] | None = None,
    test_arms: str | Iterable[str | Preprocess] = (),
) -> Keeping:
    """What `run` was asked to keep; `InputError` where it makes no sense."""
    chosen = (keep,) if isinstance(keep, str) else as_tuple(keep)
    if chosen is None:
        raise InputError(f"keep: {keep!r} is not allowed; give some of {', '.join(KEEP)}")
    for name in chosen:
        if name not in KEEP:
            raise unknown("keep", name, KEEP)
    if metrics is not None and not isinstance(metrics, Mapping):
        raise InputError(f"metrics: {metrics!r} is not allowed; give a mapping of names to functions")
    for name, function in (metrics or {}).items():
        if not isinstance(name, str) or not name.isidentifier() or name in TAKEN:
            raise InputError(
                f"metrics: the name {name!r} is not allowed; give letters, digits and _, and no name that results have"
            )
        if not callable(function):
            raise InputError(f"metrics: {name}: {function!r} is not allowed; give a function of (logits, labels)")
    given = (test_arms,) if isinstance(test_arms, str | Preprocess) else as_tuple(test_arms)
    if given is None:
        raise InputError(f"test_arms: {test_arms!r} is not allowed; give a sequence of preprocessings")
    preprocesses = tuple(get_preprocess(check_name("test_arms", arm)) for arm in given)
    names = [preprocess.name for preprocess in preprocesses]
    if len(set(names)) < len(names):
        raise InputError(f"test_arms: {', '.join(names)} has a name twice; give each once")
    return Keeping(tuple(name for name in KEEP if name in chosen), dict(metrics or {}), preprocesses)


def schema_of(resolved: ResolvedStudy, keeping: Keeping = NOTHING) -> Schema:
    """What the results of a study are. `InputError` where a metric does not fit its logits."""
    study, dataset = resolved.study, resolved.dataset
    for name, function in keeping.metrics.items():
        check_per_example(f"metrics: {name}", function, dataset.classes)
    chosen = tuple(name for name in KEEP if name in keeping.keep and name != "params")
    return Schema(
        arms=study.arm_names,
        learning_rates=study.learning_rates,
        steps=study.eval_steps,
        layers=resolved.layers,
        image_shape=dataset.image_shape,
        pixel_weights=resolved.has_pixel_weights,
        trials=study.trials,
        kept=(*ALWAYS_KEPT, *(TRANSFER if keeping.test_arms else ()), *chosen),
        metrics=tuple(keeping.metrics),
        metric_fingerprints=tuple(fingerprint(function) for function in keeping.metrics.values()),
        test_arms=tuple(preprocess.name for preprocess in keeping.test_arms),
        test_images=len(dataset.x_test) if {"correct", "predictions"} & set(chosen) else 0,
        classes=dataset.classes if "confusion" in chosen else 0,
        params=network_arrays(resolved) if "params" in keeping.keep else (),
    )


def network_arrays(resolved: ResolvedStudy) -> tuple[ParamArray, ...]:
    """The arrays of a study's networks. Arms of one model have networks of one form."""
    arms_of: dict[Any, list[int]] = {}
    for position, treatment in enumerate(resolved.treatments):
        arms_of.setdefault(treatment.model, []).append(position)
    found = []
    for form, (model, arms) in enumerate(arms_of.items()):
        shapes = jax.eval_shape(model.init, keys.root_key(0))
        for leaf, array in named_leaves(*shapes):
            found.append(ParamArray(form, tuple(arms), leaf, tuple(array.shape), str(array.dtype)))
    return tuple(found)


def named_leaves(params: Any, model_state: Any) -> list[tuple[str, Any]]:
    """The arrays of a network, each by a name that is its path: `params.first.weight`, `state.norm.mean`."""
    found = []
    for root, tree in (("params", params), ("state", model_state)):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            found.append((f"{root}.{name}".replace("/", "_"), leaf))
    names = [name for name, _ in found]
    if len(set(names)) < len(names):
        raise InputError(f"keep: params of a model with two arrays of one path ({', '.join(names)}); rename one")
    return found


def transfers(
    resolved: ResolvedStudy, keeping: Keeping, group: ArmGroup, tile: int, own: TestSet, target: Target
) -> tuple[tuple[bool, ...], tuple[Transfer, ...]]:
    """The test images under each of the test arms, for networks of a group; and where those are folded.

    Args:
      tile: test images that are evaluated together.
      own: the group's own test images, which serve again where they are those as stored.
      target: what programs are written for.
    """
    dataset, model = resolved.dataset, group.trial.model
    shape, stored = dataset.image_shape, group.images[1] is dataset.x_test
    folds, found = [], []
    fitted = fit_preprocesses(keeping.test_arms, dataset.x_train)
    for preprocess, params in zip(keeping.test_arms, fitted, strict=True):
        if not preprocess.built_in:
            check_preprocess(preprocess, params, shape)
        fold, images = False, dataset.x_test
        affine = Affine(np.ones(shape, np.float32), np.zeros(shape, np.float32))
        if preprocess.affine is None:
            images = transform(preprocess, params, images)
        else:
            affine = Affine(*(np.asarray(a, np.float32) for a in preprocess.affine(params, shape)))
            fold = model.refuses_fold(*affine) is None
        order = resolved.pixel_order(model) if fold else None
        same = stored and images is dataset.x_test and order is group.pixel_order
        test = own if same else resolved.test_set(images, tile, order, target)
        folds.append(fold)
        found.append(Transfer(affine, test))
    return tuple(folds), tuple(found)


def kept_values(schema: Schema, gather: Callable[..., np.ndarray], labels: np.ndarray) -> dict[str, np.ndarray]:
    """What the schema keeps beyond the numbers of all runs, from a function that gathers results over all groups."""
    found = {}
    tests = len(labels)
    if schema.test_arms:
        size = (len(schema.test_arms),)
        hits = gather(lambda result: result.transfer.hits, np.int32, size)
        found["transfer_accuracy"] = (hits / tests).astype(np.float32)
        found["transfer_loss"] = gather(lambda result: result.transfer.test_loss, np.float32, size)
    for name in schema.metrics:
        found[name] = gather(lambda result, name=name: result.metrics[name], np.float32, (len(schema.steps),))
    if {"correct", "predictions", "confusion"} & set(schema.kept):
        predictions = gather(lambda result: result.predictions, np.int16, (tests,))
        whole = {"predictions": lambda: predictions, "correct": lambda: predictions == labels}
        whole["confusion"] = lambda: confusion(predictions, labels, schema.classes)
        found |= {name: make() for name, make in whole.items() if name in schema.kept}
    return found


def confusion(predictions: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """How many images of each class are taken for each: int32 [..., label, prediction], from predictions [..., M].

    >>> confusion(np.array([[0, 1, 1]]), np.array([0, 0, 1]), 2).tolist()
    [[[1, 1], [0, 1]]]
    """
    cells = labels.astype(np.int64) * classes + predictions
    flat = cells.reshape(-1, len(labels))
    counts = [np.bincount(row, minlength=classes * classes) for row in flat]
    return np.array(counts, np.int32).reshape(*predictions.shape[:-1], classes, classes)
