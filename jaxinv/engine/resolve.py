"""From a study's names to what there is to run: data, treatments, and groups of arms that run together."""

from collections.abc import Container
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jaxinv.arm import as_arm
from jaxinv.data import Dataset, load_dataset, relight
from jaxinv.errors import InputError
from jaxinv.models import BoundModel, check_model, get_model
from jaxinv.models.targets import CPU, Target
from jaxinv.preprocess import Preprocess, check_preprocess, fit_preprocesses, get_preprocess, transform
from jaxinv.study import Study
from jaxinv.training import keys, weight_change
from jaxinv.training.augmentation import Augment, check_augment, get_augment
from jaxinv.training.evaluation_tiles import PixelOrder, TestSet, pixel_order, tile_test_set
from jaxinv.training.inputs import Affine, Data, laid_out
from jaxinv.training.losses import Loss, check_per_example, get_loss
from jaxinv.training.optimizers import Optimizer, at_rate, check_optimizer, get_optimizer
from jaxinv.training.trial import Trial


@dataclass(frozen=True)
class Treatment:
    """What an arm does apart from its preprocessing. Arms of equal treatments can share a program.

    Attributes:
      rates: the learning rates, one or L.
      traced: whether the optimizer takes a traced learning rate; otherwise each rate gets a program.
    """

    model: BoundModel
    optimizer: Optimizer
    rates: tuple[float, ...]
    traced: bool
    loss: Loss
    augment: Augment | None
    batch_size: int
    train_examples: int | None
    label_noise: float
    recompute: bool


