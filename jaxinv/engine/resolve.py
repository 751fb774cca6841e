"""From a study's names to what there is to run: data, fitted preprocessings, and groups of arms that run together."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jaxinv.data import Dataset, load_dataset, relight
from jaxinv.errors import InputError
from jaxinv.models import BoundModel, check_model, get_model
from jaxinv.preprocess import Preprocess, check_preprocess, fit_preprocesses, get_preprocess, transform
from jaxinv.study import Study
from jaxinv.training import keys, weight_change
from jaxinv.training.evaluation_tiles import PixelOrder, pixel_order, tile_test_set
from jaxinv.training.inputs import Affine, Data
from jaxinv.training.optimizers import Optimizer, get_optimizer
from jaxinv.training.trial import Trial


@dataclass(frozen=True, eq=False)
class ArmGroup:
    """Arms that one program trains on the same images: all affine ones together, every other arm by itself.

    Attributes:
      positions: where the group's arms stand among the study's.
      affine: their scale and offset, NumPy float32 [arms of the group, H, W, K].
      images: (train, test), both [N, H, W, K]: as stored, or as the preprocessing of the group's only arm gives them.
      fold: whether the affine preprocessings can be folded into the model's first layer.
      pixel_order: how evaluations leave dark pixels out; None where they read all.
    """

    positions: tuple[int, ...]
    affine: Affine
    images: tuple[np.ndarray, np.ndarray]
    fold: bool
    pixel_order: PixelOrder | None


@dataclass(frozen=True, eq=False)
class ResolvedStudy:
    """A study with its names looked up. Making one reads the data; nothing is compiled or written."""

    study: Study
    dataset: Dataset
    preprocesses: tuple[Preprocess, ...]
    model: BoundModel
    optimizer: Optimizer

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers whose change is recorded."""
        return weight_change.layer_names(self.parameters)

    @cached_property
    def parameters(self) -> Any:
        """Shapes of the model's parameters."""
        return jax.eval_shape(self.model.init, keys.root_key(0))[0]

    @cached_property
    def groups(self) -> tuple[ArmGroup, ...]:
        """The arms, their preprocessings fitted to the training images, in the groups that run together."""
        data = self.dataset
        stored, shape = (data.x_train, data.x_test), data.image_shape
        folded: list[tuple[int, Affine]] = []
        unfolded: list[tuple[int, Affine]] = []
        single: list[ArmGroup] = []
        fitted = fit_preprocesses(self.preprocesses, data.x_train)
        for position, (preprocess, params) in enumerate(zip(self.preprocesses, fitted, strict=True)):
            if not preprocess.built_in:
                check_preprocess(preprocess, params, shape)
            if preprocess.affine is None:
                train, test = (transform(preprocess, params, images) for images in stored)
                identity = Affine(np.ones((1, *shape), np.float32), np.zeros((1, *shape), np.float32))
                single.append(ArmGroup((position,), identity, (train, test), False, None))
            else:
                affine = Affine(*(np.asarray(a, np.float32) for a in preprocess.affine(params, shape)))
                fits = self.model.refuses_fold(*affine) is None
                (folded if fits else unfolded).append((position, affine))
        together = [
            ArmGroup(
                positions=tuple(position for position, _ in members),
                affine=jax.tree.map(lambda *a: np.stack(a), *(affine for _, affine in members)),
                images=stored,
                fold=fold,
                pixel_order=self._pixel_order() if fold else None,
            )
            for members, fold in ((folded, True), (unfolded, False))
            if members
        ]
        return (*together, *single)

    def _pixel_order(self) -> PixelOrder | None:
        """How evaluations leave dark pixels out, where model and images allow it."""
        order = None if self.model.model.select_pixels is None else pixel_order(self.dataset)
        for group in () if order is None else order.groups:
            check_model(self.model.model, (group.width, 1, 1), self.dataset.classes)
        return order

    def trial(self, group: ArmGroup, *, keep_correct: bool = False) -> Trial:
        """What all trials under the arms of a group have in common."""
        study = self.study
        return Trial(
            model=self.model,
            optimizer=self.optimizer,
            batch_size=study.batch_size,
            steps=study.steps,
            eval_every=study.eval_every or study.steps,
            fold=group.fold,
            keep_correct=keep_correct,
        )

    def data(self, group: ArmGroup, tile: int) -> Data:
        """The arrays that every trial of a group reads, test images in tiles of at most `tile`."""
        train, test = group.images
        tiles = tile_test_set(test, self.dataset.y_test, tile, group.pixel_order)
        return Data(train, self.dataset.y_train, tiles)


def resolve(study: Study, *, data_dir: str | None = None) -> ResolvedStudy:
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
        dataset = relight(dataset, strength=study.illumination, seed=study.seed)
    return ResolvedStudy(
        study=study,
        dataset=dataset,
        preprocesses=tuple(get_preprocess(arm) for arm in study.arms),
        model=check_model(get_model(study.model), dataset.image_shape, dataset.classes),
        optimizer=get_optimizer(study.optimizer),
    )
