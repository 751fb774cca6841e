"""What a page says of a stored study in sentences, made from its figures alone."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxinv import registry
from jaxinv.arm import Arm, arm_text
from jaxinv.report.arms import change_text, rates_text, unusual_sentence
from jaxinv.report.study import StoredStudy
from jaxinv.stats import Comparison
from jaxinv.stats.few_trials import FEWEST, too_few
from jaxinv.stats.pair_figures import COVERS
from jaxinv.study import LATER_FIELDS
from jaxinv.utils.text import interval, listed, number, p_value, plural

MOST_NAMES = 6  # arms that a title names


def question(studies: Sequence[StoredStudy]) -> str:
    """The page's title."""
    first = studies[0]
    arms = listed(first.arms) if len(first.arms) <= MOST_NAMES else f"{len(first.arms)} arms"
    return f"How do {arms} compare on {first.field('dataset')}?"


def lede(study: StoredStudy) -> str:
    """What was run."""
    arms, data = study.described, study.field("dataset")
    what = [f"{study.field('model')} on {data}" if arms.use("model") else data]
    what += [study.field("optimizer")] if arms.use("optimizer") else []
    if arms.use("learning_rate"):
        count = len(study.learning_rates)
        what.append(rates_text(study.learning_rates) if count == 1 else f"{count} learning rates")
    what += [f"batches of {study.field('batch_size')}"] if arms.use("batch_size") else []
    what += [change_text(field, value) for field, value in arms.unusual.items()]
    unless = ", unless an arm changes it" if arms.replaces else ""
    trials = plural(study.done, "paired trial" if len(study.arms) > 1 else "trial")
    names = [f"{arm} ({arms.short[arm]})" if arm in arms.short else arm for arm in study.arms]
    return (
        f"{', '.join(what)}{unless}: {trials} of {plural(int(study.study.get('steps', 0)), 'update')} under "
        f"{listed(names)}."
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
    if not pair.enough:
        return (
            f"Mean accuracy is {number(pair.mean_a)} under {a} and {number(pair.mean_b)} under {b}, but "
            f"{too_few(pair.n, 'paired trial')}."
        )
    if pair.difference == 0 and not np.isfinite(pair.pairing_gain):  # the differences do not vary
        return (
            f"{a} and {b} give the same accuracy in every one of {pair.n:,} trials, {number(pair.mean_a)} on average."
        )
    adjusted = "" if pair.family == 1 else f" after {pair.adjustment}'s adjustment over {pair.family} pairs"
    kind, ends, p = "95% interval", pair.ci95, p_value(pair.p_adjusted, relation=True)
    if pair.stopped:  # by what was seen: the fixed figures are not for that
        kind, ends, p = "anytime 95% interval", pair.ci95_anytime, p_value(pair.p_anytime_adjusted, relation=True)
    figures = (
        f"{number(pair.difference, '+.4f')}, {kind} {interval(ends, '+.4f')}, p {p}{adjusted}, "
        f"effect size d_z = {number(pair.effect_size, '.3g')}, "
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
        few = f"; {too_few(s.n)}" if s.n < FEWEST else ""
        lines.append(f"Accuracy is {number(s.mean)} under {cell.arm}, 95% interval {interval(s.ci95)}{few}.")
    elif len(pairs) == 1:
        lines.append(difference(pairs[0]))
    else:
        ranked = sorted(study.best.values(), key=lambda cell: -np.nan_to_num(cell.accuracy.mean, nan=-np.inf))
        top, last = (f"{number(c.accuracy.mean)} {interval(c.accuracy.ci95)}" for c in (ranked[0], ranked[-1]))
        lines.append(
            f"Of {len(study.arms)} arms, {ranked[0].arm} scores highest, {top}, and {ranked[-1].arm} lowest, {last}."
        )
        shown = sum(pair.significant for pair in pairs)
        fewest = min(pair.n for pair in pairs)
        few = f"; {too_few(fewest, 'paired trial')}" if fewest < FEWEST else ""
        lines.append(
            f"{shown} of {plural(len(pairs), 'pair')} of arms differ beyond chance (Holm-adjusted p < 0.05){few}."
        )
    if study.tuned:
        counts = set(study.tried.values())
        if len(counts) == 1:
            stands, flatters = f"its own best learning rate of {counts.pop()} tried", "every arm a little"
        else:
            stands, flatters = "its own best learning rate", "arms for which many were tried"
        lines.append(
            f"Each arm stands at {stands} ({best_rates(study)}). The trials that chose it also judge it, which "
            f"flatters {flatters}."
        )
    if study.at_an_edge:
        does = "does" if len(study.at_an_edge) == 1 else "do"
        lines.append(
            f"{listed(study.at_an_edge)} {does} best at the lowest or highest learning rate that was tried: "
            "a better one may lie beyond."
        )
    if study.end:
        lines.append(study.end)
    if study.done < study.planned:
        lines.append(f"The run is not finished: {study.done:,} of {study.planned:,} trials are done.")
    if study.diverged:
        lines.append(f"{diverged(study)}.")
    return lines


def best_rates(study: StoredStudy) -> str:
    """Each arm's best learning rate."""
    return listed([f"{arm} {study.best[arm].rate:g}" for arm in study.arms])


def diverged(study: StoredStudy) -> str:
    """How many trainings diverged, and that the figures include them."""
    return f"{study.diverged:,} of {study.trainings:,} trainings diverged; they are included wherever they have a value"


def methods(study: StoredStudy) -> str:
    """How the study was done: a paragraph for a paper."""
    every = study.study.get("eval_every")
    illumination = study.study.get("illumination")
    sentences = [
        *_training(study),
        f"Each arm was run in {plural(study.done, 'trial')}. {_pairing(study)} The training set is shuffled anew for "
        "every trial and every epoch.",
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
            "size. Beside them stand anytime-valid intervals and p-values (a normal mixture, asymptotic; "
            "arXiv:2103.06476), which hold however often the run was looked at and grown."
        )
    else:
        sentences.append("The mean is given with its 95% t interval over trials.")
    if study.question:
        sentences.append(
            "The number of trials was not decided beforehand: the run went on until the anytime-valid interval of "
            f"one difference met a rule ({study.question['text']}) at one of the looks after 10, 20, … trials. The "
            "anytime figures allow for that, the others do not."
        )
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


def _training(study: StoredStudy) -> list[str]:
    """What was trained, on what, how, and under which arms."""
    arms, model, data = study.described, study.field("model"), study.field("dataset")
    what = f"{registry.describe_model(model) or 'the network'} (model {model!r})" if arms.use("model") else "networks"
    known = registry.DATASETS.get(str(study.study.get("dataset")))
    rule = [study.field("optimizer")] if arms.use("optimizer") else []
    rule += [rates_text(study.learning_rates)] if arms.use("learning_rate") else []
    how = [f" with {', '.join(rule)}"] if rule else []
    how += [f" in batches of {study.field('batch_size')}"] if arms.use("batch_size") else []
    names = [f"{arm} ({arms.long[arm]})" if arm in arms.long else arm for arm in study.arms]
    sentences = [
        f"We trained {what} on {data}{f' ({known})' if known else ''}{','.join(how)} for "
        f"{int(study.study.get('steps', 0)):,} updates under {plural(len(study.arms), 'arm')}: {listed(names)}.",
        *(unusual_sentence(field, value) for field, value in arms.unusual.items()),
    ]
    return [*sentences, "What an arm changes takes the place of the study's setting."] if arms.replaces else sentences


def _pairing(study: StoredStudy) -> str:
    """What the trials of two arms have in common."""
    arms = study.described
    weights = " wherever the model is the same" if arms.vary("model") else ""
    if arms.vary("batch_size"):
        batches = "reads the same examples in the same order, a batch of its arm's size at a time,"
    else:
        batches = "sees the same batches in the same order"
    alike = " that trains on as many examples," if arms.vary("train_examples") else ""
    sentences = [
        f"Trials are paired: trial t starts from the same initial weights{weights} and {batches} under every arm"
        f"{alike} and at every learning rate."
    ]
    if alike:
        sentences.append("The smaller training subset of a trial lies inside the larger.")
    if arms.vary("label_noise"):
        sentences.append("Labels that a smaller share of noise replaces are among those that a larger one replaces.")
    return " ".join(sentences)


def run_command(study: StoredStudy) -> str | None:
    """`jaxinv run` with every field of the study, or None where the command has no way to say one."""
    words: list[str] = ["jaxinv", "run"]
    question = study.question
    for name, value in study.study.items():
        if question and name == "trials":
            words += ["--until", shlex.quote(question["text"]), "--max-trials", str(question["max_trials"])]
            words += ["--anytime", "exact"] if question["anytime"] == "exact" else []
            continue
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
