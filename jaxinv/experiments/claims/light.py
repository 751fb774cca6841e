"""Claims about normalising each image by itself, when the light changes and when it does not."""

from jaxinv.experiments.claims.claim import Claim, Measurement
from jaxinv.experiments.claims.estimates import difference
from jaxinv.experiments.claims.rule import Criterion
from jaxinv.experiments.claims.studies import MATTERS, lit
from jaxinv.experiments.claims.study_cache import StudyCache, count_diverged
from jaxinv.experiments.sources import NORMALISATION
from jaxinv.utils.text import percent

CHANGING = 0.8
METHOD = (
    "Softmax regression, 50 updates, learning rates from 1/128 to 0.5: image_standardize against channel_zscore, the "
    "same formula with the training set's statistics in place of the image's. Each arm's best learning rate is chosen "
    "on the even trials, and the odd ones compare the arms there."
)


def changing(cache: StudyCache) -> Measurement:
    results = lit(cache, CHANGING)
    (_, image), (_, dataset) = (results.at_own_best(arm) for arm in ("image_standardize", "channel_zscore"))
    return Measurement(
        estimates=[difference(image.values, dataset.values)],
        explanation="When gain and offset differ from image to image, normalising each image by itself scores "
        f"{percent(image.mean)}, and normalising by the dataset {percent(dataset.mean)}.",
        diverged=count_diverged(image, dataset),
    )


def steady(cache: StudyCache) -> Measurement:
    results = lit(cache, 0.0)
    (_, image), (_, dataset) = (results.at_own_best(arm) for arm in ("image_standardize", "channel_zscore"))
    return Measurement(
        estimates=[difference(dataset.values, image.values)],
        explanation="When the light is the same in all images, normalising by the dataset scores "
        f"{percent(dataset.mean)}, and normalising each image by itself {percent(image.mean)}.",
        diverged=count_diverged(image, dataset),
    )


CLAIMS = (
    Claim(
        name="per-image-changing-light",
        source=f"{NORMALISATION}, the question and the third answer",
        statement="Where lighting varies from image to image, normalising each image by itself does better than "
        "normalising by the dataset.",
        method=f"Every image gets a random gain and offset (strength {CHANGING}). {METHOD}",
        criteria=[
            Criterion(
                figure="the difference in accuracy, statistics of each image minus statistics of the dataset,",
                region="above",
                margin=MATTERS,
            )
        ],
        unit="accuracy, statistics of each image minus of the dataset, in changing light",
        measure=changing,
    ),
    Claim(
        name="per-image-steady-light",
        source=f"{NORMALISATION}, the third answer",
        statement="Where lighting is controlled, differences between images carry information, and normalising each "
        "image by itself throws it away.",
        method=METHOD,
        criteria=[
            Criterion(
                figure="the difference in accuracy, statistics of the dataset minus statistics of each image,",
                region="above",
                margin=MATTERS,
            )
        ],
        unit="accuracy, statistics of the dataset minus of each image, in steady light",
        measure=steady,
    ),
)
