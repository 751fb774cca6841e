"""The tables of a stored study."""

import json
from collections.abc import Sequence

import numpy as np

from jaxinv import stats
from jaxinv.report.sections import Table
from jaxinv.report.study import StoredStudy
from jaxinv.results.selection import test_arm_names, transfer_values
from jaxinv.stats.few_trials import FEWEST, TOO_FEW
from jaxinv.utils.text import interval, number, p_value

LEVEL = "95% interval"


def arms_table(study: StoredStudy) -> Table:
    """Every arm at every learning rate: n, mean, interval, spread, loss, divergence; published figures beside."""
    many, published = len(study.rates) > 1, bool(study.published)
    head = ["arm", *(["learning rate"] if many else []), "n", f"mean accuracy\n{LEVEL}", "sd", "median"]
    head += ["test loss", "diverged", *(["published", "z"] if published else [])]
    rows = []
    for cell in study.cells:
        s = cell.accuracy
        row = [cell.arm, *([f"{cell.rate:g}"] if many else []), f"{s.n:,}"]
        row += [f"{number(s.mean)}\n{interval(s.ci95)}", number(s.sd), number(s.median)]
        row += [
            number(cell.test_loss.mean, ".4g") if "test_loss" in cell.metrics else "n/a",
            f"{cell.diverged:,} of {study.done:,}",
        ]
        if published:
            row += [str(study.published.get(cell.arm, "")), number(study.z.get(cell.arm, float("nan")), "+.2f")]
        rows.append(row)
    strong = [place for place, cell in enumerate(study.cells) if study.tuned and cell is study.best[cell.arm]]
    note = "The best learning rate of each arm is highlighted. " if study.tuned else ""
    note += "n counts the trials with a finite value, diverged or not; only they enter the figures. "
    note += "The interval is for the mean over new trials."
    if published:
        note += " z is the distance of the published figure from the mean, in standard deviations of single trials."
    what = f"mean accuracy over {len(study.steps)} evaluations" if study.over_steps else ""
    return Table(f"Arms: {what or f'accuracy at step {study.steps[-1]:,}'}", head, rows, 1, strong, note)


def transfer_table(study: StoredStudy) -> Table | None:
    """Each arm's accuracy on the test images under other preprocessings, where that was tested."""
    tests = test_arm_names(study.results)
    if not tests:
        return None
    values = transfer_values(study.results)
    rows = []
    for place, arm in enumerate(study.arms):
        at = study.learning_rates.index(study.best[arm].learning_rate)
        found = [stats.summary(values[place, at, :, test]) for test in range(len(tests))]
        rows.append([arm, *(f"{number(s.mean)}\n{interval(s.ci95)}" for s in found)])
    note = f"Every network at the end of its training, tested under each preprocessing: mean accuracy and {LEVEL}."
    return Table("Tested under other preprocessings", ["trained under", *tests], rows, 1, (), note)


def pairs_table(study: StoredStudy) -> Table:
    """All pairs of arms."""
    many, adjusted = len(study.rates) > 1, len(study.comparisons) > 1
    head = ["a", "b", *(["rate a", "rate b"] if many else []), "n", f"a − b\n{LEVEL}", "p"]
    head += ["p Holm"] if adjusted else []
    head += ["anytime interval\nand p", "p Wilcoxon\np sign-flip", "d_z", "P(a > b)", "correlation", "diverged"]
    rows = []
    for c in study.comparisons:
        row = [*c.arms, *([f"{rate:g}" for rate in c.rate] if many else []), f"{c.n:,}"]
        row += [f"{number(c.difference, '+.4f')}\n{interval(c.ci95, '+.4f')}", _p(c, c.p_value)]
        row += [_p(c, c.p_adjusted)] if adjusted else []
        ends = interval(c.ci95_anytime, "+.4f") if np.isfinite(c.ci95_anytime).all() else TOO_FEW
        row += [f"{ends}\n{_p(c, c.p_anytime)}" if c.enough else TOO_FEW]
        row += [
            f"{_p(c, c.p_wilcoxon)}\n{_p(c, c.p_permutation)}" if c.enough else TOO_FEW,
            number(c.effect_size, ".3g"),
        ]
        row += [number(c.superiority, ".3g"), number(c.correlation, ".3g"), f"{c.diverged_either:,} of {c.done:,}"]
        rows.append(row)
    note = (
        f"p belongs to the paired t-test. Which to read: {study.comparisons[0].which}. "
        f"Fewer than {FEWEST} trials are too few for any p, fewer than {stats.first_look()} for the anytime interval. "
        "d_z is the mean of the differences over their standard deviation; P(a > b) "
        "counts ties as half; correlation is between the two arms over trials."
    )
    return Table("Differences, trial by trial", head, rows, 2, (), note)


def _p(pair: stats.Comparison, p: float) -> str:
    """A p-value of a pair that has trials enough for one."""
    return p_value(p) if pair.enough else TOO_FEW


def provenance_table(study: StoredStudy) -> Table:
    """What identifies the results."""
    attrs = study.results.attrs
    versions = json.loads(attrs.get("versions", "{}"))
    rows = [
        ["study hash", str(attrs.get("study_hash", "unknown"))],
        ["data fingerprint", str(attrs.get("data_fingerprint", "unknown"))],
        ["seed", str(study.study.get("seed", "unknown"))],
        ["trials", f"{study.done:,} of {study.planned:,} done"],
        ["device", str(attrs.get("device", "unknown"))],
        ["versions", ", ".join(f"{name} {version}" for name, version in versions.items()) or "unknown"],
    ]
    return Table("", ["what", "value"], rows, 2)


def described_arms_table(studies: Sequence[StoredStudy]) -> Table | None:
    """What each arm does, of those arms of which that is known."""
    rows = {arm: line for study in studies for arm, line in study.described.long.items()}
    images = not any(study.described.short for study in studies)
    what = "what it makes of an image" if images else "what it does"
    return Table("The arms", ["arm", what], [list(row) for row in rows.items()], 2) if rows else None
