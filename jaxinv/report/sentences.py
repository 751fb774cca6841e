"""What a page says of a stored study in sentences, made from its figures alone."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxinv import registry
from jaxinv.arm import Arm, arm_text
from jaxinv.report.study import StoredStudy
from jaxinv.stats import Comparison
from jaxinv.stats.comparison import COVERS
from jaxinv.study import LATER_FIELDS
from jaxinv.utils.text import interval, listed, number, p_value, plural


def question(studies: Sequence[StoredStudy]) -> str:
    """The page's title."""
    first = studies[0]
    return f"How do {listed(first.arms)} compare on {first.field('dataset')}?"


def lede(study: StoredStudy) -> str:
    """What was run."""
    count = len(study.learning_rates)
    rates = f"learning rate {study.learning_rates[0]:g}" if count == 1 else f"{count} learning rates"
    trials = plural(study.done, "paired trial" if len(study.arms) > 1 else "trial")
    return (
        f"{study.field('model')} on {study.field('dataset')}, {study.field('optimizer')}, {rates}, batches of "
        f"{study.field('batch_size')}: {trials} of {plural(int(study.study.get('steps', 0)), 'update')} under "
        f"{listed(study.arms)}."
    )


def difference(pair: Comparison) -> str:
    """One comparison in one sentence or two."""
    a, b = pair.arms
    if pair.n == 0:
        return f"No trial has a value under both {a} and {b}; nothing can be said."
    if pair.n == 1:
        return (
            f"In the only trial, accuracy is {number(pair.mean_a)} under {a} and {number(pair.mean_b)} under {b}; one "
            "trial says nothing about how far another would differ."
        )
    if pair.difference == 0 and not np.isfinite(pair.pairing_gain):  # the differences do not vary
        return (
            f"{a} and {b} give the same accuracy in every one of {pair.n:,} trials, {number(pair.mean_a)} on average."
        )
    adjusted = "" if pair.family == 1 else f" after {pair.adjustment}'s adjustment over {pair.family} pairs"
    figures = (
        f"{number(pair.difference, '+.4f')}, 95% interval {interval(pair.ci95, '+.4f')}, "
        f"p {p_value(pair.p_adjusted, relation=True)}{adjusted}, effect size d_z = {number(pair.effect_size, '.3g')}, "
        f"n = {pair.n:,} paired trials"
    )
    if pair.significant:
        return (
            f"Accuracy is {number(pair.mean_a)} under {a} and {number(pair.mean_b)} under {b}. The difference, {a} "
            f"minus {b}, is {figures}."
        )
    return (
        f"No difference between {a} and {b} was shown: {figures}. That is no proof that there is none; the interval "
        "says how large it could be."
    )


def verdict(study: StoredStudy) -> list[str]:
    """What a study found, the most important sentence first."""
    lines = []
    pairs = study.comparisons
    if len(study.arms) == 1:
        (cell,) = study.best.values()
        s = cell.accuracy
        lines.append(f"Accuracy is {number(s.mean)} under {cell.arm}, 95% interval {interval(s.ci95)}.")
    elif len(pairs) == 1:
        lines.append(difference(pairs[0]))
    else:
        ranked = sorted(study.best.values(), key=lambda cell: -np.nan_to_num(cell.accuracy.mean, nan=-np.inf))
        top, last = (f"{number(c.accuracy.mean)} {interval(c.accuracy.ci95)}" for c in (ranked[0], ranked[-1]))
        lines.append(
            f"Of {len(study.arms)} arms, {ranked[0].arm} scores highest, {top}, and {ranked[-1].arm} lowest, {last}."
        )
        shown = sum(pair.significant for pair in pairs)
        lines.append(f"{shown} of {plural(len(pairs), 'pair')} of arms differ beyond chance (Holm-adjusted p < 0.05).")
    if len(study.learning_rates) > 1:
        count = len(study.learning_rates)
        lines.append(
            f"Each arm stands at its own best learning rate of {count} tried ({best_rates(study)}). "
            "The trials that chose it also judge it, which flatters every arm a little."
        )
    if study.done < study.planned:
        lines.append(f"The run is not finished: {study.done:,} of {study.planned:,} trials are done.")
    if study.diverged:
        lines.append(f"{diverged(study)}.")
    return lines


