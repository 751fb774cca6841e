"""The recommendations as text and as a page."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from jaxinv.experiments.claims.page import BADGES
from jaxinv.experiments.recommendation.cells import RATES
from jaxinv.experiments.recommendation.judging import COMPARISONS, MATTERS
from jaxinv.report.pages import closing_blocks
from jaxinv.report.sections import Bullets, Code, Page, Section, Table
from jaxinv.utils.tables import WIDTH, text_table
from jaxinv.utils.text import interval, number, plain, points


def recommendations(summary: Mapping[str, Any]) -> Table:
    """For each model, light and number of images: use this, by so much."""
    cells = summary["recommendations"]
    rows = [
        [
            *(cell["model"], cell["light"], f"{cell['images']:,}", cell["use"], number(cell["accuracy"])),
            *(
                f"{number(cell['gain'], '+.4f')}\n{interval(cell['ci95'], '+.4f')}",
                textwrap.fill(", ".join(cell["as_good"]) or "none", 18),
            ),
        ]
        for cell in cells
    ]
    first = cells[0]["instead_of"]
    head = ["model", "light", "training\nimages", "use", "accuracy", f"gain over {first}\n95% interval", "as good"]
    note = (
        "The best is chosen on the even trials; accuracy, gain and interval are of the odd ones. As good: those that "
        f"are not shown to be more than {MATTERS:g} worse."
    )
    return Table("Use this", head, rows, 2, (), note)


def verdicts(summary: Mapping[str, Any]) -> Table:
    """What the second discussion says, in each cell."""
    cells = summary["recommendations"]
    rows = []
    for one in COMPARISONS:
        row = [one.says]
        for cell in cells:
            found = {made["name"]: made for made in cell["comparisons"]}.get(one.name)
            sign = "" if found is None else BADGES[found["verdict"]].sign
            row.append("" if found is None else f"{sign} {number(found['value'], '+.3f')}\n{ends(found)}")
        rows.append(row)
    head = ["statement", *(f"{cell['model']}\n{cell['light']}\n{cell['images']:,}" for cell in cells)]
    note = f"✔ supported, ✘ refuted, ? inconclusive, by a margin of {MATTERS:g} in accuracy; with 95% intervals."
    return Table("The second discussion, combination by combination", head, rows, 1, (), note)


def ends(found: Mapping[str, Any]) -> str:
    """The interval of a comparison."""
    return interval(found["ci95"], "+.3f")


def accuracies(summary: Mapping[str, Any]) -> Table:
    """Every arm in every cell."""
    arms = summary["arms"]
    rows = [
        [
            *(cell["model"], cell["light"], f"{cell['images']:,}"),
            *(f"{number(cell['arms'][arm]['mean'])}\nat {cell['rates'][arm]:g}" for arm in arms),
        ]
        for cell in summary["recommendations"]
    ]
    return Table("Accuracy of every arm at its own learning rate", ["model", "light", "images", *arms], rows, 2)


def recommendation_page(summary: Mapping[str, Any], *, command: str | None = None) -> Page:
    """The page of the recommendations."""
    again = [Code(command or command_of(summary))]
    return Page(
        title=f"Which preprocessing for {summary['label']}?",
        lede=f"{len(summary['arms'])} preprocessings, each at its own best learning rate, by model, light and number "
        f"of training images of {summary['label']}.",
        headline=summary["headline"],
        findings=scarcity(summary["recommendations"]),
        opening=[recommendations(summary)],
        sections=[
            Section(
                title="What the discussion says", short="Statements", anchor="statements", blocks=[verdicts(summary)]
            ),
            Section(title="Accuracies", anchor="accuracies", blocks=[accuracies(summary)]),
            Section(title="How it is judged", anchor="methods", blocks=[methods(summary), Bullets(rules())]),
            Section(
                title="Provenance",
                anchor="provenance",
                blocks=closing_blocks(again, seconds=summary["seconds"], csv=""),
            ),
        ],
    )


def scarcity(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whether whitening, against z-scores, harms most where images are few."""
    lines = []
    for model, light in dict.fromkeys((cell["model"], cell["light"]) for cell in cells):
        here = [cell for cell in cells if (cell["model"], cell["light"]) == (model, light)]
        loss = [
            (cell["images"], one["value"], one["verdict"])
            for cell in sorted(here, key=lambda cell: cell["images"])
            for one in cell["comparisons"]
            if one["name"] == "whitening harms"
        ]
        if len(loss) > 1:
            told = ", ".join(f"{points(value)} with {images:,} images ({verdict})" for images, value, verdict in loss)
            lines.append(f"Whitening costs {model} in {light} light, against z-scores: {told}.")
    return lines


def methods(summary: Mapping[str, Any]) -> str:
    """How it was done."""
    rates = ", ".join(f"{rate:g}" for rate in RATES)
    return (
        f"Adam, batches of {summary['batch_size']}, {summary['steps']:,} updates. Each arm's learning rate is the best "
        f"of {rates} in {summary['pilot']} trials that are not used again; {summary['trials']} other trials are "
        "judged. Fewer training images are a random part of all, the same in every trial; preprocessings are fitted to "
        "them alone. Batch normalisation is evaluated with statistics recomputed over training images. In changing "
        "light every image has a gain and an offset of its own (strength 0.8). Trials are paired; intervals cover new "
        "trials on these images."
    )


def rules() -> list[str]:
    """What counts as supported."""
    return [f"{one.says} Supported if {one.criterion.sentence}." for one in COMPARISONS]


def command_of(summary: Mapping[str, Any]) -> str:
    """The command that makes it."""
    cells = summary["recommendations"]
    models = list(dict.fromkeys(cell["model"] for cell in cells))
    lights = list(dict.fromkeys(cell["light"] for cell in cells))
    images = list(dict.fromkeys("all" if cell["all"] else str(cell["images"]) for cell in cells))
    words = ["jaxinv recommend", "--dataset", summary["dataset"], "--model", *models, "--train-examples", *images]
    words += ["--light", *lights, "--steps", str(summary["steps"]), "--seed", str(summary["seed"])]
    return " ".join(words + (["--quick"] if summary["quick"] else []))


def text(summary: Mapping[str, Any]) -> str:
    """The recommendations as text of at most 80 columns."""
    rows = [["model", "light", "images", "use", "accuracy", "gain", "95% interval"]]
    rows += [
        [
            *(cell["model"], cell["light"], f"{cell['images']:,}", cell["use"], number(cell["accuracy"], ".3f")),
            *(number(cell["gain"], "+.3f"), interval(cell["ci95"], "+.3f")),
        ]
        for cell in summary["recommendations"]
    ]
    lines = textwrap.wrap(summary["headline"], WIDTH)
    for line in scarcity(summary["recommendations"]):
        lines += textwrap.wrap(line, WIDTH)
    gain = f"gain: over {summary['recommendations'][0]['instead_of']}, each at its own learning rate"
    return plain("\n".join([f"Which preprocessing for {summary['label']}?", "", text_table(rows), gain, "", *lines]))