@dataclass(frozen=True, eq=False)
class ArmGroup:
    """Arms that one program trains on the same images.

    Attributes:
      positions: where the group's arms stand among the study's.
      rate_positions, rates: where its learning rates stand along the axis of the study's, and what they are; one rate
        may stand for all of the axis.
      trial: what all its trials have in common.
      affine: the arms' scale and offset, NumPy float32 [arms of the group, H, W, K].
      images: (train, test), both [N, H, W, K]: as stored, or as the preprocessing of the group's only arm gives them.
      preprocess_params: of the preprocessing that the trial applies to each batch, where it does.
      pixel_order: how evaluations leave dark pixels out; None where they read all.
    """

    positions: tuple[int, ...]
    rate_positions: tuple[int, ...]
    rates: tuple[float, ...]
    trial: Trial
    affine: Affine
    images: tuple[np.ndarray, np.ndarray]
    preprocess_params: Any
    pixel_order: PixelOrder | None

    @property
    def networks(self) -> int:
        """How many networks one trial trains."""
        return len(self.positions) * len(self.rates)

    def affine_for(self, target: Target) -> Affine:
        """The arms' scale and offset as programs for a target read them: scale [A, 1, 1, 1] where that comes after."""
        scale, offset = self.affine
        one = scale[:, :1, :1, :1]
        return Affine(one if target.scale_after and self.trial.fold and np.all(scale == one) else scale, offset)

    @property
    def changes_batches(self) -> bool:
        """Whether stored images are augmented or preprocessed batch by batch, and not read as they are."""
        return self.trial.augment is not None or self.trial.preprocess is not None

    @cached_property
    def parameters(self) -> Any:
        """Shapes of the model's parameters."""
        return jax.eval_shape(self.trial.model.init, keys.root_key(0))[0]

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers whose change is recorded."""
        return weight_change.layer_names(self.parameters)


@dataclass(frozen=True, eq=False)
class ResolvedStudy:
    """A study with its names looked up. Making one reads the data; nothing is compiled or written."""

    study: Study
    dataset: Dataset
    preprocesses: tuple[Preprocess, ...]
    treatments: tuple[Treatment, ...]

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers whose change is recorded, of all arms together."""
        return tuple(dict.fromkeys(layer for group in self.groups for layer in group.layers))

    @property
    def has_pixel_weights(self) -> bool:
        """Whether the first layer of some arm's model reads pixels directly."""
        return any(treatment.model.model.pixel_weights is not None for treatment in self.treatments)

    @cached_property
    def groups(self) -> tuple[ArmGroup, ...]:
        """The arms, their preprocessings fitted to the training images, in the groups that run together.

        Arms that differ in an affine preprocessing alone are one group; every other arm is one by itself.
        """
        stored, shape = (self.dataset.x_train, self.dataset.x_test), self.dataset.image_shape
        together: dict[tuple[Treatment, bool], list[tuple[int, Affine]]] = {}
        groups: list[ArmGroup] = []
        fitted = fit_preprocesses(self.preprocesses, self.dataset.x_train)
        for position, (preprocess, params) in enumerate(zip(self.preprocesses, fitted, strict=True)):
            treatment = self.treatments[position]
            if not preprocess.built_in:
                check_preprocess(preprocess, params, shape)
            if preprocess.affine is not None:
                affine = Affine(*(np.asarray(a, np.float32) for a in preprocess.affine(params, shape)))
                fold = treatment.model.refuses_fold(*affine) is None
                together.setdefault((treatment, fold), []).append((position, affine))
                continue
            identity = Affine(np.ones((1, *shape), np.float32), np.zeros((1, *shape), np.float32))
            test = transform(preprocess, params, stored[1])
            if treatment.augment is None:
                images, late = (transform(preprocess, params, stored[0]), test), None
            else:  # augmentation comes first, so that what it gives is preprocessed batch by batch
                images, late = (stored[0], test), (preprocess.apply, params)
            groups += self._at_rates(treatment, (position,), identity, images, fold=False, late=late)
        for (treatment, fold), members in together.items():
            affine = jax.tree.map(lambda *a: np.stack(a), *(affine for _, affine in members))
            groups += self._at_rates(treatment, tuple(position for position, _ in members), affine, stored, fold=fold)
        return tuple(groups)

    def _at_rates(
        self,
        treatment: Treatment,
        positions: tuple[int, ...],
        affine: Affine,
        images: tuple[np.ndarray, np.ndarray],
        *,
        fold: bool,
        late: tuple[Any, Any] | None = None,
    ) -> list[ArmGroup]:
        """One group for all learning rates, or one for each where the optimizer cannot take a traced one."""
        rates = treatment.rates
        axis = len(self.study.learning_rates)
        places = [tuple(range(axis))] if len(rates) == 1 else [(place,) for place in range(axis)]
        if treatment.traced:
            split = [(tuple(range(axis)), rates, treatment.optimizer)]
        else:
            split = [
                (place, (rate,), at_rate(treatment.optimizer, rate)) for place, rate in zip(places, rates, strict=True)
            ]
        return [
            ArmGroup(
                positions=positions,
                rate_positions=place,
                rates=some,
                trial=Trial(
                    model=treatment.model,
                    optimizer=optimizer,
                    loss=treatment.loss,
                    augment=treatment.augment,
                    batch_size=treatment.batch_size,
                    train_examples=treatment.train_examples,
                    label_noise=treatment.label_noise,
                    recompute=treatment.recompute,
                    steps=self.study.steps,
                    eval_every=self.study.eval_every or self.study.steps,
                    fold=fold,
                    preprocess=None if late is None else late[0],
                ),
                affine=affine,
                images=images,
                preprocess_params=None if late is None else late[1],
                pixel_order=self.pixel_order(treatment.model) if fold else None,
            )
            for place, some, optimizer in split
        ]

    def pixel_order(self, model: BoundModel) -> PixelOrder | None:
        """How evaluations leave dark pixels out, where model and images allow it."""
        order = None if model.model.select_pixels is None else pixel_order(self.dataset)
        for group in () if order is None else order.groups:
            check_model(model.model, (group.width, 1, 1), self.dataset.classes)
        return order

    def data(self, group: ArmGroup, tile: int, target: Target = CPU) -> Data:
        """The arrays that a group's trials read, laid out for a target; test images in tiles of at most `tile`."""
        train, test = group.images
        read = laid_out(train, target, whole=group.changes_batches)
        tiles = self.test_set(test, tile, group.pixel_order, target)
        return Data(read, self.dataset.y_train, tiles, group.preprocess_params)

    def test_set(self, images: np.ndarray, tile: int, order: PixelOrder | None, target: Target) -> TestSet:
        """Test images in tiles, laid out for a target."""
        tiled = tile_test_set(images, self.dataset.y_test, tile, order)
        groups = (tiles._replace(images=laid_out(tiles.images, target, lead=2)) for tiles in tiled.groups)
        return tiled._replace(groups=tuple(groups))


