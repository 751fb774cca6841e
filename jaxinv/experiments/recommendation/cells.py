"""The cells of the answer: a model, a light, a number of training images; and what is run in each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinv.arm import Arm
from jaxinv.data import Dataset
from jaxinv.errors import InputError
from jaxinv.study import Study

ARMS = ("normal", "channel_mean", "pixel_mean", "channel_zscore", "image_standardize", "lcn", "zca")
MODELS = ("mlp", "mlp_bn", "cnn", "cnn_bn")
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
LIGHTS = {"steady": 0.0, "changing": 0.8}
PILOT_SEED = 1_000_003
"""Added to the seed for the trials that choose learning rates, so that they are other trials than those judged."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One model in one light with so many training images.

    Attributes:
      model: its name.
      light: a key of `LIGHTS`.
      images: training images of each trial; None: all.
    """

    model: str
    light: str
    images: int | None

    @property
    def name(self) -> str:
        """As a folder.

        >>> Cell(model="mlp:8", light="steady", images=None).name
        'mlp-8-steady-all'
        """
        return f"{self.model.replace(':', '-').replace(',', '-')}-{self.light}-{self.images or 'all'}"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is the same in every cell.

    Attributes:
      data: the images.
      arms: preprocessings, the first of which the others are compared with.
      steps, batch_size: of every training.
      pilot: trials at each learning rate, which choose it.
      trials: trials at the chosen rates; the even ones choose the best arm, the odd ones judge it.
      seed: root of all randomness.
    """

    data: Dataset
    arms: Sequence[str] = ARMS
    steps: int = 200
    batch_size: int = 50
    pilot: int = 3
    trials: int = 12
    seed: int = 0

    def pilot_study(self, cell: Cell) -> Study:
        """Every arm at every learning rate, in a few trials of their own."""
        seed = (self.seed + PILOT_SEED) % 2**32
        return self._study(cell, arms=tuple(self.arms), learning_rate=RATES, trials=self.pilot, seed=seed)

    def study(self, cell: Cell, rates: dict[str, float]) -> Study:
        """Every arm at a learning rate of its own."""
        arms = tuple(Arm(name, preprocess=name, learning_rate=rates[name]) for name in self.arms)
        return self._study(cell, arms=arms, learning_rate=RATES[0], trials=self.trials, seed=self.seed)

    def part(self, images: int | None) -> Dataset:
        """So many of the training images, drawn at random but the same in every trial; all of the test images.

        Preprocessings are fitted to them alone, as they would be by somebody who has no more.
        """
        if images is None or images == len(self.data.x_train):
            return self.data
        if images > len(self.data.x_train):
            raise InputError(
                f"train_examples: {images} is more than the {len(self.data.x_train)} training images; give 1 to "
                f"{len(self.data.x_train)}, or all"
            )
        chosen = np.random.default_rng(self.seed).permutation(len(self.data.x_train))[:images]
        return Dataset(
            x_train=self.data.x_train[chosen],
            y_train=self.data.y_train[chosen],
            x_test=self.data.x_test,
            y_test=self.data.y_test,
            classes=self.data.classes,
            name=f"{self.data.name}, {images} images",
        )

    def _study(self, cell: Cell, **fields: Any) -> Study:
        return Study(
            dataset=self.part(cell.images),
            model=cell.model,
            optimizer="adam",
            batch_size=min(self.batch_size, cell.images or self.batch_size),
            steps=self.steps,
            illumination=LIGHTS[cell.light],
            batch_stats="recomputed",
            **fields,
        )
