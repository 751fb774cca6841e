"""Claims about normalising each image by itself, when the light changes and when it does not."""

from jaxinv.experiments.claims.claim import NORMALISATION, Claim, Finding, finding, percent
from jaxinv.experiments.claims.evidence import above, difference, verdict
from jaxinv.experiments.claims.lab import Lab
from jaxinv.experiments.claims.studies import MATTERS, lit

CHANGING = 0.8
RULE = (
    "Softmax regression, 50 updates, learning rates from 1/128 to 0.5: image_standardize against channel_zscore, the "
    "same formula with the training set's statistics in place of the image's, each at its own best learning rate, "
    "chosen on the even trials and judged on the odd ones."
)


def changing(lab: Lab) -> Finding:
    results = lit(lab, CHANGING)
    (_, image), (_, dataset) = (lab.at_own_best(results, arm) for arm in ("image_standardize", "channel_zscore"))
    gap = difference(image, dataset)
    return finding(
        verdict(above(gap, MATTERS)),
        gap,
        "accuracy, statistics of each image minus of the dataset, in changing light",
        "When gain and offset differ from image to image, normalising each image by itself scores "
        f"{percent(image.mean())}, and normalising by the dataset {percent(dataset.mean())}.",
    )


def steady(lab: Lab) -> Finding:
    results = lit(lab, 0.0)
    (_, image), (_, dataset) = (lab.at_own_best(results, arm) for arm in ("image_standardize", "channel_zscore"))
    gap = difference(dataset, image)
    return finding(
        verdict(above(gap, MATTERS)),
        gap,
        "accuracy, statistics of the dataset minus of each image, in steady light",
        f"When the light is the same in all images, normalising by the dataset scores {percent(dataset.mean())}, and "
        f"normalising each image by itself {percent(image.mean())}.",
    )


CLAIMS = (
    Claim(
        name="per-image-changing-light",
        source=f"{NORMALISATION}, the question and the third answer",
        statement="Where lighting varies from image to image, normalising each image by itself does better than "
        "normalising by the dataset.",
        rule=f"Every image gets a random gain and offset (strength {CHANGING}). {RULE} Supported if the image's own "
        f"statistics score more than {MATTERS} higher.",
        judge=changing,
    ),
    Claim(
        name="per-image-steady-light",
        source=f"{NORMALISATION}, the third answer",
        statement="Where lighting is controlled, differences between images carry information, and normalising each "
        "image by itself throws it away.",
        rule=f"{RULE} Supported if the dataset's statistics score more than {MATTERS} higher.",
        judge=steady,
    ),
)
