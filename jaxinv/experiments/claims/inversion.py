"""Claims about inverting grey values: what it costs, which weights move, and whether that is why."""

from dataclasses import dataclass

import numpy as np

from jaxinv import stats, theory
from jaxinv.engine.single_trial import train_one
from jaxinv.experiments.claims.claim import Claim, Measurement, absent, more
from jaxinv.experiments.claims.estimates import Cause, Mean, Share, difference, exact, mean_of, ratio
from jaxinv.experiments.claims.rule import Criterion, verdict
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
from jaxinv.experiments.claims.study_cache import StudyCache, count_diverged
from jaxinv.experiments.sources import INVERSION
from jaxinv.training import weight_change
from jaxinv.utils.text import percent, points

FRAME = 7  # the frame is a seventh of the image on each side: 4 of MNIST's 28 pixels
TOLERANCES = {"float32": 1e-4, "float64": 1e-10}

NO_BORDER = "Every pixel is on in some training image: these images have no border that is always dark."

COSTS = Criterion(figure="the difference in accuracy, normal minus inverted,", region="above", margin=MATTERS)


def lowers_accuracy(cache: StudyCache) -> Measurement:
    study = independent_study(cache)
    samples = [independent(cache).accuracy(arm) for arm in study.arm_names]
    fresh = stats.variation(*cache.per_trial("independent", study).correct)
    wide = fresh.new_trials_and_images
    both = Mean(value=fresh.difference, error=wide.standard_error, df=wide.df, n=fresh.trials)
    normal, inverted = (chains(cache).mean_accuracy(arm) for arm in study.arm_names)
    chained = difference(normal.values, inverted.values)
    return Measurement(
        estimates=[both, chained],
        explanation=f"After 50 updates inverted images score {percent(fresh.accuracy_b)} and normal ones "
        f"{percent(fresh.accuracy_a)}, {more(both.value)}; in {chained.n} chains of 5,000 updates, evaluated every 50 "
        f"as the published script does, {percent(inverted.mean, 2)} and {percent(normal.mean, 2)}.",
        diverged=count_diverged(*samples, normal, inverted),
    )


def zeros_stand_still(cache: StudyCache) -> Measurement:
    found = independent(cache)
    border = weight_change.border_mask(cache.data.x_train)
    count = int(border.sum())
    if not count:
        return absent(NO_BORDER)
    moved = found.results.weight_delta.sel(arm="normal").isel(learning_rate=0).values.max(axis=-1)
    most = float(moved[border].max())
    frame = np.ones(border.shape, bool)
    thick = [max(1, round(size / FRAME)) for size in border.shape]
    frame[thick[0] : -thick[0], thick[1] : -thick[1]] = False
    share = Share(hits=int((border & frame).sum()), n=count)
    return Measurement(
        estimates=[share, exact(most, count)],
        explanation=f"{count} of {border.size} pixels are dark in all training images, and over {found.trials} trials "
        f"their weights moved by {'exactly 0' if most == 0 else f'{most:.2g}'}; {share.hits} of them lie within "
        f"{thick[0]} pixels of the edge, where {percent(frame.mean(), 0)} of all pixels are.",
    )


def border_up_centre_down(cache: StudyCache) -> Measurement:
    border, centre = weight_change.border_mask(cache.data.x_train), weight_change.centre_mask(cache.data.image_shape)
    if not border.any():
        return absent(NO_BORDER)
    study = independent_study(cache)
    heat = cache.per_trial("independent", study).weight_delta.mean(axis=-1, dtype=np.float64)
    normal, inverted = heat[0][:, centre].mean(axis=1), heat[1][:, centre].mean(axis=1)
    edge, usual = heat[1][:, border].mean(axis=1), normal.mean()
    less = mean_of((normal - inverted) / usual)
    return Measurement(
        estimates=[less, mean_of(edge / usual)],
        explanation=f"With inverted pixels the weights of the border move by {edge.mean():.2g} instead of 0, and those "
        f"of the centre by {inverted.mean():.2g}, which is {'less' if less.value > 0 else 'more'} than the {usual:.2g} "
        "with normal pixels.",
        diverged=count_diverged(*(independent(cache).accuracy(arm) for arm in study.arm_names)),
    )