def best_rates(study: StoredStudy) -> str:
    """Each arm's best learning rate."""
    return listed([f"{arm} {rate:g}" for arm, rate in study.best_rates.items()])


def diverged(study: StoredStudy) -> str:
    """How many trainings diverged, and that the figures include them."""
    return f"{study.diverged:,} of {study.trainings:,} trainings diverged; they are included wherever they have a value"


def methods(study: StoredStudy) -> str:
    """How the study was done: a paragraph for a paper."""
    model, data, optimizer = study.field("model"), study.field("dataset"), study.field("optimizer")
    rates = [f"{rate:g}" for rate in study.learning_rates]
    rate = f"learning rate {rates[0]}" if len(rates) == 1 else f"learning rates {listed(rates)}"
    described = study.described_arms
    arms = listed([f"{arm} ({described[arm]})" if arm in described else arm for arm in study.arms])
    every = study.study.get("eval_every")
    known = registry.DATASETS.get(data)
    illumination = study.study.get("illumination")
    sentences = [
        f"We trained {registry.describe_model(model) or 'the network'} (model {model!r}) on {data}"
        f"{f' ({known})' if known else ''} with {optimizer}, {rate}, in batches of {study.field('batch_size')} for "
        f"{int(study.study.get('steps', 0)):,} updates under {plural(len(study.arms), 'arm')}: {arms}.",
        f"Each arm was run in {plural(study.done, 'trial')}. Trials are paired: trial t starts from the same initial "
        "weights and sees the same batches in the same order under every arm and at every learning rate. The training "
        "set is shuffled anew for every trial and every epoch.",
        "Accuracy is the share of all test images classified correctly, measured "
        f"{f'every {int(every):,} updates' if every else 'after the last update'}.",
    ]
    if study.over_steps:
        sentences.append("A trial's figure is its mean accuracy over all those evaluations.")
    if illumination:
        sentences.append(f"Every image was given a random gain and offset of strength {illumination:g} first.")
    if len(study.arms) > 1:
        family = len(study.comparisons)
        adjusted = f", p-values adjusted by Holm's method over {family} pairs" if family > 1 else ""
        sentences.append(
            "Means are given with 95% t intervals over trials; arms are compared by the paired t-test on the "
            f"differences trial by trial{adjusted}, with d_z, their mean over their standard deviation, as the effect "
            "size."
        )
    else:
        sentences.append("The mean is given with its 95% t interval over trials.")
    versions = json.loads(study.results.attrs.get("versions", "{}"))
    made = [f"{name} {versions[name]}" for name in ("jaxinv", "jax") if name in versions]
    where = study.results.attrs.get("device")
    sentences += [
        "A training counts as diverged when its test loss is not finite or exceeds a thousand times that of guessing. "
        f"{diverged(study)}.",
        f"Intervals cover {COVERS}. All randomness stems from seed {study.field('seed')}"
        f"{f'; computed with {listed(made)}' if made else ''}{f' on {where}' if where else ''}.",
    ]
    return " ".join(sentences)


def run_command(study: StoredStudy) -> str | None:
    """`jaxinv run` with every field of the study, or None where the command has no way to say one."""
    words: list[str] = ["jaxinv", "run"]
    for name, value in study.study.items():
        if value is None or (name in LATER_FIELDS and value == LATER_FIELDS[name]):
            continue
        items = [_argument(item) for item in (value if isinstance(value, list) else [value])]
        if None in items:
            return None
        words += [f"--{name.replace('_', '-')}", *(shlex.quote(str(item)) for item in items)]
    return " ".join(words)


def _argument(value: Any) -> Any:
    """A value, or an arm, as it stands on the command line; None for objects of the user's own."""
    if not isinstance(value, dict):
        return value
    if "own" in value or any(isinstance(item, dict) for item in value.values()):
        return None
    return arm_text(Arm(**value))


def python(study: StoredStudy) -> str:
    """The same from Python."""
    text = json.dumps(study.study, sort_keys=True)
    return f"import jaxinv as ji\n\nstudy = ji.Study.from_json({text!r})\nresults = ji.run(study)"
