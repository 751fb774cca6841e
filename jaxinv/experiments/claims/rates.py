"""Claims about learning rates, time, and what subtracting means and dividing by deviations does for them."""

import numpy as np

from jaxinv.experiments.claims.claim import (
    INVERSION,
    NORMALISATION,
    Claim,
    Finding,
    finding,
    percent,
    points,
    untestable,
)
from jaxinv.experiments.claims.evidence import Part, above, difference, mean_of, share_above, verdict, within
from jaxinv.experiments.claims.lab import Lab, at
from jaxinv.experiments.claims.studies import MATTERS, RATES, SCALED, TUTORIAL_RATE, bounded, long_rates, rates

LEVEL = 0.9  # the accuracy to reach
SLOWER = 1.1
NEAR = 0.02  # a learning rate works if it comes so near to the best one's accuracy
WIDER = 0.25  # octaves

GRID = f"learning rates from {RATES[0]:.3g} to {RATES[-1]:.3g}, a factor of 2 apart"
OWN_BEST = (
    f"Softmax regression, 50 updates, {GRID}. Each arm's best learning rate is chosen on the even trials, and the odd "
    "ones compare the arms there."
)


def learning_rate_explains(lab: Lab) -> Finding:
    results = rates(lab)
    (rate_n, normal), (rate_i, inverted) = (lab.at_own_best(results, arm) for arm in ("normal", "inverted"))
    shared = [lab.accuracy(results, arm, TUTORIAL_RATE)[1::2] for arm in ("normal", "inverted")]
    left, before = difference(normal, inverted), difference(*shared)
    later = difference(*(lab.at_own_best(long_rates(lab), arm)[1] for arm in ("normal", "inverted")))
    bounds = [lab.bound(arm) for arm in ("normal", "inverted")]
    return finding(
        verdict(within(left, MATTERS)),
        left,
        "accuracy, normal minus inverted, each at its own best learning rate",
        f"With each at its own best learning rate ({told(rate_n)} for normal, {told(rate_i)} for inverted images; "
        f"gradient descent is stable up to {bounds[0]:.2g} and {bounds[1]:.2g}) the difference after 50 updates is "
        f"{points(left.value)} instead of {points(before.value)} at {TUTORIAL_RATE}; after 500 updates, "
        f"{points(later.value)}.",
    )


def matter_of_time(lab: Lab) -> Finding:
    unit = "updates to reach the level, inverted over normal"
    (rate_n, normal), (rate_i, inverted) = (bounded(lab, arm) for arm in ("normal", "inverted"))
    last = lab.accuracy(normal, "normal")
    lab.accuracy(inverted, "inverted")
    level = min(LEVEL, 0.98 * float(last.mean()))
    steps = normal.step.values
    reached, first = [], []
    for arm, results in (("normal", normal), ("inverted", inverted)):
        there = at(results, arm).accuracy.transpose("trial", "step").values >= level
        reached.append(there.any(axis=1))
        first.append(np.where(there.any(axis=1), steps[there.argmax(axis=1)], steps[-1]))
    if not reached[0].all():
        return untestable(unit, f"Normal images do not reach {percent(level)} in {steps[-1]:,} updates either.")
    slower = mean_of(np.log(first[1] / first[0]))
    hits, count = int(reached[1].sum()), reached[1].size
    low, high = slower.ci95
    return Finding(
        verdict=verdict(share_above(hits, count, 0.5), above(slower, float(np.log(SLOWER)))),
        effect=float(np.exp(slower.value)),
        ci95=(float(np.exp(low)), float(np.exp(high))),
        n=slower.n,
        unit=unit,
        explanation=f"At half of its own bound ({rate_i:g}) training on inverted images reaches {percent(level)} "
        f"within {steps[-1]:,} updates in {hits} of {count} trials, after {np.median(first[1]):,.0f} updates in the "
        f"median; on normal ones (at {rate_n:g}) after {np.median(first[0]):,.0f}.",
    )


def mean_helps(lab: Lab, arm: str, what: str) -> Finding:
    results = rates(lab)
    (rate_n, normal), (rate_m, centred) = (lab.at_own_best(results, name) for name in ("normal", arm))
    gap = difference(centred, normal)
    shared = difference(*(lab.accuracy(results, name, TUTORIAL_RATE) for name in (arm, "normal")))
    return finding(
        verdict(above(gap, MATTERS)),
        gap,
        f"accuracy, mean of each {what} subtracted minus not, each at its own best learning rate",
        f"Subtracting the mean of each {what} takes accuracy after 50 updates from {percent(normal.mean())} (at "
        f"{rate_n:.2g}) to {percent(centred.mean())} (at {told(rate_m)}); at the shared rate of {TUTORIAL_RATE} it "
        f"changes it by {points(shared.value)}.",
    )


