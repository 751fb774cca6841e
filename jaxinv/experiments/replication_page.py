"""The page of the replicated inversion experiment: both readings beside the published figures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from jaxinv.experiments.inversion import FRESH, ODD, QUESTION, READINGS, WHY, WRITTEN, command
from jaxinv.report.pages import methods_section, provenance_section, short_title, study_section
from jaxinv.report.sections import Page, Table
from jaxinv.report.sentences import verdict
from jaxinv.report.study import StoredStudy
from jaxinv.stats.few_trials import FEWEST, too_few
from jaxinv.utils.text import interval, listed, number, plural


def replication_page(
    studies: Sequence[StoredStudy],
    *,
    published: Mapping[str, float],
    seconds: Mapping[str, float],
    csv: str,
    again: str | None = None,
) -> Page:
    """The page of both readings, `studies` as `read_as` returns them; `again`: the command that makes the results."""
    by_name = {study.name: study for study in studies}
    written, fresh = by_name[WRITTEN], by_name[FRESH]
    lines = {study.name: verdict(study) for study in studies}
    if written.published:
        lines[WRITTEN].insert(0, replicated(written))
    made = command(chains=written.planned, trials=fresh.planned, seed=fresh.study.get("seed", 0))
    return Page(
        title=QUESTION,
        lede=lede(fresh, published),
        headline=both_readings([written, fresh]),
        findings=[f"{short_title(study)}. {lines[study.name][0]}" for study in studies],
        opening=[*([readings_table([written, fresh], published)] if published else []), WHY],
        sections=[
            *(study_section(study, lines[study.name][1:]) for study in studies),
            methods_section(studies),
            provenance_section(studies, commands=[again or made], seconds=seconds, csv=csv),
        ],
    )


def read_as(studies: Sequence[StoredStudy], published: Mapping[str, float]) -> list[StoredStudy]:
    """The studies of a replication's folder, each with its reading's title and judged as that reading is."""
    chains = {"over_steps": True, "published": published} if published else {}
    return [
        replace(study, title=READINGS.get(study.name, ""), **(chains if study.name == WRITTEN else {}))
        for study in studies
    ]


def lede(study: StoredStudy, published: Mapping[str, float]) -> str:
    """What was run."""
    reported = listed([f"{value} for {arm}" for arm, value in published.items()]) or "its arms"
    model, dataset, optimizer = (study.field(name) for name in ("model", "dataset", "optimizer"))
    return (
        f"A published answer trains {model} on {dataset} by {optimizer} and reports accuracies of {reported}. "
        "What its code runs is not what its text says. Both were run here."
    )


def replicated(chains: StoredStudy) -> str:
    """Whether the published figures are what the published script produces."""
    found = []
    for arm, z in chains.z.items():
        mean = chains.best[arm].accuracy
        place = f"z = {number(z, '+.2f')}" if np.isfinite(z) else "too few or equal chains for a z"
        found.append(
            f"{arm} {number(mean.mean, '.5f')} {interval(mean.ci95, '.5f')} against the published "
            f"{chains.published[arm]} ({place})"
        )
    odd = [arm for arm, z in chains.z.items() if abs(z) >= ODD]
    if chains.done < FEWEST:
        few = too_few(chains.done, "chain")
        judgement = f"{few[0].upper()}{few[1:]}."
    elif not np.isfinite(list(chains.z.values())).all():
        judgement = "More chains are needed to say how usual the published figures are."
    elif odd:
        judgement = f"The published figure for {listed(odd)} lies outside the spread of these chains."
    else:
        judgement = "Both published figures lie within the spread of these chains: they replicate."
    return (
        f"Mean accuracy over all evaluations of a chain, {plural(chains.done, 'chain')}: {'; '.join(found)}. "
        f"{judgement}"
    )


def both_readings(studies: Sequence[StoredStudy]) -> str:
    """The headline over two readings of one text."""
    pairs = [study.comparisons[0] for study in studies]
    if all(pair.significant for pair in pairs) and len({pair.difference > 0 for pair in pairs}) == 1:
        a, b = pairs[0].arms
        high, low = (a, b) if pairs[0].difference > 0 else (b, a)
        gaps = listed([number(abs(pair.difference), ".3f") for pair in pairs])
        return (
            f"With {low} inputs accuracy is lower than with {high} ones under both readings of the published text, but "
            f"not by the same amount: by {gaps}."
        )
    if not all(pair.enough for pair in pairs):
        fewest = min(pairs, key=lambda pair: pair.n)
        return f"Whether the two readings of the published text agree is open: {too_few(fewest.n)}."
    if not any(pair.significant for pair in pairs):
        return "Neither reading of the published text shows a difference between its arms."
    return "The two readings of the published text do not agree."


def readings_table(studies: Sequence[StoredStudy], published: Mapping[str, float]) -> Table:
    """Both readings of one text beside the published figures."""
    head = ["arm", "published", *(f"{short_title(study).lower()}\nn = {study.done:,}" for study in studies)]
    rows = []
    for arm in studies[0].arms:
        means = [study.best[arm].accuracy for study in studies]
        figures = [f"{number(mean.mean, '.5f')}\n{interval(mean.ci95)}" for mean in means]
        rows.append([arm, str(published.get(arm, "")), *figures])
    pairs = [study.comparisons[0] for study in studies]
    a, b = pairs[0].arms
    gap = number(published[a] - published[b], "+.5f") if a in published and b in published else ""
    rows.append([f"{a} − {b}", gap, *(f"{number(pair.difference, '+.5f')}\n{interval(pair.ci95)}" for pair in pairs)])
    return Table("Mean accuracy, 95% interval, under either reading", head, rows)
