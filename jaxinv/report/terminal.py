"""Stored results in a few figures: as plain values for JSON, and as text of at most 80 columns."""

import json
from collections.abc import Sequence
from textwrap import fill
from typing import Any

import xarray as xr

from jaxinv import stats
from jaxinv.report.arms import DescribedArms, change_text, plain_name
from jaxinv.results import cells, test_arm_names, transfer_values
from jaxinv.stats.few_trials import FEWEST, too_few
from jaxinv.stats.looks import stop_sentence
from jaxinv.utils.jsonable import jsonable
from jaxinv.utils.tables import WIDTH, room, text_rows, text_table
from jaxinv.utils.text import interval, number, percent, plain


def run_summary(results: xr.Dataset) -> dict[str, Any]:
    """Each arm at each learning rate at the last step; the seconds it took; what identifies the run.

    A row's `transfer` has the accuracy and loss under each preprocessing that the run was asked to test under.
    """
    rows = [
        {
            "arm": cell.arm,
            "learning_rate": cell.learning_rate,
            "rate": cell.rate,
            "trials": cell.accuracy.n,
            "accuracy": {"mean": cell.accuracy.mean, "sd": cell.accuracy.sd, "ci95": cell.accuracy.ci95},
            "test_loss": {"mean": cell.test_loss.mean, "sd": cell.test_loss.sd},
            "diverged": cell.diverged,
        }
        for cell in map(stats.cell_summary, cells(results))
    ]
    tests = test_arm_names(results)
    if tests:
        kinds = {"accuracy": ("mean", "sd", "ci95"), "loss": ("mean", "sd")}
        found = {kind: transfer_values(results, kind).reshape(len(rows), -1, len(tests)) for kind in kinds}
        for place, row in enumerate(rows):
            row["transfer"] = {
                test: {
                    kind: {name: getattr(stats.summary(found[kind][place, :, at]), name) for name in names}
                    for kind, names in kinds.items()
                }
                for at, test in enumerate(tests)
            }
    return jsonable(
        {
            "study": json.loads(results.attrs["study"]),
            "study_hash": results.attrs["study_hash"],
            "arms": rows,
            "seconds": json.loads(results.attrs["seconds"]),
            "plan": results.attrs["plan"],
            "there": results.attrs["there"],
            "computed": results.attrs["computed"],
            **({"until": json.loads(results.attrs["until"])} if "until" in results.attrs else {}),
        }
    )


def run_table(summary: dict[str, Any]) -> str:
    """The summary as a table, and how long it took."""
    study, seconds = summary["study"], summary["seconds"]
    found: dict[tuple[str, float], dict[str, Any]] = {}
    for row in summary["arms"]:
        found.setdefault((row["arm"], row["rate"]), row)  # an arm with a rate of its own has it all along the axis
    rows = list(found.values())
    many_rates = len({row["rate"] for row in rows}) > 1
    head = ["arm", *(["rate"] if many_rates else []), "accuracy", "sd", "95% interval", "loss", "diverged"]
    lines = [
        [
            row["arm"],
            *([f"{row['rate']:g}"] if many_rates else []),
            number(row["accuracy"]["mean"], ".5f"),
            number(row["accuracy"]["sd"], ".5f"),
            interval(row["accuracy"]["ci95"], ".5f"),
            number(row["test_loss"]["mean"], ".4g"),
            f"{row['diverged']} of {row['trials']}",
        ]
        for row in rows
    ]
    trials = rows[0]["trials"]
    arms = DescribedArms(study, [row["arm"] for row in rows])
    names = [plain_name(study[field]) for field in ("dataset", "model", "optimizer") if arms.use(field)]
    names += [] if many_rates else [f"learning rate {rows[0]['rate']:g}"]
    names += [change_text(field, value) for field, value in arms.unusual.items()]
    title = f"{', '.join(names)}: {trials} trials of {study['steps']} updates"
    if arms.short:
        title += f"\n\n{text_rows([('arm', 'what it changes'), *arms.short.items()])}"
    transfer = f"\n\n{_transfer_table(rows, many_rates)}" if "transfer" in rows[0] else ""
    kept = summary["there"]
    there = f"{kept} of {trials} trials were there already. " if kept else ""
    few = f"\n\n{too_few(trials)}" if trials < FEWEST and len(rows) > 1 else ""
    ended = stop_sentence(summary.get("until", {}))
    ended = f"\n\n{fill(plain(ended), WIDTH)}" if ended else ""
    return f"{title}\n\n{plain(text_table([head, *lines]))}{few}{transfer}{ended}\n\n{there}{spent(seconds)}"


def _transfer_table(rows: Sequence[dict[str, Any]], many_rates: bool) -> str:
    """Mean accuracies on the test images under other preprocessings; one a column, where that fits."""
    head = [*(["rate"] if many_rates else []), *rows[0]["transfer"]]
    lines = []
    for row in rows:
        means = [number(found["accuracy"]["mean"], ".5f") for found in row["transfer"].values()]
        lines.append([*([f"{row['rate']:g}"] if many_rates else []), *means])
    names = [row["arm"] for row in rows]
    table = text_table([["arm", *head], *([name, *line] for name, line in zip(names, lines, strict=True))])
    if max(map(len, table.splitlines())) > room():
        told = (", ".join(f"{label} {value}" for label, value in zip(head, line, strict=True)) for line in lines)
        table = text_rows(list(zip(names, told, strict=True)))
    return f"Accuracy on the test images under each preprocessing:\n\n{plain(table)}"


def spent(seconds: dict[str, float]) -> str:
    """Where the time went."""
    return f"{seconds['total']:.1f} s, of which {seconds['compile']:.1f} compiling and {seconds['train']:.1f} training."


def datasets_table(rows: Sequence[Any]) -> str:
    """What `describe_datasets` found."""
    made = [["dataset", "train + test", "image", "classes", "state"]]
    for row in rows:
        known = row.train is not None
        counts = f"{row.train[0]:,} + {row.test[0]:,}" if known else "?"
        shape = "x".join(map(str, row.train[1:])) if known else "?"
        made.append([row.name, counts, shape, "?" if row.classes is None else str(row.classes), row.state])
    return text_table(made)


def power_text(needed: stats.TrialsNeeded, stopping: stats.StoppingTime, arms: Sequence[str]) -> str:
    """What `trials_needed` and `stopping_time` found, in words."""
    rows = [
        ("decided beforehand", f"{needed.trials:,} trials (power {needed.power:.3f})"),
        ("", f"{needed.cautious:,} to be safe from a lucky pilot"),
        ("stopping by itself", f"{stopping.expected:,.0f} trials on average, {stopping.quantile90:,} in 9 of 10 runs"),
        ("", f'--until "{arms[0]}-{arms[1]} {stopping.rule}" answers in {percent(stopping.answered, 0)} of them'),
    ]
    return "\n".join(
        [
            f"{arms[0]} - {arms[1]}, pilot of {needed.pilot} trials: sd of the differences {needed.sd:.5f}",
            f"to find a difference of {needed.effect:+.5f} (d_z {needed.effect_size:.2f}) with power {needed.target:g} "
            f"at level {needed.alpha:g}:",
            "",
            plain(text_rows(rows)),
        ]
    )
