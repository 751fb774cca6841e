"""Claims about what makes the difference go away: centring, and batch normalisation."""

from collections.abc import Sequence

import numpy as np

from jaxinv.experiments.claims.claim import Claim, Measurement, absent
from jaxinv.experiments.claims.estimates import Mean, cause, difference, exact, widest
from jaxinv.experiments.claims.rule import Criterion, verdict
from jaxinv.experiments.claims.studies import (
    CENTRED,
    GENTLE_RATE,
    MATTERS,
    TUTORIAL_RATE,
    centred,
    mlp,
    mlp_bn,
    mlp_bn_recomputed,
)
from jaxinv.experiments.claims.study_cache import Sample, StudyCache, StudyResults, count_diverged
from jaxinv.experiments.sources import INVERSION, NORMALISATION
from jaxinv.utils.text import points

MLP = f"MLP, 100 updates at a learning rate of {TUTORIAL_RATE}"
SAME = 0.0005  # five of 10,000 test images: more than float32 can undo of what is exact on paper


def centring_removes(cache: StudyCache) -> Measurement:
    results, hidden = centred(cache), mlp(cache)
    pairs = [[results.accuracy(arm) for arm in pair] for pair in (CENTRED[:2], CENTRED[2:])]
    largest = [float(np.abs(one.values - other.values).max()) for one, other in pairs]
    both = [hidden.accuracy(arm) for arm in ("pixel_mean", "inverted+pixel_mean")]
    bare = [hidden.accuracy(arm) for arm in ("normal", "inverted")]
    gap, raw = (difference(one.values, other.values) for one, other in (both, bare))
    if no_loss(raw):
        return absent(f"Without centring the difference is {points(raw.value, 2)} in an MLP: nothing to remove.")
    same = "to the last bit" if max(largest) == 0 else f"to within {max(largest):.4f}"
    return Measurement(
        estimates=[gap, *(exact(value, results.trials) for value in largest)],
        explanation=f"Centred, normal and inverted images give softmax regression the same accuracy {same} in all "
        f"{results.trials} trials; in an MLP, which begins with random weights, centring takes the mean difference "
        f"from {points(raw.value)} to {points(gap.value, 2)}.",
        diverged=count_diverged(*pairs[0], *pairs[1], *both, *bare),
        causes=[cause("centring the images", MLP, *(one.values - other.values for one, other in (bare, both)))],
    )


def batch_norm_removes(cache: StudyCache) -> Measurement:
    bare = [mlp(cache).accuracy(arm) for arm in ("normal", "inverted")]
    without = difference(bare[0].values, bare[1].values)
    if no_loss(without):
        return absent(f"Without batch normalisation the difference is {points(without.value, 2)}: nothing to remove.")
    (gentle, fast), samples = gaps(mlp_bn_recomputed(cache), "normal", "inverted")
    running, more_samples = gaps(mlp_bn(cache), "normal", "inverted")
    return Measurement(
        estimates=[gentle, fast],
        explanation=f"At a learning rate of {TUTORIAL_RATE} batch normalisation takes the difference from "
        f"{points(without.value)} to {points(fast.value, 2)}, and at {GENTLE_RATE} it leaves "
        f"{points(gentle.value, 2)}. {lag((gentle, fast), running)}",
        effect=widest([gentle, fast]),
        diverged=count_diverged(*samples, *more_samples, *bare),
        causes=[
            cause("batch normalisation", MLP, bare[0].values - bare[1].values, samples[2].values - samples[3].values)
        ],
    )


def batch_norm_needs_no_mean(cache: StudyCache) -> Measurement:
    (gentle, fast), samples = gaps(mlp_bn_recomputed(cache), "channel_mean", "normal")
    by_pixel, _ = gaps(mlp_bn_recomputed(cache), "pixel_mean", "normal")
    running, more_samples = gaps(mlp_bn(cache), "channel_mean", "normal")
    return Measurement(
        estimates=[gentle, fast],
        explanation=f"Behind batch normalisation, subtracting each channel's mean changes accuracy by "
        f"{points(fast.value, 2)} at a learning rate of {TUTORIAL_RATE} and by {points(gentle.value, 2)} at "
        f"{GENTLE_RATE}; subtracting each pixel's mean, by {points(by_pixel[1].value, 2)} and "
        f"{points(by_pixel[0].value, 2)}. {lag((gentle, fast), running)}",
        effect=widest([gentle, fast]),
        diverged=count_diverged(*samples, *more_samples),
    )


def gaps(results: StudyResults, a: str, b: str) -> tuple[list[Mean], list[Sample]]:
    """The difference of two arms at the gentle learning rate and at the tutorial's, and what it was made of."""
    pairs = [[results.accuracy(arm, rate) for arm in (a, b)] for rate in (GENTLE_RATE, TUTORIAL_RATE)]
    return [difference(one.values, other.values) for one, other in pairs], [*pairs[0], *pairs[1]]


def lag(recomputed: Sequence[Mean], running: Sequence[Mean]) -> str:
    """What running averages make of the same networks, and how much of that is their lag behind the weights."""
    behind = [one.value - other.value for one, other in zip(running, recomputed, strict=True)]
    by_running = verdict([rule.apply(one) for rule, one in zip(at_both_rates(""), running, strict=True)])
    return (
        f"That is with statistics recomputed over training images; with the running averages of training it is "
        f"{points(running[1].value, 2)} and {points(running[0].value, 2)}, of which {points(behind[1], 2)} and "
        f"{points(behind[0], 2)} are lag, and the verdict would be {by_running}."
    )


def no_loss(gap: Mean) -> bool:
    """Whether inverting demonstrably costs less than what matters."""
    return verdict([Criterion(figure="", region="above", margin=MATTERS).apply(gap)]) == "refuted"


BATCH_NORM = (
    "an MLP with batch normalisation after its first layer, 100 updates, evaluated with batch statistics recomputed "
    "over 1,000 training images; and with running averages beside them."
)


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
