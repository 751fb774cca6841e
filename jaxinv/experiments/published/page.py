"""What is said of a replicated experiment: as text, as a page, and as a line of the table of all."""

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jaxinv.experiments.published.experiment import Experiment
from jaxinv.report.pages import methods_section, provenance_section, study_section
from jaxinv.report.sections import Badge, Block, Bullets, Fact, Facts, Page, Section, Table
from jaxinv.report.sentences import verdict as study_verdict
from jaxinv.report.study import StoredStudy
from jaxinv.utils.tables import WIDTH, text_table
from jaxinv.utils.text import interval, number, plain

BADGES = {
    "replicated": Badge("✔", "replicated", "positive"),
    "in part": Badge("◐", "replicated in part", "neutral"),
    "not replicated": Badge("✘", "not replicated", "negative"),
    "open": Badge("?", "open", "neutral"),
    "holds": Badge("✔", "holds", "positive"),
    "does not hold": Badge("✘", "does not hold", "negative"),
}
SIZES = {"quick": "few trials (--quick)", "default": "the default size", "full": "the published protocol (--full)"}


def headline(summary: Mapping[str, Any]) -> str:
    """The verdict in a sentence."""
    deciding = [*summary["figures"], *(one for one in summary["statements"] if one["decides"])]
    held = sum(one["verdict"] == "holds" for one in deciding)
    return f"{BADGES[summary['verdict']].text.capitalize()}: {held} of {len(deciding)} published results hold here."


def figures_table(summary: Mapping[str, Any]) -> Table | None:
    """Published figures beside ours."""
    rows = [
        [one["what"], f"{one['published']:g}", number(one["mean"]), number(one["sd"]), *_last_columns(one)]
        for one in summary["figures"]
    ]
    head = ["figure", "published", "mean here", "sd", "95% interval", "n", "z", "verdict"]
    note = "z is the distance of the published figure from our mean, in standard deviations of single trials; "
    return Table("Published figures and ours", head, rows, 1, (), f"{note}it holds below 2.") if rows else None


def statements_table(summary: Mapping[str, Any], *, decides: bool, title: str) -> Table | None:
    """What the source says in words beside our figures; or our own questions about it."""
    rows = [
        [one["says"], one["figure"].rstrip(","), f"{told(one)}\n{ends(one)}", f"{one['n']:,}", _badge(one)]
        for one in summary["statements"]
        if one["decides"] == decides
    ]
    return Table(title, ["statement", "our figure", "value\n95% interval", "n", "verdict"], rows, 2) if rows else None


def experiment_page(
    summary: Mapping[str, Any],
    experiment: Experiment,
    studies: Sequence[StoredStudy],
    *,
    titles: Mapping[str, str],
    seconds: Mapping[str, float],
    csv: str,
    command: str | None = None,
) -> Page:
    """The page of a replicated experiment; `titles`: of its studies, by name."""
    shown = [replace(study, title=titles.get(study.name, study.name)) for study in studies]
    address, _, rest = experiment.source.partition(",")
    facts = [Fact("source", f",{rest}", address), Fact("size", SIZES[summary["size"]])]
    about = [experiment.settings, experiment.open_settings, experiment.shortened, cost(experiment)]
    asked = statements_table(summary, decides=False, title="Questions of ours")
    tables = [figures_table(summary), statements_table(summary, decides=True, title="What the source says"), asked]
    opening: list[Block] = [*filter(None, tables), Facts(facts), *filter(None, about)]
    return Page(
        title=experiment.question,
        lede=experiment.settings.split(". ")[0].rstrip(".") + ".",
        headline=headline(summary),
        findings=[str(one["comparison"]) for one in summary["statements"]],
        opening=opening,
        sections=[
            *(study_section(study, study_verdict(study)) for study in shown),
            Section(title="How it is judged", anchor="rules", blocks=[Bullets(rules(experiment))]),
            methods_section(shown),
            provenance_section(shown, commands=[command or again(summary)], seconds=seconds, csv=csv),
        ],
    )


def cost(experiment: Experiment) -> str:
    """How long the published protocol takes; "" where that is the default."""
    return f"The published protocol (--full) takes {experiment.cost}, by estimate." if experiment.cost else ""


def rules(experiment: Experiment) -> list[str]:
    """What counts as replicated, stated before any trial."""
    lines = [
        f"{figure.what}: {figure.value:g} lies within 2 standard deviations of our trials."
        for figure in experiment.figures
    ]
    return lines + [f"{one.says} Holds if {one.criterion.sentence}." for one in experiment.statements]


def again(summary: Mapping[str, Any]) -> str:
    """The command that makes the results."""
    words = ["jaxinv", "replicate", summary["experiment"], "--seed", str(summary["seed"])]
    words += [f"--{summary['size']}"] if summary["size"] != "default" else []
    places = summary.get("places", {})
    words += ["--dataset", *(f"{name}={place}" for name, place in places.items())] if places else []
    return shlex.join(words)


def text(summary: Mapping[str, Any], experiment: Experiment) -> str:
    """The summary as text of at most 80 columns."""
    parts = [*_fill(experiment.question), *_fill(f"Source: {experiment.source}"), ""]
    if summary["figures"]:
        head = ["figure", "published", "mean", "sd", "n", "z", "verdict"]
        rows = [
            [one["what"], f"{one['published']:g}", number(one["mean"]), number(one["sd"]), *_last_columns(one)[1:]]
            for one in summary["figures"]
        ]
        parts += [text_table([head, *rows]), ""]
    for one in summary["statements"]:
        mark = one["verdict"] if one["decides"] else f"our question: {one['verdict']}"
        parts += [*_fill(f"{one['says']} [{mark}]"), *_fill(one["comparison"], "    "), ""]
    parts += _fill(f"{headline(summary)} Run with {SIZES[summary['size']]}. {experiment.shortened} {cost(experiment)}")
    return plain("\n".join(parts))


def told(one: Mapping[str, Any]) -> str:
    """A statement's figure."""
    return (
        f"{100 * one['value']:.3g}%" if one["unit"] == "%" and one["value"] is not None else number(one["value"], ".3g")
    )


def ends(one: Mapping[str, Any]) -> str:
    """Its interval."""
    low, high = one["ci95"]
    if one["unit"] == "%" and low is not None and high is not None:
        return f"[{100 * low:.3g}%, {100 * high:.3g}%]"
    return interval((low, high), ".3g")


def _last_columns(one: Mapping[str, Any]) -> list[str]:
    """Interval, number of trials, z and verdict of a figure."""
    return [interval(one["ci95"]), f"{one['n']:,}", number(one["z"], "+.2f"), _badge(one)]


def _badge(one: Mapping[str, Any]) -> str:
    badge = BADGES[one["verdict"]]
    return f"{badge.sign} {badge.text}"


def _fill(line: str, indent: str = "") -> list[str]:
    return textwrap.wrap(  # plain before it is cut: a sign may become two
        plain(line),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