@dataclass
class Translated:
    """How far apart logits are after weights were rewritten by formula, the worst of several networks."""

    logits: float = 0.0
    relative: float = 0.0  # to the largest logit or 1; infinite where the network has no place for the new weights
    largest: float = 0.0


def same_functions(cache: StudyCache) -> Measurement:
    worst = {precision: Translated() for precision in TOLERANCES}
    for model in ("softmax", "mlp"):
        study = cache.study(dataset=cache.data, model=model, learning_rate=GENTLE_RATE)
        params, state = train_one(study, arm="inverted")
        for precision, found in worst.items():
            told = theory.translate(
                model, params, state, cache.data, source="inverted", target="normal", double=precision == "float64"
            )
            relative = told.max_difference / max(1.0, told.largest_logit) if told.own else np.inf
            found.logits = max(found.logits, told.max_difference)
            found.relative = max(found.relative, relative)
            found.largest = max(found.largest, told.largest_logit)
    count = len(cache.data.x_test)
    return Measurement(
        estimates=[exact(found.relative, count) for found in worst.values()],
        explanation="The weights that softmax regression and an MLP learned from inverted pixels, rewritten by "
        f"formula for normal ones, give the same logits on all {count:,} test images: at most "
        f"{worst['float64'].logits:.0e} apart in float64 and {worst['float32'].logits:.0e} in float32, the largest "
        f"logit being {max(found.largest for found in worst.values()):.1f}.",
        effect=exact(worst["float64"].logits, count),
    )


def other_functions(cache: StudyCache) -> Measurement:
    study = independent_study(cache)
    normal, inverted = cache.per_trial("independent", study).correct
    differ = mean_of((normal != inverted).mean(axis=1))
    return Measurement(
        estimates=[differ],
        explanation="Begun at the same function and fed the same batches, the two networks of a trial disagree about "
        f"{percent(differ.value)} of the test images after 50 updates: one is right and the other wrong.",
        diverged=count_diverged(*(independent(cache).accuracy(arm) for arm in study.arm_names)),
    )


def convnet_too(cache: StudyCache) -> Measurement:
    results = convnet(cache)
    normal, inverted = (results.accuracy(arm) for arm in ("normal", "inverted"))
    return Measurement(
        estimates=[difference(normal.values, inverted.values)],
        explanation=f"After {results.steps[-1]} updates a small convnet scores {percent(normal.mean)} on normal images "
        f"and {percent(inverted.mean)} on inverted ones.",
        diverged=count_diverged(normal, inverted),
    )


def border_explains(cache: StudyCache) -> Measurement:
    if not weight_change.border_mask(cache.data.x_train).any():
        return absent(NO_BORDER)
    results, arm = without_border(cache)
    samples = normal, inverted, dark = [results.accuracy(name) for name in ("normal", "inverted", arm)]
    gap = difference(normal.values, inverted.values)
    if verdict([COSTS.apply(gap)]) != "supported":
        return absent(f"Inverting costs {points(gap.value)} here: no loss that could be explained.")
    back = ratio(dark.values - inverted.values, normal.values - inverted.values)
    return Measurement(
        estimates=[back],
        explanation="Keeping the border dark while the rest is inverted takes accuracy from "
        f"{percent(inverted.mean)} to {percent(dark.mean)}, which is {percent(back.value, 0)} of the way to normal's "
        f"{percent(normal.mean)}.",
        diverged=count_diverged(*samples),
        causes=[Cause(change="keeping the border dark", network="softmax regression, 50 updates", share=back)],
    )


ANSWER = f"{INVERSION}, the answer"
TUTORIAL = "softmax regression from zero, SGD at 0.5, batches of 100"

