"""Claims about learning rates, time, and what subtracting means and dividing by deviations does for them."""

from functools import partial

import numpy as np

from jaxinv.experiments.claims.claim import Claim, Measurement, absent
from jaxinv.experiments.claims.estimates import Mean, Share, cause, difference, factor
from jaxinv.experiments.claims.remedies import no_loss
from jaxinv.experiments.claims.rule import Criterion, Region
from jaxinv.experiments.claims.studies import MATTERS, RATES, SCALED, TUTORIAL_RATE, bounded, long_rates, rates
from jaxinv.experiments.claims.study_cache import Sample, StudyCache, count_diverged
from jaxinv.experiments.sources import INVERSION, NORMALISATION
from jaxinv.utils.text import percent, points

SOFTMAX = "softmax regression"
LEVEL = 0.9  # the accuracy to reach
NEAR = 0.02  # a learning rate works if it comes so near to the best one's accuracy

GRID = f"learning rates from {RATES[0]:.3g} to {RATES[-1]:.3g}, a factor of 2 apart"
OWN_BEST = (
    f"Softmax regression, 50 updates, {GRID}. Each arm's best learning rate is chosen on the even trials, and the odd "
    "ones compare the arms there."
)


def gap(a: Sample, b: Sample) -> Mean:
    return difference(a.values, b.values)


def learning_rate_explains(cache: StudyCache) -> Measurement:
    results, long = rates(cache), long_rates(cache)
    (rate_n, normal), (rate_i, inverted) = (results.at_own_best(arm) for arm in ("normal", "inverted"))
    shared = [results.odd().accuracy(arm, TUTORIAL_RATE) for arm in ("normal", "inverted")]
    later = [long.at_own_best(arm)[1] for arm in ("normal", "inverted")]
    left = gap(normal, inverted)
    if no_loss(gap(*shared)):
        return absent(
            f"At the shared learning rate of {TUTORIAL_RATE} the difference is {points(gap(*shared).value)}: there is "
            "nothing to explain."
        )
    lost, best, late = (a.values - b.values for a, b in (shared, (normal, inverted), later))
    bounds = [cache.bound(arm) for arm in ("normal", "inverted")]
    return Measurement(
        estimates=[left],
        explanation=f"With each at its own best learning rate ({told(rate_n)} for normal, {told(rate_i)} for inverted "
        f"images; gradient descent is stable up to {bounds[0]:.2g} and {bounds[1]:.2g}) the difference after 50 "
        f"updates is {points(left.value)} instead of {points(gap(*shared).value)} at {TUTORIAL_RATE}; after 500 "
        f"updates, {points(gap(*later).value)}.",
        diverged=count_diverged(normal, inverted, *shared, *later),
        causes=[
            cause("a learning rate for each kind of image", f"{SOFTMAX}, 50 updates", lost, best),
            cause(
                "a learning rate for each and ten times as many updates",
                f"{SOFTMAX}, 500 updates",
                lost[: late.size],
                late,
            ),
        ],
    )


def matter_of_time(cache: StudyCache) -> Measurement:
    (rate_n, normal), (rate_i, inverted) = (bounded(cache, arm) for arm in ("normal", "inverted"))
    last = [normal.accuracy("normal"), inverted.accuracy("inverted")]
    level = min(LEVEL, 0.98 * last[0].mean)
    steps = normal.steps
    reached, first = [], []
    for arm, results in (("normal", normal), ("inverted", inverted)):
        there = results.accuracies(arm)[0] >= np.float32(level)  # as accuracies are stored: 0.9 reaches 0.9
        reached.append(there.any(axis=1))
        first.append(np.where(there.any(axis=1), steps[there.argmax(axis=1)], steps[-1]))
    if not reached[0].all():
        return Measurement(explanation=f"Normal images do not reach {percent(level)} in {steps[-1]:,} updates either.")
    share = Share(hits=int(reached[1].sum()), n=reached[1].size)
    return Measurement(
        estimates=[factor(first[1], first[0]), share],
        explanation=f"At half of its own bound ({rate_i:g}) training on inverted images reaches {percent(level)} "
        f"within {steps[-1]:,} updates in {share.hits} of {share.n} trials, after {np.median(first[1]):,.0f} updates "
        f"in the median; on normal ones (at {rate_n:g}) after {np.median(first[0]):,.0f}.",
        diverged=count_diverged(*last),
    )


def mean_helps(what: str, cache: StudyCache) -> Measurement:
    results, arm = rates(cache), f"{what}_mean"
    (rate_n, normal), (rate_m, centred) = (results.at_own_best(name) for name in ("normal", arm))
    shared = [results.accuracy(name, TUTORIAL_RATE) for name in (arm, "normal")]
    return Measurement(
        estimates=[gap(centred, normal)],
        explanation=f"Subtracting the mean of each {what} takes accuracy after 50 updates from {percent(normal.mean)} "
        f"(at {rate_n:.2g}) to {percent(centred.mean)} (at {told(rate_m)}); at the shared rate of {TUTORIAL_RATE} it "
        f"changes it by {points(gap(*shared).value)}.",
        diverged=count_diverged(normal, centred, *shared),
    )


def channel_or_pixel(cache: StudyCache) -> Measurement:
    results = rates(cache)
    (rate_p, pixel), (rate_c, channel) = (results.at_own_best(arm) for arm in ("pixel_mean", "channel_mean"))
    apart = gap(pixel, channel)
    channels = cache.data.image_shape[2]
    one = "one channel, so one number" if channels == 1 else f"{channels} channels"
    return Measurement(
        estimates=[apart],
        explanation=f"Subtracting a mean for each pixel gives {percent(pixel.mean)} after 50 updates (at "
        f"{told(rate_p)}), for each channel ({one}) {percent(channel.mean)} (at {told(rate_c)}): "
        f"{points(abs(apart.value))} apart.",
        diverged=count_diverged(pixel, channel),
    )


