"""What a page says in sentences, made from the figures of its parts; nothing is said that they do not show."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxinv import registry
from jaxinv.report.part import Part
from jaxinv.stats import Comparison
from jaxinv.stats.comparison import COVERS
from jaxinv.utils.text import interval, listed, number, p_value, plural

READINGS = {
    "as_written": "As written: one chain, looked at again and again",
    "independent": "Independent: fresh trials, as the text says",
}
WHY = (
    "The two readings differ because the published script initialises the network once per preprocessing, outside its "
    "loop over trials, and never again. What it calls 100 trials of 50 updates is one chain of 5,000 updates that is "
    "looked at 100 times: by the last look the network has been trained a hundred times longer than its text says."
)
ODD = 2.0  # standard deviations from the mean beyond which a single run is called out of the ordinary


def question(parts: Sequence[Part]) -> str:
    """The page's title."""
    first = parts[0]
    if {part.name for part in parts} & set(READINGS):
        return "Does inverting the grey values change what a network learns?"
    return f"How do {listed(first.arms)} inputs compare on {first.field('dataset')}?"


def lede(parts: Sequence[Part], published: Mapping[str, float]) -> str:
    """What was run, in a sentence under the title."""
    first = parts[0]
    what = f"{first.field('model')} on {first.field('dataset')}, {first.field('optimizer')}"
    if {part.name for part in parts} >= set(READINGS):
        reported = listed([f"{value} for {arm}" for arm, value in published.items()])
        return (
            f"A published answer trains {what}, and reports mean test accuracies of {reported or 'its arms'}. What its "
            "code runs is not what its text says. Both were run here."
        )
    rates = f"learning rate {first.rates[0]:g}" if len(first.rates) == 1 else f"{len(first.rates)} learning rates"
    trials = plural(first.done, "paired trial" if len(first.arms) > 1 else "trial")
    return (
        f"{what}, {rates}, batches of {first.study.get('batch_size', '?')}: {trials} of "
        f"{plural(int(first.study.get('steps', 0)), 'update')} under {listed(first.arms)}."
    )


def difference(pair: Comparison) -> str:
    """One comparison in one sentence or two."""
    a, b = pair.arms
    if pair.n == 0:
        return f"No trial has a value under both {a} and {b}; nothing can be said."
    if pair.n == 1:
        return (
            f"In the only trial, accuracy is {number(pair.mean_a)} with {a} inputs and {number(pair.mean_b)} with {b} "
            "ones; one trial says nothing about how far another would differ."
        )
    if pair.difference == 0 and not np.isfinite(pair.pairing_gain):  # the differences do not vary
        return (
            f"Inputs {a} and {b} give the same accuracy in every one of {pair.n:,} trials, {number(pair.mean_a)} on "
            "average."
        )
    adjusted = "" if pair.family == 1 else f" after {pair.adjustment}'s adjustment over {pair.family} pairs"
    figures = (
        f"{number(pair.difference, '+.4f')}, 95% interval {interval(pair.ci95, '+.4f')}, "
        f"p {p_value(pair.p_adjusted, relation=True)}{adjusted}, effect size d_z = {number(pair.effect_size, '.3g')}, "
        f"n = {pair.n:,} paired trials"
    )
    if pair.significant:
        high, low = (a, b) if pair.difference > 0 else (b, a)
        means = sorted((pair.mean_a, pair.mean_b), reverse=True)
        return (
            f"Accuracy is {number(means[0])} with {high} inputs and {number(means[1])} with {low} ones. "
            f"The difference, {a} minus {b}, is {figures}."
        )
    return (
        f"No difference between {a} and {b} was shown: {figures}. That is no proof that there is none; the interval "
        "says how large it could be."
    )


def verdict(part: Part) -> list[str]:
    """What a study found, the most important sentence first."""
    lines = []
    pairs = part.comparisons
    if len(part.arms) == 1:
        cell = part.best[part.arms[0]]
        lines.append(
            f"Accuracy is {number(cell.accuracy.mean)} with {cell.arm} inputs, 95% interval "
            f"{interval(cell.accuracy.ci95)}."
        )
    elif len(pairs) == 1:
        lines.append(difference(pairs[0]))
    else:
        ranked = sorted(part.best.values(), key=lambda cell: -np.nan_to_num(cell.accuracy.mean, nan=-np.inf))
        top, last = ranked[0], ranked[-1]
        shown = sum(pair.significant for pair in pairs)
        lines.append(
            f"Of {len(part.arms)} arms, {top.arm} scores highest, {number(top.accuracy.mean)} "
            f"{interval(top.accuracy.ci95)}, and {last.arm} lowest, {number(last.accuracy.mean)} "
            f"{interval(last.accuracy.ci95)}."
        )
        lines.append(f"{shown} of {plural(len(pairs), 'pair')} of arms differ beyond chance (Holm-adjusted p < 0.05).")
    if len(part.rates) > 1:
        best = listed([f"{arm} {rate:g}" for arm, rate in part.best_rates.items()])
        lines.append(
            f"Each arm stands at its own best learning rate of {len(part.rates)} tried ({best}), picked by the same "
            "trials that it is judged by, which flatters every arm a little."
        )
    if part.done < part.planned:
        lines.append(f"The run is not finished: {part.done:,} of {part.planned:,} trials are in.")
    if part.diverged:
        lines.append(
            f"{part.diverged:,} of {part.trainings:,} trainings diverged; they are included wherever they have a value."
        )
    return lines


