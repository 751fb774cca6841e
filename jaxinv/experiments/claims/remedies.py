"""Claims about what makes the difference go away: centring, and batch normalisation."""

import numpy as np
import xarray as xr

from jaxinv.experiments.claims.claim import INVERSION, NORMALISATION, Claim, Finding, finding, points
from jaxinv.experiments.claims.evidence import Estimate, difference, fact, verdict, widest, within
from jaxinv.experiments.claims.lab import Lab
from jaxinv.experiments.claims.studies import CENTRED, GENTLE_RATE, MATTERS, TUTORIAL_RATE, centred, mlp, mlp_bn

SAME = 0.0005  # five of 10,000 test images: more than float32 can undo of what is exact on paper


def centring_removes(lab: Lab) -> Finding:
    results = centred(lab)
    apart = [
        np.abs(lab.accuracy(results, one) - lab.accuracy(results, other)).max()
        for one, other in (CENTRED[:2], CENTRED[2:])
    ]
    hidden = mlp(lab)
    gap = difference(*(lab.accuracy(hidden, arm) for arm in ("pixel_mean", "inverted+pixel_mean")))
    raw = difference(*(lab.accuracy(hidden, arm) for arm in ("normal", "inverted")))
    trials = results.sizes["trial"]
    exact = "to the last bit" if max(apart) == 0 else f"to within {max(apart):.4f}"
    return finding(
        verdict(*(fact(bool(move <= SAME)) for move in apart), within(gap, MATTERS)),
        gap,
        "accuracy, normal minus inverted, both centred, in an MLP",
        f"Centred, normal and inverted images give softmax regression the same accuracy {exact} in all {trials} "
        "trials; in an MLP, which begins with random weights, centring takes the mean difference from "
        f"{points(raw.value)} to {points(gap.value, 2)}.",
    )


def batch_norm_removes(lab: Lab) -> Finding:
    results = mlp_bn(lab)
    gentle, fast = by_rate(lab, results, "normal", "inverted")
    bare = mlp(lab)
    without = difference(*(lab.accuracy(bare, arm) for arm in ("normal", "inverted")))
    return finding(
        verdict(within(gentle, MATTERS), within(fast, MATTERS)),
        widest([gentle, fast]),
        "accuracy, normal minus inverted, behind batch normalisation",
        f"At a learning rate of {TUTORIAL_RATE} batch normalisation takes the difference from {points(without.value)} "
        f"to {points(fast.value, 2)}, and at {GENTLE_RATE} it leaves {points(gentle.value, 2)}; in training the two "
        "are then mirror images, so what is left comes from the running averages that testing uses.",
    )


def batch_norm_needs_no_mean(lab: Lab) -> Finding:
    results = mlp_bn(lab)
    gentle, fast = by_rate(lab, results, "channel_mean", "normal")
    pixel = by_rate(lab, results, "pixel_mean", "normal")
    return finding(
        verdict(within(gentle, MATTERS), within(fast, MATTERS)),
        widest([gentle, fast]),
        "accuracy, mean of each channel subtracted minus not, behind batch normalisation",
        f"Behind batch normalisation, subtracting each channel's mean changes accuracy by {points(fast.value, 2)} at "
        f"a learning rate of {TUTORIAL_RATE} and by {points(gentle.value, 2)} at {GENTLE_RATE}; subtracting each "
        f"pixel's mean, by {points(pixel[1].value, 2)} and {points(pixel[0].value, 2)}.",
    )


def by_rate(lab: Lab, results: xr.Dataset, one: str, other: str) -> list[Estimate]:
    """The paired difference of two arms at the gentle rate and at the tutorial's."""
    return [
        difference(lab.accuracy(results, one, rate), lab.accuracy(results, other, rate))
        for rate in (GENTLE_RATE, TUTORIAL_RATE)
    ]


BATCH_NORM = (
    f"an MLP with batch normalisation after its first layer, 100 updates, at {TUTORIAL_RATE} and at {GENTLE_RATE}. "
    f"Supported if the difference is within ±{MATTERS} at both (two one-sided tests)."
)

CLAIMS = (
    Claim(
        name="centring-removes-it",
        source=f"{INVERSION}, the answer",
        statement="Inverted images do worse because they are not centred; centred, the difference is gone.",
        rule="Centre normal and inverted images, by channel and by pixel. Supported if in softmax regression no "
        f"trial's accuracies differ by more than {SAME}, and in an MLP (100 updates, SGD at {TUTORIAL_RATE}) the mean "
        f"difference is within ±{MATTERS} (two one-sided tests).",
        judge=centring_removes,
    ),
    Claim(
        name="batch-norm-removes-it",
        source=f"{INVERSION}, a comment",
        statement="If the first layer is followed by batch normalisation, inverting makes no difference.",
        rule=f"Paired trials, normal minus inverted, of {BATCH_NORM}",
        judge=batch_norm_removes,
    ),
    Claim(
        name="batch-norm-needs-no-mean",
        source=f"{NORMALISATION}, the second answer",
        statement="With batch normalisation in the network, subtracting each channel's mean beforehand is not needed.",
        rule=f"Paired trials, with and without the channels' means, of {BATCH_NORM}",
        judge=batch_norm_needs_no_mean,
    ),
)