def channel_or_pixel(lab: Lab) -> Finding:
    results = rates(lab)
    (rate_p, pixel), (rate_c, channel) = (lab.at_own_best(results, arm) for arm in ("pixel_mean", "channel_mean"))
    gap = difference(pixel, channel)
    channels = lab.data.image_shape[2]
    one = "one channel, so one number" if channels == 1 else f"{channels} channels"
    return finding(
        verdict(within(gap, MATTERS)),
        gap,
        "accuracy, means by pixel minus by channel, each at its own best learning rate",
        f"Subtracting a mean for each pixel gives {percent(pixel.mean())} after 50 updates (at {told(rate_p)}), for "
        f"each channel ({one}) {percent(channel.mean())} (at {told(rate_c)}): {points(gap.value)} apart.",
    )


def deviation_widens(lab: Lab) -> Finding:
    results = rates(lab)
    wide: dict[str, np.ndarray] = {}
    for arm in (*SCALED, *SCALED.values()):
        curves = at(results, arm).accuracy.isel(step=-1).transpose("trial", "learning_rate").values
        wide[arm] = width(np.asarray(RATES), curves.astype(np.float64))
    gain = {arm: difference(wide[scaled], wide[arm]) for arm, scaled in SCALED.items()}
    pixel, channel = gain["pixel_mean"], gain["channel_mean"]
    parts: list[Part] = [above(estimate, WIDER) for estimate in gain.values()]
    return finding(
        verdict(*parts),
        min(pixel, channel, key=lambda estimate: estimate.value),
        "octaves of learning rates that work, divided by the deviation minus not",
        f"Learning rates that come within {points(NEAR, 0)} of the best span {wide['pixel_zscore'].mean():.1f} "
        f"octaves with each pixel divided by its deviation and {wide['pixel_mean'].mean():.1f} without; by channel, "
        f"{wide['channel_zscore'].mean():.1f} and {wide['channel_mean'].mean():.1f}.",
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


CLAIMS = (
    Claim(
        name="learning-rate-explains-it",
        source=f"{NORMALISATION}, the first answer, on what {INVERSION} found",
        statement="The difference is a matter of the learning rate: with each kind of image at its own best, it is "
        "gone.",
        rule=f"{OWN_BEST} Supported if normal minus inverted is within ±{MATTERS} (two one-sided tests).",
        judge=learning_rate_explains,
    ),
    Claim(
        name="matter-of-time",
        source=f"{INVERSION}, the question: is it just the speed of training?",
        statement="The difference is a matter of time: inverted images get as far, but later.",
        rule="Softmax regression, each arm at half of its own curvature bound, 8,000 updates, looked at every 100. "
        f"The level is {LEVEL:.0%}, or 98% of what normal images reach in the end where that is less. Supported if "
        f"inverted images reach it in more than half of the trials (exact binomial) and need more than {SLOWER} times "
        "the updates (t-test of logs).",
        judge=matter_of_time,
    ),
    Claim(
        name="channel-mean-helps",
        source=f"{NORMALISATION}, the second answer",
        statement="Subtracting each channel's mean over the training images makes the network learn faster.",
        rule=f"{OWN_BEST} Supported if channel_mean minus normal is more than {MATTERS}.",
        judge=lambda lab: mean_helps(lab, "channel_mean", "channel"),
    ),
    Claim(
        name="pixel-mean-helps",
        source=f"{NORMALISATION}, the question and the first answer",
        statement="Subtracting the mean training image, pixel by pixel, makes the network learn better.",
        rule=f"{OWN_BEST} Supported if pixel_mean minus normal is more than {MATTERS}.",
        judge=lambda lab: mean_helps(lab, "pixel_mean", "pixel"),
    ),
    Claim(
        name="channel-as-good-as-pixel",
        source=f"{NORMALISATION}, the question lists both as customary",
        statement="It makes no difference whether means are subtracted by channel or by pixel.",
        rule=f"{OWN_BEST} Supported if pixel_mean minus channel_mean is within ±{MATTERS} (two one-sided tests).",
        judge=channel_or_pixel,
    ),
    Claim(
        name="deviation-widens-rates",
        source=f"{NORMALISATION}, the first answer",
        statement="Dividing by the standard deviation as well makes one learning rate serve all: more of them work.",
        rule=f"Softmax regression, 50 updates, {GRID}: for each trial, the octaves of learning rates within {NEAR} of "
        f"its best accuracy. Supported if dividing adds more than {WIDER} octaves, by pixel and by channel (paired "
        "t-tests).",
        judge=deviation_widens,
    ),
)
