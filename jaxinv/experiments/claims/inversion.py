"""Claims about inverting grey values: what it costs, which weights move, and whether that is why."""

import numpy as np

from jaxinv import stats, theory
from jaxinv.engine.single_trial import train_one
from jaxinv.experiments.claims import evidence
from jaxinv.experiments.claims.claim import INVERSION, Claim, Finding, finding, percent, points, untestable
from jaxinv.experiments.claims.evidence import Estimate, above, difference, fact, mean_of, ratio, share_above, verdict
from jaxinv.experiments.claims.lab import Lab
from jaxinv.experiments.claims.studies import (
    CONVNET,
    GENTLE_RATE,
    MATTERS,
    chains,
    convnet,
    independent,
    independent_study,
    without_border,
)
from jaxinv.training import weight_change

FRAME = 7  # the frame is a seventh of the image on each side: 4 of MNIST's 28 pixels
MOST = 0.9
SINGLE, DOUBLE = 1e-4, 1e-10

NO_BORDER = "Every pixel is on in some training image, so there is nothing to test this on."


def lowers_accuracy(lab: Lab) -> Finding:
    study = independent_study(lab)
    lab.accuracy(independent(lab), "inverted")  # counts those that diverged
    fresh = stats.variation(*lab.apart("independent", study).correct)
    wide = fresh.new_trials_and_images
    both = Estimate(value=fresh.difference, error=wide.standard_error, df=wide.df, n=fresh.trials)
    looks = chains(lab).accuracy.isel(learning_rate=0).mean("step").astype(np.float64)
    written = [looks.sel(arm=arm).values for arm in ("normal", "inverted")]
    chained = difference(*written)
    return finding(
        verdict(above(both, MATTERS), above(chained, MATTERS)),
        both,
        "accuracy, normal minus inverted",
        f"After 50 updates inverted images score {percent(fresh.accuracy_b)} and normal ones "
        f"{percent(fresh.accuracy_a)}, {points(both.value)} more; in {chained.n} chains of 5,000 updates, looked at "
        f"every 50 as the published script does, {percent(written[1].mean(), 2)} and {percent(written[0].mean(), 2)}.",
    )


def zeros_stand_still(lab: Lab) -> Finding:
    results = independent(lab)
    border = weight_change.border_mask(lab.data.x_train)
    count, unit = int(border.sum()), "share of the always-dark pixels that lie in the outer frame"
    if not count:
        return untestable(unit, NO_BORDER)
    moved = results.weight_delta.sel(arm="normal").isel(learning_rate=0).values.max(axis=-1)
    still = float(moved[border].max()) == 0.0
    frame = np.ones(border.shape, bool)
    thick = [max(1, round(size / FRAME)) for size in border.shape]
    frame[thick[0] : -thick[0], thick[1] : -thick[1]] = False
    hits = int((border & frame).sum())
    return Finding(
        verdict=verdict(fact(still), share_above(hits, count, MOST)),
        effect=hits / count,
        ci95=evidence.share_interval(hits, count),
        n=count,
        unit=unit,
        explanation=f"{count} of {border.size} pixels are dark in all training images, and over "
        f"{results.sizes['trial']} trials their weights moved by "
        f"{'exactly 0' if still else f'{moved[border].max():.2g}'}; {hits} of them lie within {thick[0]} pixels of "
        f"the edge, where {percent(frame.mean(), 0)} of all pixels are.",
    )


def border_up_centre_down(lab: Lab) -> Finding:
    unit = "how much less the centre moves, as a share of its move with normal pixels"
    border, centre = weight_change.border_mask(lab.data.x_train), weight_change.centre_mask(lab.data.image_shape)
    if not border.any():
        return untestable(unit, NO_BORDER)
    heat = lab.apart("independent", independent_study(lab)).weight_delta.mean(axis=-1, dtype=np.float64)
    lab.accuracy(independent(lab), "inverted")  # counts those that diverged
    normal, inverted = heat[0][:, centre].mean(axis=1), heat[1][:, centre].mean(axis=1)
    edge = heat[1][:, border].mean(axis=1)
    usual = normal.mean()
    less = mean_of((normal - inverted) / usual)
    word = "less" if less.value > 0 else "more"
    return finding(
        verdict(above(mean_of(edge / usual), 0.1), above(less, 0.05)),
        less,
        unit,
        f"With inverted pixels the weights of the border move by {edge.mean():.2g} instead of 0, and those of the "
        f"centre by {inverted.mean():.2g}, which is {word} than the {usual:.2g} with normal pixels.",
    )


def same_functions(lab: Lab) -> Finding:
    apart, agree, largest = {"single": 0.0, "double": 0.0}, True, 0.0
    for model in ("softmax", "mlp"):
        params, state = train_one(lab.study(dataset=lab.data, model=model, learning_rate=GENTLE_RATE), arm="inverted")
        for precision, tolerance in (("single", SINGLE), ("double", DOUBLE)):
            told = theory.translate(
                model, params, state, lab.data, source="inverted", target="normal", double=precision == "double"
            )
            apart[precision] = max(apart[precision], told.max_difference)
            largest = max(largest, told.largest_logit)
            agree = agree and told.own and told.max_difference <= tolerance * max(1.0, told.largest_logit)
    count = len(lab.data.x_test)
    return Finding(
        verdict=verdict(fact(agree)),
        effect=apart["double"],
        ci95=(apart["double"], apart["double"]),
        n=count,
        unit="largest difference of logits, in float64",
        explanation="The weights that softmax regression and an MLP learned from inverted pixels, rewritten by "
        f"formula for normal ones, give the same logits on all {count:,} test images: at most {apart['double']:.0e} "
        f"apart in float64 and {apart['single']:.0e} in float32, the largest logit being {largest:.1f}.",
    )