def resolve(study: Study, *, data_dir: str | None = None) -> ResolvedStudy:
    """Look up everything that a study names.

    Raises:
      InputError: a batch or a subset larger than the training set, or parts that do not fit together.
      DataError: the data cannot be had.
    """
    dataset = load_dataset(study.dataset, data_dir=data_dir)
    if study.illumination:
        dataset = relight(dataset, strength=study.illumination, seed=study.seed)
    arms = study.complete_arms
    return ResolvedStudy(
        study=study,
        dataset=dataset,
        preprocesses=tuple(get_preprocess(arm.preprocess or "normal") for arm in arms),
        treatments=tuple(
            _treatment(study, arm, as_arm(given).changes, dataset) for arm, given in zip(arms, study.arms, strict=True)
        ),
    )


def _treatment(study: Study, arm: Any, changed: Container[str], dataset: Dataset) -> Treatment:
    """A complete arm's treatment, each part checked against the data.

    Args:
      changed: what the arm itself sets; refusals name the arm only there.
    """

    def where(*fields: str) -> str:
        return f"arms: {arm.name}: " if any(field in changed for field in fields) else ""

    count, subset = len(dataset.x_train), arm.train_examples
    if subset is not None and subset > count:
        raise InputError(
            f"{where('train_examples')}train_examples: {subset} is more than the {count} training images; give 1 to "
            f"{count}"
        )
    if arm.batch_size > (subset or count):
        most = f"the {count} training images" if subset is None else f"train_examples={subset}"
        raise InputError(
            f"{where('batch_size', 'train_examples')}batch_size: {arm.batch_size} is more than {most}; give 1 to "
            f"{subset or count}"
        )
    try:
        model = check_model(get_model(arm.model), dataset.image_shape, dataset.classes)
    except InputError as error:
        raise InputError(f"{where('model')}{error}") from error.__cause__
    recompute = arm.batch_stats == "recomputed" and model.has_state
    if recompute and model.model.recompute is None:
        raise InputError(
            f"{where('batch_stats', 'model')}batch_stats: 'recomputed' is not allowed for {model.name!r}, which does "
            "not say how; give 'running', or a model of jaxinv or flax nnx"
        )
    loss, augment = get_loss(arm.loss), get_augment(arm.augment)
    check_per_example(f"{where('loss')}loss", loss, dataset.classes)
    if augment is not None:
        check_augment(f"{where('augment')}augment", augment, dataset.image_shape)
    rates = study.rates(arm)
    rates = rates[:1] if len(set(rates)) == 1 else rates
    field = f"{where('optimizer')}optimizer"
    optimizer = get_optimizer(arm.optimizer, field)
    traced = check_optimizer(field, optimizer, jax.eval_shape(model.init, keys.root_key(0))[0], rates)
    return Treatment(
        model=model,
        optimizer=optimizer,
        rates=rates,
        traced=traced,
        loss=loss,
        augment=augment,
        batch_size=arm.batch_size,
        train_examples=None if subset == count else subset,
        label_noise=arm.label_noise,
        recompute=recompute,
    )
