"""The tables of a page: a header, rows of text, and which columns are figures."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from jaxinv.report.part import Part
from jaxinv.utils.text import interval, number, p_value

LEVEL = "95% interval"


class Table(NamedTuple):
    """Text in rows; the first `names` columns are names, the rest figures. `strong` are rows that stand out."""

    title: str
    head: list[str]
    rows: list[list[str]]
    names: int = 1
    strong: tuple[int, ...] = ()
    note: str = ""


def arms_table(part: Part) -> Table:
    """Every arm at every learning rate: n, mean, interval, spread, loss, divergence."""
    many = len(part.rates) > 1
    z = part.published is not None
    head = ["arm", *(["learning rate"] if many else []), "n", f"mean accuracy\n{LEVEL}", "sd", "median"]
    head += ["test loss", "diverged", *(["published", "z"] if z else [])]
    rows, strong = [], []
    for cell in part.cells:
        s = cell.accuracy
        if many and cell.best:
            strong.append(len(rows))
        row = [cell.arm, *([f"{cell.rate:g}"] if many else []), f"{s.n:,}", f"{number(s.mean)}\n{interval(s.ci95)}"]
        row += [number(s.sd), number(s.median), number(cell.loss.mean, ".4g") if cell.loss else "n/a"]
        row.append(f"{cell.diverged:,} of {part.done:,}")
        if z:
            published = (part.published or {}).get(cell.arm)
            row += ["" if published is None else str(published), number(part.z.get(cell.arm, float("nan")), "+.2f")]
        rows.append(row)
    what = f"accuracy at step {part.steps[-1]:,}" if not z else f"mean of {len(part.steps)} looks at each chain"
    note = "The best learning rate of each arm stands out. " if many else ""
    note += "n counts trials with a finite value, diverged or not; they alone enter the figures. "
    note += "The interval is for the mean over new trials."
    if z:
        note += " z is the published figure's distance from the mean, in standard deviations of single chains."
    return Table(f"Arms: {what}", head, rows, 1, tuple(strong), note)


def pairs_table(part: Part) -> Table:
    """All pairs of arms."""
    many, adjusted = len(part.rates) > 1, len(part.comparisons) > 1
    head = ["a", "b", *(["rate a", "rate b"] if many else []), "n", f"a − b\n{LEVEL}", "p"]
    head += [
        *(["p Holm"] if adjusted else []),
        "p Wilcoxon",
        "p sign-flip",
        "d_z",
        "P(a > b)",
        "correlation",
        "diverged",
    ]
    rows = []
    for c in part.comparisons:
        row = [*c.arms, *([f"{c.learning_rate[0]:g}", f"{c.learning_rate[1]:g}"] if many else []), f"{c.n:,}"]
        row += [f"{number(c.difference, '+.4f')}\n{interval(c.ci95, '+.4f')}", p_value(c.p_value)]
        row += [p_value(c.p_adjusted)] if adjusted else []
        row += [p_value(c.p_wilcoxon), p_value(c.p_permutation), number(c.effect_size, ".3g")]
        row += [number(c.superiority, ".3g"), number(c.correlation, ".3g"), f"{c.diverged_either:,} of {c.done:,}"]
        rows.append(row)
    note = (
        "p is the paired t-test's. d_z is the mean of the differences over their standard deviation; P(a > b) counts "
        "ties as half; correlation is between the two arms over trials."
    )
    return Table("Differences, trial by trial", head, rows, 2, (), note)


def readings_table(parts: Sequence[Part], published: dict[str, float]) -> Table:
    """The two readings of one text beside the published figures."""
    titles = {"as_written": "as written", "independent": "independent"}
    head = ["arm", "published"]
    for part in parts:
        head.append(f"{titles.get(part.name, part.name)}\nn = {part.done:,}")
    rows = []
    for arm in parts[0].arms:
        row = [arm, str(published.get(arm, ""))]
        for part in parts:
            s = part.best[arm].accuracy
            row.append(f"{number(s.mean, '.5f')}\n{interval(s.ci95)}")
        rows.append(row)
    if all(len(part.comparisons) == 1 for part in parts):
        a, b = parts[0].comparisons[0].arms
        gap = f"{published[a] - published[b]:+.5f}".replace("-", "−") if a in published and b in published else ""
        row = [f"{a} − {b}", gap]
        for part in parts:
            pair = part.comparisons[0]
            row.append(f"{number(pair.difference, '+.5f')}\n{interval(pair.ci95)}")
        rows.append(row)
    return Table(f"Mean accuracy, {LEVEL}, under either reading", head, rows)


def provenance_table(part: Part) -> Table:
    """What identifies the results."""
    attrs = part.results.attrs
    versions = json.loads(attrs.get("versions", "{}"))
    rows = [
        ["study hash", str(attrs.get("study_hash", "unknown"))],
        ["data fingerprint", str(attrs.get("data_fingerprint", "unknown"))],
        ["seed", str(part.study.get("seed", "unknown"))],
        ["trials", f"{part.done:,} of {part.planned:,} done"],
        ["device", str(attrs.get("device", "unknown"))],
        ["versions", ", ".join(f"{name} {version}" for name, version in versions.items()) or "unknown"],
    ]
    return Table("", ["what", "value"], rows, 2)


def arm_descriptions(parts: Sequence[Part]) -> Table | None:
    """What each arm does, where jaxinv knows."""
    rows = {arm: part.described(arm) for part in parts for arm in part.arms if part.described(arm)}
    return Table("The arms", ["arm", "images become"], [list(row) for row in rows.items()], 2) if rows else None