def other_functions(lab: Lab) -> Finding:
    normal, inverted = lab.apart("independent", independent_study(lab)).correct
    lab.accuracy(independent(lab), "inverted")  # counts those that diverged
    differ = mean_of((normal != inverted).mean(axis=1))
    return finding(
        verdict(above(differ, 0.01)),
        differ,
        "share of the test images that one network has right and the other wrong",
        f"Begun at the same function and fed the same batches, the two networks of a trial disagree about "
        f"{percent(differ.value)} of the test images after 50 updates: one is right and the other wrong.",
    )


def convnet_too(lab: Lab) -> Finding:
    results = convnet(lab)
    normal, inverted = (lab.accuracy(results, arm) for arm in ("normal", "inverted"))
    gap = difference(normal, inverted)
    return finding(
        verdict(above(gap, MATTERS)),
        gap,
        "accuracy, normal minus inverted, in a convnet",
        f"After {results.step.values[-1]} updates a small convnet scores {percent(normal.mean())} on normal images and "
        f"{percent(inverted.mean())} on inverted ones.",
    )


def border_explains(lab: Lab) -> Finding:
    unit = "share of the loss of accuracy that comes back when the border stays dark"
    if not weight_change.border_mask(lab.data.x_train).any():
        return untestable(unit, NO_BORDER)
    results, arm = without_border(lab)
    normal, inverted, dark = (lab.accuracy(results, name) for name in ("normal", "inverted", arm))
    gap = difference(normal, inverted)
    if verdict(above(gap, MATTERS)) != evidence.SUPPORTED:
        return untestable(unit, f"Inverting costs {points(gap.value)} here: no loss that could be explained.")
    back = ratio(dark - inverted, normal - inverted)
    return finding(
        verdict(above(back, 0.5)),
        back,
        unit,
        f"Keeping the border dark while the rest is inverted lifts accuracy from {percent(inverted.mean())} to "
        f"{percent(dark.mean())}, which is {percent(back.value, 0)} of the way to normal's {percent(normal.mean())}.",
    )


ANSWER = f"{INVERSION}, the answer"
TUTORIAL = "softmax regression from zero, SGD at 0.5, batches of 100"

CLAIMS = (
    Claim(
        name="inverting-lowers-accuracy",
        source=ANSWER,
        statement="Inverting the grey values of MNIST lowers the accuracy that the TensorFlow tutorial's network "
        "reaches.",
        rule=f"Paired trials, normal minus inverted, {TUTORIAL}: fresh trials of 50 updates, and the mean over the "
        f"looks of chains of 5,000. Supported if both differences are more than {MATTERS}. The first one's interval "
        "covers new trials and new test images.",
        judge=lowers_accuracy,
    ),
    Claim(
        name="zero-pixels-never-move",
        source=ANSWER,
        statement="The weights of pixels that are zero are not updated, and in normal images those are the border's.",
        rule="Fresh trials as above. Supported if the weights of pixels that are 0 in all training images move by "
        f"exactly 0, and more than {MOST:.0%} of those pixels lie in the frame that a seventh of each side makes "
        "(exact binomial).",
        judge=zeros_stand_still,
    ),
    Claim(
        name="border-up-centre-down",
        source=ANSWER,
        statement="With inverted pixels the weights at the border move, and those near the centre move less than "
        "they do with normal pixels.",
        rule="Fresh trials as above; a pixel's move is its largest weight change over classes. Supported if the "
        "border (pixels always dark) moves by more than a tenth of what the centre (the middle half each way) moves "
        "with normal pixels, and the centre by at least 5% less than that.",
        judge=border_up_centre_down,
    ),
    Claim(
        name="same-functions",
        source=f"{INVERSION}, a comment",
        statement="With a bias in the first layer, the learned weights can be rewritten by hand so that a network "
        "for one kind of images works identically on the other.",
        rule="Train softmax regression and an MLP on inverted images, rewrite their weights for normal ones, compare "
        f"logits on all test images. Supported if they differ by at most {SINGLE:g} in float32 and {DOUBLE:g} in "
        "float64, relative to the largest logit or 1.",
        judge=same_functions,
    ),
    Claim(
        name="training-finds-others",
        source=f"{INVERSION}, the answer against the comment",
        statement="Although both kinds of images allow the same functions, training does not find the same one.",
        rule="Fresh trials as above, where both networks begin at the same function. Supported if more than 1% of "
        "the test images are classified correctly by one network of a trial and wrongly by the other.",
        judge=other_functions,
    ),
    Claim(
        name="border-explains-it",
        source=ANSWER,
        statement="Inverted images do worse because updates are spent on border pixels, which say nothing about the "
        "digit.",
        rule="Invert, but leave always-dark pixels dark, so that their weights stand still. Supported if that brings "
        "back more than half of the accuracy that inverting costs, in paired fresh trials as above.",
        judge=border_explains,
    ),
    Claim(
        name="inverting-hurts-a-convnet",
        source=f"{INVERSION}, the question",
        statement="Inverting the grey values also matters when the same convnet is trained.",
        rule="Paired trials, normal minus inverted, of two convolutions with pooling and a linear layer, SGD at "
        f"{CONVNET['learning_rate']}, batches of 100, {CONVNET['steps']} updates. Supported if the difference is more "
        f"than {MATTERS}.",
        judge=convnet_too,
    ),
)