CLAIMS = (
    Claim(
        name="inverting-lowers-accuracy",
        source=ANSWER,
        statement="Inverting the grey values of MNIST lowers the accuracy that the TensorFlow tutorial's network "
        "reaches.",
        method=f"Paired trials, normal and inverted, {TUTORIAL}: fresh trials of 50 updates, and chains of 5,000 "
        "updates, evaluated every 50, whose mean accuracy counts. The interval of the fresh trials covers new trials "
        "and new test images.",
        criteria=[
            Criterion(figure=f"{COSTS.figure} of {what}", region="above", margin=MATTERS)
            for what in ("fresh trials", "chains")
        ],
        unit="accuracy, normal minus inverted",
        measure=lowers_accuracy,
    ),
    Claim(
        name="zero-pixels-never-move",
        source=ANSWER,
        statement="The weights of pixels that are zero are not updated, and in normal images those are the border's.",
        method="Fresh trials of 50 updates of the tutorial's network; pixels that are 0 in all training images. "
        "The outer frame is a seventh of the image on each side.",
        criteria=[
            Criterion(
                figure="the share of those pixels that lies in the outer frame",
                region="above",
                margin=0.9,
                unit="%",
                test="exact binomial",
            ),
            Criterion(figure="the largest weight change of those pixels", region="at most", margin=0.0),
        ],
        unit="share of the always-dark pixels that lie in the outer frame",
        measure=zeros_stand_still,
    ),
    Claim(
        name="border-up-centre-down",
        source=ANSWER,
        statement="With inverted pixels the weights at the border move, and those near the centre move less than "
        "they do with normal pixels.",
        method="Fresh trials of 50 updates of the tutorial's network; a pixel's weight change is the largest "
        "over classes. The border is the pixels that are always dark, the centre the middle half each way. Changes are "
        "told as shares of the centre's change with normal pixels.",
        criteria=[
            Criterion(
                figure="the drop in the centre's change with inverted pixels", region="above", margin=0.05, unit="%"
            ),
            Criterion(figure="the border's change with inverted pixels", region="above", margin=0.1, unit="%"),
        ],
        unit="how much less the centre moves, as a share of its move with normal pixels",
        measure=border_up_centre_down,
    ),
    Claim(
        name="same-functions",
        source=f"{INVERSION}, a comment",
        statement="With a bias in the first layer, the learned weights can be rewritten by hand so that a network "
        "for one kind of images works identically on the other.",
        method="Train softmax regression and an MLP on inverted images, rewrite their weights for normal ones, compare "
        "logits on all test images.",
        criteria=[
            Criterion(
                figure=f"their largest difference in {precision}, relative to the largest logit or 1,",
                region="at most",
                margin=tolerance,
            )
            for precision, tolerance in TOLERANCES.items()
        ],
        unit="largest difference of logits, in float64",
        measure=same_functions,
    ),
    Claim(
        name="training-finds-others",
        source=f"{INVERSION}, the answer against the comment",
        statement="Although both kinds of images allow the same functions, training does not find the same one.",
        method="Fresh trials of 50 updates of the tutorial's network, where both networks of a trial begin at "
        "the same function.",
        criteria=[
            Criterion(
                figure="the share of the test images that one network has right and the other wrong",
                region="above",
                margin=0.01,
                unit="%",
            )
        ],
        unit="share of the test images that one network has right and the other wrong",
        measure=other_functions,
    ),
    Claim(
        name="border-explains-it",
        source=ANSWER,
        statement="Inverted images do worse because updates are spent on border pixels, which say nothing about the "
        "digit.",
        method="Invert, but leave always-dark pixels dark, so that their weights stand still; paired fresh trials of "
        f"50 updates of the tutorial's network. There is something to explain if {COSTS.sentence}.",
        criteria=[
            Criterion(
                figure="the share of that difference which comes back when the border stays dark",
                region="above",
                margin=0.5,
                unit="%",
            )
        ],
        unit="share of the loss of accuracy that comes back when the border stays dark",
        measure=border_explains,
    ),
    Claim(
        name="inverting-hurts-a-convnet",
        source=f"{INVERSION}, the question",
        statement="Inverting the grey values also matters when the same convnet is trained.",
        method="Paired trials, normal and inverted, of two convolutions with pooling and a linear layer, SGD at "
        f"{CONVNET['learning_rate']}, batches of 100, {CONVNET['steps']} updates.",
        criteria=[COSTS],
        unit="accuracy, normal minus inverted, in a convnet",
        measure=convnet_too,
    ),
)
