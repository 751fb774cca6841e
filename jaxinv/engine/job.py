"""From a study's names to what there is to run: data, fitted arms, and the groups of arms that read the same images."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxinv.data import Dataset, load_dataset
from jaxinv.errors import InputError
from jaxinv.models import Model, check_model, get_model
from jaxinv.preprocess import Preprocess, check_preprocess, fit_preprocesses, get_preprocess, transform
from jaxinv.study import Study
from jaxinv.training import keys, weight_change
from jaxinv.training.optimizers import get_optimizer
from jaxinv.training.tiling import Lit, lay_out, lit_first
from jaxinv.training.trial import Arm, Data, Outcome, Setting, Trial, whole_trial


@dataclass(frozen=True, eq=False)
class Group:
    """Arms that read the same stored images: all affine ones together, every other arm by itself.

    Attributes:
      positions: where the group's arms stand among the study's.
      arm: their scale and offset, NumPy float32 [arms of the group, H, W, K].
      images: (train, test), both [N, H, W, K]: as stored, or with the group's only arm applied.
      fold: whether the arms can be folded into the model's first layer.
    """

    positions: tuple[int, ...]
    arm: Arm
    images: tuple[np.ndarray, np.ndarray]
    fold: bool


@dataclass(frozen=True, eq=False)
class Job:
    """A study with its names looked up. Making one reads the data and fits the arms; nothing is compiled or written."""

    study: Study
    dataset: Dataset
    arms: tuple[Preprocess, ...]
    model: Model
    optimizer: Any

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.dataset.image_shape

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers whose change is recorded."""
        return weight_change.layer_names(self.parameters)

    @cached_property
    def parameters(self) -> Any:
        """Shapes of the model's parameters."""
        start = lambda key: self.model.init(key, self.image_shape, self.dataset.classes)  # noqa: E731
        return jax.eval_shape(start, keys.root_key(0))[0]

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The arms, fitted to the training images, in the groups that run together."""
        data = self.dataset
        shape = data.image_shape
        folded: list[tuple[int, Arm]] = []
        unfolded: list[tuple[int, Arm]] = []
        single: list[Group] = []
        fitted = fit_preprocesses(self.arms, data.x_train)
        for position, (arm, params) in enumerate(zip(self.arms, fitted, strict=True)):
            if not arm.built_in:
                check_preprocess(arm, params, shape)
            if arm.affine is None:
                images = transform(arm, params, data.x_train), transform(arm, params, data.x_test)
                identity = Arm(np.ones((1, *shape), np.float32), np.zeros((1, *shape), np.float32))
                single.append(Group((position,), identity, images, False))
            else:
                scale, offset = (np.asarray(a, np.float32) for a in arm.affine(params, shape))
                fits = self.model.fold is not None and (
                    self.model.fold_refusal is None or self.model.fold_refusal(scale, offset) is None
                )
                (folded if fits else unfolded).append((position, Arm(scale, offset)))
        together = [
            Group(
                tuple(position for position, _ in members),
                jax.tree.map(lambda *a: np.stack(a), *(arm for _, arm in members)),
                (data.x_train, data.x_test),
                fold,
            )
            for members, fold in ((folded, True), (unfolded, False))
            if members
        ]
        return (*together, *single)

    def trial(self, group: Group, *, keep_correct: bool = False) -> Trial:
        """The design of one trial under the arms of a group."""
        study = self.study
        return Trial(
            model=self.model,
            optimizer=self.optimizer,
            image_shape=self.image_shape,
            classes=self.dataset.classes,
            batch_size=study.batch_size,
            steps=study.steps,
            eval_every=study.eval_every or study.steps,
            fold=group.fold,
            keep_correct=keep_correct,
        )

    def lit(self, group: Group) -> Lit | None:
        """How a group's evaluations leave dark pixels out, where model and images allow it."""
        lit = lit_first(self.dataset) if group.fold and self.model.narrow is not None else None
        for part in () if lit is None else lit.parts:  # also makes a network of each width known to a flax adapter
            _check_model(self.model, (part.width, 1, 1), self.dataset.classes)
        return lit

    def data(self, group: Group, tile: int) -> Data:
        """The arrays that every trial of a group reads, test images in tiles of at most `tile`."""
        train, test = group.images
        lit = self.lit(group)
        tiled, place = lay_out(test, self.dataset.y_test, tile, lit)
        return Data(train, self.dataset.y_train, tiled, place, None if lit is None else lit.pixels)


def prepare(study: Study, *, data_dir: str | None = None) -> Job:
    """Look up everything that a study names.

    Raises:
      InputError: a batch larger than the training set, or parts that do not fit together.
      DataError: the data cannot be had.
    """
    dataset = load_dataset(study.dataset, data_dir=data_dir)
    count = len(dataset.x_train)
    if study.batch_size > count:
        raise InputError(f"batch_size: {study.batch_size} is more than the {count} training images; give 1 to {count}")
    if study.illumination:
        from jaxinv.data import relight

        dataset = relight(dataset, strength=study.illumination, seed=study.seed)
    arms = tuple(get_preprocess(arm) for arm in study.arms)
    model = get_model(study.model)
    _check_model(model, dataset.image_shape, dataset.classes)
    return Job(study, dataset, arms, model, get_optimizer(study.optimizer))


_check_model = lru_cache(check_model)  # it traces the model, which takes longer than a small run may


def make_trial(study: Study, arm: str | Preprocess | None = None) -> tuple[Callable[..., Outcome], Arm, Data]:
    """The pure function inside a run, for those who bring their own `vmap`, `shard_map` or loop.

    Args:
      study: its trials, seed and learning rate are left to the caller.
      arm: one of its arms; None: the first.

    Returns:
      (trial, arm, data): `trial(key, learning_rate, arm, data) -> Outcome` is one unbatched trial, and `arm` and `data`
      are arrays to pass on to it. With key `keys.trial_key(keys.root_key(seed), t)` it is trial t of `run`.

    Raises:
      InputError: parts of the study that do not fit together.
      DataError: the data cannot be had.

    >>> trial, arm, data = make_trial(Study(steps=3, batch_size=10), "inverted")
    >>> root = keys.root_key(0)
    >>> many = jax.vmap(lambda t: trial(keys.trial_key(root, t), 0.5, arm, data))
    >>> jax.jit(many)(jnp.arange(4)).hits.shape
    (4, 1)
    """
    job = prepare(study.replace(arms=(study.arms[0] if arm is None else arm,)))
    group = job.groups[0]
    design = job.trial(group)

    def trial(key: jax.Array, learning_rate: Any, arm: Arm, data: Data) -> Outcome:
        return whole_trial(design, Setting(key, learning_rate, arm), data)

    one = jax.tree.map(lambda a: jnp.asarray(a[0]), group.arm)
    return trial, one, jax.tree.map(jnp.asarray, job.data(group, 1000))