def deviation_widens(cache: StudyCache) -> Measurement:
    results = rates(cache)
    wide = {arm: width(np.asarray(RATES), results.accuracies(arm)[..., -1].T) for arm in (*SCALED, *SCALED.values())}
    gains = [difference(wide[scaled], wide[arm]) for arm, scaled in SCALED.items()]
    return Measurement(
        estimates=gains,
        explanation=f"Learning rates that come within {points(NEAR, 0)} of the best span "
        f"{wide['pixel_zscore'].mean():.1f} octaves with each pixel divided by its deviation and "
        f"{wide['pixel_mean'].mean():.1f} without; by channel, {wide['channel_zscore'].mean():.1f} and "
        f"{wide['channel_mean'].mean():.1f}.",
        effect=min(gains, key=lambda estimate: estimate.value),
    )


def width(learning_rates: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Octaves of learning rates at which accuracy is within `NEAR` of the curve's best: [T] from curves [T, L].

    Between learning rates the curve is a straight line over log2; beyond the grid it counts for nothing.

    >>> width(np.array([1.0, 2.0, 4.0]), np.array([[0.5, 0.52, 0.48]])).round(3).tolist()
    [1.5]
    """
    floor = curves.max(axis=1, keepdims=True) - NEAR
    over = curves - floor
    left, right = over[:, :-1], over[:, 1:]
    steep = np.abs(right - left)
    part = np.divide(np.maximum(np.maximum(left, right), 0.0), steep, out=np.zeros_like(left), where=steep > 0)
    share = np.where((left >= 0) & (right >= 0), 1.0, np.minimum(part, 1.0))
    return (share * np.diff(np.log2(learning_rates))[None]).sum(axis=1)


def told(rate: float) -> str:
    """A learning rate in words, with a warning where a better one may lie beyond the grid."""
    return f"{rate:.2g}" + (", an end of the grid" if rate in (RATES[0], RATES[-1]) else "")


def own_best_criterion(figure: str, region: Region) -> Criterion:
    """Of two arms, each at its own best learning rate."""
    return Criterion(figure=f"the difference in accuracy, {figure},", region=region, margin=MATTERS)


CLAIMS = (
    Claim(
        name="learning-rate-explains-it",
        source=f"{NORMALISATION}, the first answer, on what {INVERSION} found",
        statement="The difference is a matter of the learning rate: with each kind of image at its own best, it is "
        "gone.",
        method=OWN_BEST,
        criteria=[own_best_criterion("normal minus inverted", "within")],
        unit="accuracy, normal minus inverted, each at its own best learning rate",
        measure=learning_rate_explains,
    ),
    Claim(
        name="matter-of-time",
        source=f"{INVERSION}, the question: is it just the speed of training?",
        statement="The difference is a matter of time: inverted images get as far, but later.",
        method="Softmax regression, each arm at half of its own curvature bound, 8,000 updates, evaluated every 100. "
        f"The accuracy to reach is {LEVEL:.0%}, or 98% of what normal images reach in the end where that is less.",
        criteria=[
            Criterion(
                figure="the ratio of the updates that inverted images need to those that normal ones need",
                region="above",
                margin=1.1,
                test="t-test of the logarithms",
            ),
            Criterion(
                figure="the share of the trials in which inverted images reach it",
                region="above",
                margin=0.5,
                unit="%",
                test="exact binomial",
            ),
        ],
        unit="updates to reach the level, inverted over normal",
        measure=matter_of_time,
    ),
    Claim(
        name="channel-mean-helps",
        source=f"{NORMALISATION}, the second answer",
        statement="Subtracting each channel's mean over the training images makes the network learn faster.",
        method=OWN_BEST,
        criteria=[own_best_criterion("channel_mean minus normal", "above")],
        unit="accuracy, mean of each channel subtracted minus not, each at its own best learning rate",
        measure=partial(mean_helps, "channel"),
    ),
    Claim(
        name="pixel-mean-helps",
        source=f"{NORMALISATION}, the question and the first answer",
        statement="Subtracting the mean training image, pixel by pixel, makes the network learn better.",
        method=OWN_BEST,
        criteria=[own_best_criterion("pixel_mean minus normal", "above")],
        unit="accuracy, mean of each pixel subtracted minus not, each at its own best learning rate",
        measure=partial(mean_helps, "pixel"),
    ),
    Claim(
        name="channel-as-good-as-pixel",
        source=f"{NORMALISATION}, the question lists both as customary",
        statement="It makes no difference whether means are subtracted by channel or by pixel.",
        method=OWN_BEST,
        criteria=[own_best_criterion("pixel_mean minus channel_mean", "within")],
        unit="accuracy, means by pixel minus by channel, each at its own best learning rate",
        measure=channel_or_pixel,
    ),
    Claim(
        name="deviation-widens-rates",
        source=f"{NORMALISATION}, the first answer",
        statement="Dividing by the standard deviation as well makes one learning rate serve all: more of them work.",
        method=f"Softmax regression, 50 updates, {GRID}: for each trial, the octaves of learning rates whose accuracy "
        f"is within {NEAR} of its best.",
        criteria=[
            Criterion(
                figure=f"the gain from dividing by the deviation of each {what}",
                region="above",
                margin=0.25,
                unit="octaves",
                test="paired t-test",
            )
            for what in ("channel", "pixel")
        ],
        unit="octaves of learning rates that work, divided by the deviation minus not",
        measure=deviation_widens,
    ),
)
