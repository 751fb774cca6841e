"""The studies that several claims share. Each is the same in every run but for the number of trials."""

import numpy as np

from jaxinv.experiments.claims.study_cache import StudyCache, StudyResults, octaves
from jaxinv.preprocess import Preprocess
from jaxinv.study import Study
from jaxinv.training import weight_change

MATTERS = 0.005
"""The smallest difference of accuracies that matters here: half a percentage point."""

TUTORIAL_RATE = 0.5
GENTLE_RATE = 0.05
CONVNET = {"model": "cnn", "learning_rate": 0.2, "steps": 100}
RATES = octaves(1 / 256, 8)
CENTRED = ("channel_mean", "inverted+channel_mean", "pixel_mean", "inverted+pixel_mean")
SCALED = {"channel_mean": "channel_zscore", "pixel_mean": "pixel_zscore"}


TITLES = {
    "independent": "Fresh trials of 50 updates",
    "as_written": "Chains of 5,000 updates, as the published script trains",
    "rates": "Learning rates from 1/256 to 8, 50 updates",
    "rates_500": "Learning rates from 1/256 to 8, 500 updates",
    "centred": "Centred images, normal and inverted",
    "mlp": "MLP",
    "mlp_bn": "MLP with batch normalisation, running averages",
    "mlp_bn_recomputed": "MLP with batch normalisation, recomputed statistics",
    "convnet": "Convnet",
    "dark_border": "Inverted images with a dark border",
    "changing_light": "Light that changes from image to image",
    "steady_light": "Steady light",
    "half_bound_normal": "Normal images at half of their stable learning rate",
    "half_bound_inverted": "Inverted images at half of their stable learning rate",
}
"""Of each study, by the folder that it is stored in."""


def independent_study(cache: StudyCache) -> Study:
    """Fresh trials of 50 updates: the published text's reading."""
    return cache.study(trials=cache.trials(20, 200))


def independent(cache: StudyCache) -> StudyResults:
    return cache.run("independent", independent_study(cache))


def chains(cache: StudyCache) -> StudyResults:
    """Chains of 5,000 updates evaluated every 50: the published script's."""
    return cache.run("as_written", cache.study(steps=5000, eval_every=50, trials=cache.trials(6, 20)))


def rates(cache: StudyCache) -> StudyResults:
    """50 updates at learning rates from 1/256 to 8."""
    arms = ("normal", "inverted", *SCALED, *SCALED.values())
    return cache.run("rates", cache.study(arms=arms, learning_rate=RATES, trials=cache.trials(12, 100)))


def long_rates(cache: StudyCache) -> StudyResults:
    """Ten times as long."""
    return cache.run("rates_500", cache.study(learning_rate=RATES, steps=500, trials=cache.trials(12, 40)))


def centred(cache: StudyCache) -> StudyResults:
    """Centred images, and centred inverted images."""
    return cache.run("centred", cache.study(arms=CENTRED, trials=cache.trials(20, 200)))


def mlp(cache: StudyCache) -> StudyResults:
    """One hidden layer."""
    arms = ("normal", "inverted", "pixel_mean", "inverted+pixel_mean")
    return cache.run("mlp", cache.study(model="mlp", arms=arms, steps=100, trials=cache.trials(8, 80)))


def mlp_bn(cache: StudyCache) -> StudyResults:
    """One hidden layer behind batch normalisation, at the tutorial's learning rate and at a tenth of it."""
    arms = ("normal", "inverted", *SCALED)
    chosen = {"model": "mlp_bn", "arms": arms, "learning_rate": (GENTLE_RATE, TUTORIAL_RATE), "steps": 100}
    return cache.run("mlp_bn", cache.study(**chosen, trials=cache.trials(8, 80)))


def mlp_bn_recomputed(cache: StudyCache) -> StudyResults:
    """The same trainings, evaluated with statistics that are recomputed over training images."""
    arms = ("normal", "inverted", *SCALED)
    chosen = {"model": "mlp_bn", "arms": arms, "learning_rate": (GENTLE_RATE, TUTORIAL_RATE), "steps": 100}
    study = cache.study(**chosen, batch_stats="recomputed", trials=cache.trials(8, 80))
    return cache.run("mlp_bn_recomputed", study)


def convnet(cache: StudyCache) -> StudyResults:
    """Two convolutions."""
    return cache.run("convnet", cache.study(**CONVNET, trials=cache.trials(6, 40)))


def without_border(cache: StudyCache) -> tuple[StudyResults, str]:
    """Inverted images whose border is dark after all, beside inverted and normal ones."""
    arm = dark_border(weight_change.border_mask(cache.data.x_train))
    arms = ("normal", "inverted", arm)
    return cache.run("dark_border", cache.study(arms=arms, trials=cache.trials(20, 200))), arm.name


def lit(cache: StudyCache, strength: float) -> StudyResults:
    """Statistics of the dataset against those of each image, in steady or in changing light."""
    arms = ("channel_zscore", "image_standardize")
    study = cache.study(
        arms=arms, learning_rate=octaves(1 / 128, 0.5), illumination=strength, trials=cache.trials(12, 100)
    )
    return cache.run("changing_light" if strength else "steady_light", study)


def bounded(cache: StudyCache, arm: str) -> tuple[float, StudyResults]:
    """8,000 updates at half of the learning rate up to which gradient descent is stable for the arm at the start."""
    rate = float(f"{cache.bound(arm) / 2:.3g}")
    study = cache.study(arms=(arm,), learning_rate=rate, steps=8000, eval_every=100, trials=cache.trials(6, 20))
    return rate, cache.run(f"half_bound_{arm}", study)


def dark_border(border: np.ndarray) -> Preprocess:
    """Inverted, but 0 at the pixels of `border`, bool [H, W].

    >>> arm = dark_border(np.array([[True, False]]))
    >>> np.asarray(arm.apply(arm.fit(None), np.zeros((1, 1, 2, 1)))).ravel().tolist()
    [0.0, 1.0]
    """
    inside = np.where(border, 0, 1).astype(np.float32)[:, :, None]

    def fit(images: object) -> tuple[()]:
        return ()

    def affine(params: object, image_shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        kept = np.broadcast_to(inside, image_shape)
        return kept * np.float32(-1 / 255), kept

    def apply(params: object, images: np.ndarray) -> np.ndarray:
        scale, offset = affine(params, images.shape[1:])
        return images * scale[None] + offset[None]

    return Preprocess(fit, apply, "inverted_dark_border", affine, "inverted, but 0 at pixels that are always dark")