def replication(part: Part) -> str:
    """Whether the published figures are what this script produces."""
    found = []
    for arm, z in part.z.items():
        cell = part.best[arm]
        place = f"z = {number(z, '+.2f')}" if np.isfinite(z) else "too few or equal chains for a z"
        found.append(
            f"{arm} {number(cell.accuracy.mean, '.5f')} {interval(cell.accuracy.ci95, '.5f')} against the published "
            f"{part.published[arm] if part.published else ''} ({place})"
        )
    zs = np.array(list(part.z.values()))
    if not np.isfinite(zs).all():
        judgement = "More chains are needed to say how usual the published figures are."
    elif (np.abs(zs) < ODD).all():
        judgement = "Both published figures are ones that this script readily produces: they replicate."
    else:
        odd = listed([arm for arm, z in part.z.items() if abs(z) >= ODD])
        judgement = f"The published figure for {odd} lies outside what these chains readily produce."
    return f"Mean accuracy over all looks at a chain, {plural(part.done, 'chain')}: {'; '.join(found)}. {judgement}"


def both_readings(parts: Sequence[Part]) -> str:
    """The headline over two readings of one text."""
    pairs = [part.comparisons[0] for part in parts]
    if all(pair.significant for pair in pairs) and len({pair.difference > 0 for pair in pairs}) == 1:
        a, b = pairs[0].arms
        high, low = (a, b) if pairs[0].difference > 0 else (b, a)
        gaps = listed([number(abs(pair.difference), ".3f") for pair in pairs])
        return (
            f"With {low} inputs accuracy is lower than with {high} ones under both readings of the published text, but "
            f"not by the same amount: by {gaps}."
        )
    if not any(pair.significant for pair in pairs):
        return "Neither reading of the published text shows a difference between its arms."
    return "The two readings of the published text do not agree."


def methods(part: Part) -> str:
    """How the study was done: a paragraph for a paper."""
    study = part.study
    model, data, optimizer = part.field("model"), part.field("dataset"), part.field("optimizer")
    about = registry.MODELS.get(model)
    rates = [f"{rate:g}" for rate in part.rates]
    rate = f"learning rate {rates[0]}" if len(rates) == 1 else f"learning rates {listed(rates)}"
    arms = listed([f"{arm} ({part.described(arm)})" if part.described(arm) else arm for arm in part.arms])
    every = study.get("eval_every")
    looked = "after the last update" if not every else f"every {int(every):,} updates"
    known = registry.DATASETS.get(data)
    sentences = [
        f"We trained {about or 'the network'} (model {model!r}) on {data}{f' ({known})' if known else ''} with "
        f"{optimizer}, {rate}, in batches of {study.get('batch_size', '?')} for {int(study.get('steps', 0)):,} updates "
        f"under {plural(len(part.arms), 'preprocessing')} of the images: {arms}.",
        f"Each was run in {plural(part.done, 'trial')}, all paired: trial t starts from the same initial weights and "
        "sees the same batches in the same order under every preprocessing and at every learning rate. Batches walk "
        "through the training set in an order that is shuffled anew for every trial and every epoch.",
        f"Accuracy is the share of all test images classified correctly, measured {looked}.",
    ]
    if part.published is not None:
        sentences.append("A chain's figure is its mean accuracy over all those evaluations, as published.")
    if study.get("illumination"):
        sentences.append(f"Every image was given a random gain and offset of strength {study['illumination']:g} first.")
    if len(part.arms) > 1:
        family = len(part.comparisons)
        adjusted = f", p-values adjusted by Holm's method over {family} pairs" if family > 1 else ""
        sentences.append(
            "Means stand with 95% t intervals over trials; arms are compared by the paired t-test on the differences "
            f"trial by trial{adjusted}, with d_z, their mean over their standard deviation, as the effect size."
        )
    else:
        sentences.append("The mean stands with its 95% t interval over trials.")
    sentences.append(
        f"A training counts as diverged when its test loss is not finite or exceeds a thousand times that of guessing: "
        f"{part.diverged:,} of {part.trainings:,} did, and are included wherever they have a value."
    )
    versions = json.loads(part.results.attrs.get("versions", "{}"))
    made = [f"{name} {versions[name]}" for name in ("jaxinv", "jax") if name in versions]
    where = part.results.attrs.get("device")
    sentences.append(
        f"Intervals cover {COVERS}. All randomness stems from seed {study.get('seed', '?')}"
        f"{f'; computed with {listed(made)}' if made else ''}{f' on {where}' if where else ''}."
    )
    return " ".join(sentences)


def command(parts: Sequence[Part]) -> str | None:
    """The one command that makes all of the studies, where there is one."""
    named = {part.name: part for part in parts}
    if set(named) == set(READINGS):
        counts = {name: part.planned for name, part in named.items()}
        seed = named["independent"].study.get("seed", 0)
        return f"jaxinv replicate --chains {counts['as_written']} --trials {counts['independent']} --seed {seed}"
    return None


def run_command(part: Part) -> str | None:
    """`jaxinv run` with every field of the study, or None where it has objects of the user's own."""
    words: list[str] = ["jaxinv", "run"]
    for name, value in part.study.items():
        items: list[Any] = value if isinstance(value, list) else [value]
        if any(isinstance(item, dict) for item in items):
            return None
        if value is not None:
            words += [f"--{name.replace('_', '-')}", *(shlex.quote(str(item)) for item in items)]
    return " ".join(words)


def python(part: Part) -> str:
    """The same from Python."""
    text = json.dumps(part.study, sort_keys=True)
    return f"import jaxinv as ji\n\nstudy = ji.Study.from_json({text!r})\nresults = ji.run(study)"
