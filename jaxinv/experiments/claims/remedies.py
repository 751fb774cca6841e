"""Claims about what makes the difference go away: centring, and batch normalisation."""

import numpy as np

from jaxinv.experiments.claims.claim import Claim, Measurement
from jaxinv.experiments.claims.estimates import difference, exact, widest
from jaxinv.experiments.claims.rule import Criterion
from jaxinv.experiments.claims.studies import CENTRED, GENTLE_RATE, MATTERS, TUTORIAL_RATE, centred, mlp, mlp_bn
from jaxinv.experiments.claims.study_cache import StudyCache, count_diverged
from jaxinv.experiments.sources import INVERSION, NORMALISATION
from jaxinv.utils.text import points

SAME = 0.0005  # five of 10,000 test images: more than float32 can undo of what is exact on paper


def centring_removes(cache: StudyCache) -> Measurement:
    results, hidden = centred(cache), mlp(cache)
    pairs = [[results.accuracy(arm) for arm in pair] for pair in (CENTRED[:2], CENTRED[2:])]
    largest = [float(np.abs(one.values - other.values).max()) for one, other in pairs]
    both = [hidden.accuracy(arm) for arm in ("pixel_mean", "inverted+pixel_mean")]
    bare = [hidden.accuracy(arm) for arm in ("normal", "inverted")]
    gap, raw = (difference(one.values, other.values) for one, other in (both, bare))
    same = "to the last bit" if max(largest) == 0 else f"to within {max(largest):.4f}"
    return Measurement(
        estimates=[gap, *(exact(value, results.trials) for value in largest)],
        explanation=f"Centred, normal and inverted images give softmax regression the same accuracy {same} in all "
        f"{results.trials} trials; in an MLP, which begins with random weights, centring takes the mean difference "
        f"from {points(raw.value)} to {points(gap.value, 2)}.",
        diverged=count_diverged(*pairs[0], *pairs[1], *both, *bare),
    )


def batch_norm_removes(cache: StudyCache) -> Measurement:
    results = mlp_bn(cache)
    samples = [[results.accuracy(arm, rate) for arm in ("normal", "inverted")] for rate in (GENTLE_RATE, TUTORIAL_RATE)]
    bare = [mlp(cache).accuracy(arm) for arm in ("normal", "inverted")]
    gentle, fast, without = (difference(one.values, other.values) for one, other in (*samples, bare))
    return Measurement(
        estimates=[gentle, fast],
        explanation=f"At a learning rate of {TUTORIAL_RATE} batch normalisation takes the difference from "
        f"{points(without.value)} to {points(fast.value, 2)}, and at {GENTLE_RATE} it leaves "
        f"{points(gentle.value, 2)}; in training the two are then mirror images, so what is left comes from the "
        "running averages that testing uses.",
        effect=widest([gentle, fast]),
        diverged=count_diverged(*samples[0], *samples[1], *bare),
    )


def batch_norm_needs_no_mean(cache: StudyCache) -> Measurement:
    results, two = mlp_bn(cache), (GENTLE_RATE, TUTORIAL_RATE)
    normal, channel, pixel = (
        [results.accuracy(arm, rate) for rate in two] for arm in ("normal", "channel_mean", "pixel_mean")
    )
    gentle, fast = (difference(one.values, other.values) for one, other in zip(channel, normal, strict=True))
    by_pixel = [difference(one.values, other.values) for one, other in zip(pixel, normal, strict=True)]
    return Measurement(
        estimates=[gentle, fast],
        explanation=f"Behind batch normalisation, subtracting each channel's mean changes accuracy by "
        f"{points(fast.value, 2)} at a learning rate of {TUTORIAL_RATE} and by {points(gentle.value, 2)} at "
        f"{GENTLE_RATE}; subtracting each pixel's mean, by {points(by_pixel[1].value, 2)} and "
        f"{points(by_pixel[0].value, 2)}.",
        effect=widest([gentle, fast]),
        diverged=count_diverged(*normal, *channel, *pixel),
    )


BATCH_NORM = "an MLP with batch normalisation after its first layer, 100 updates."


def at_both_rates(figure: str) -> list[Criterion]:
    """That a difference is negligible at the gentle learning rate and at the tutorial's."""
    return [
        Criterion(figure=f"{figure} at a learning rate of {rate}", region="within", margin=MATTERS)
        for rate in (GENTLE_RATE, TUTORIAL_RATE)
    ]


CLAIMS = (
    Claim(
        name="centring-removes-it",
        source=f"{INVERSION}, the answer",
        statement="Inverted images do worse because they are not centred; centred, the difference is gone.",
        method="Centre normal and inverted images, by channel and by pixel; train softmax regression (50 updates) and "
        f"an MLP (100 updates) by SGD at {TUTORIAL_RATE}.",
        criteria=[
            Criterion(
                figure="the MLP's mean difference in accuracy between normal and inverted images centred by pixel",
                region="within",
                margin=MATTERS,
            ),
            *(
                Criterion(
                    figure=f"softmax regression's largest difference in any trial, centred by {what},",
                    region="at most",
                    margin=SAME,
                )
                for what in ("channel", "pixel")
            ),
        ],
        unit="accuracy, normal minus inverted, both centred, in an MLP",
        measure=centring_removes,
    ),
    Claim(
        name="batch-norm-removes-it",
        source=f"{INVERSION}, a comment",
        statement="If the first layer is followed by batch normalisation, inverting makes no difference.",
        method=f"Paired trials, normal and inverted, of {BATCH_NORM}",
        criteria=at_both_rates("the difference in accuracy, normal minus inverted,"),
        unit="accuracy, normal minus inverted, behind batch normalisation",
        measure=batch_norm_removes,
    ),
    Claim(
        name="batch-norm-needs-no-mean",
        source=f"{NORMALISATION}, the second answer",
        statement="With batch normalisation in the network, subtracting each channel's mean beforehand is not needed.",
        method=f"Paired trials, with and without the mean of each channel subtracted, of {BATCH_NORM}",
        criteria=at_both_rates("the difference in accuracy, mean subtracted minus not,"),
        unit="accuracy, mean of each channel subtracted minus not, behind batch normalisation",
        measure=batch_norm_needs_no_mean,
    ),
)
