"""The page of judged claims, from what `claims.json` says of them and the studies beside it."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jaxinv import registry
from jaxinv.errors import DataError
from jaxinv.experiments.claims.studies import TITLES
from jaxinv.report import figures, sentences, tables
from jaxinv.report.pages import closing_blocks
from jaxinv.report.sections import Badge, Block, Bullets, Code, Details, Fact, Facts, Page, Section, Table, slug
from jaxinv.report.study import StoredStudy
from jaxinv.utils.text import dataset_label, interval, listed, number, percent, points

FIELDS = {"name", "source", "statement", "verdict", "effect", "ci95", "n", "explanation"}
"""What every claim must have; `rule`, `unit`, `diverged` and `criteria` are shown where they are there."""

BADGES = {
    "supported": Badge("✔", "supported", "positive"),
    "refuted": Badge("✘", "refuted", "negative"),
    "inconclusive": Badge("?", "inconclusive", "neutral"),
    "premise absent": Badge("–", "premise absent", "neutral"),
}


def claims_page(
    judged: Mapping[str, Any],
    studies: Sequence[StoredStudy],
    *,
    seconds: Mapping[str, float],
    csv: str,
    command: str | None = None,
) -> Page:
    """The page of `claims.json`.

    Raises:
        DataError: a claim lacks a field.
    """
    claims: list[Mapping[str, Any]] = judged["claims"]
    for place, claim in enumerate(claims):
        missing = FIELDS - set(claim) if isinstance(claim, Mapping) else FIELDS
        if missing:
            raise DataError(f"claims: number {place + 1} has no {', '.join(sorted(missing))}")
    again = [Code(command or claims_command(claims, judged))]
    opening = [line for line in (conclusion(claims), counts(claims)) if line]
    return Page(
        title="Which claims hold up?",
        lede=lede(judged),
        headline=opening[0],
        findings=opening[1:],
        opening=[*causes_tables(claims), verdicts_table(claims)],
        sections=[
            Section(title="Claim by claim", short="Claims", anchor="claims", blocks=[*map(claim_section, claims)]),
            *studies_sections(studies),
            Section(title="Provenance", anchor="provenance", blocks=closing_blocks(again, seconds=seconds, csv=csv)),
        ],
    )


def title(claim: Mapping[str, Any]) -> str:
    """A claim in a few words."""
    return registry.CLAIMS.get(str(claim["name"]), str(claim["statement"]))


def causes(claims: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """What brings lost accuracy back, most first, each with its claim; nothing where trials are too few to say."""
    found = [(claim, cause) for claim in claims for cause in claim.get("causes", ())]
    known = [(claim, cause) for claim, cause in found if None not in (cause.get("share"), *cause.get("ci95", [None]))]
    return sorted(known, key=lambda one: -one[1]["share"])


def conclusion(claims: Sequence[Mapping[str, Any]]) -> str:
    """What inverting costs, and what brings how much of that back; "" where neither was tested."""
    told = [cost(claim) for claim in claims if claim["name"] == "inverting-lowers-accuracy"]
    shares_back = [(str(cause["change"]), percent(cause["share"], 0)) for _, cause in causes(claims)]
    if shares_back:
        (change, share), *others = shares_back
        back = [f"{change.capitalize()} brings back {share} of such a loss", *map(" ".join, others)]
        told.append(f"{listed(back)}.")
    return " ".join(told)


def cost(claim: Mapping[str, Any]) -> str:
    """What inverting costs, of the claim that says so."""
    if claim["verdict"] == "supported":
        return f"Inverting costs {points(claim['effect'])} of accuracy."
    how = "is not shown to cost" if claim["verdict"] == "inconclusive" else "does not cost"
    return f"Inverting {how} accuracy: {f'{finding(claim)} {unit(claim)}'.strip()}."


def finding(claim: Mapping[str, Any]) -> str:
    """A claim's effect and interval; "" where nothing was tested."""
    return "" if claim["verdict"] == "premise absent" else f"{effect(claim)} {ci95(claim)}"


def causes_tables(claims: Sequence[Mapping[str, Any]]) -> list[Table]:
    """How much of the accuracy that inverting costs comes back, by what is changed."""
    found = causes(claims)
    rows = [
        [cause["change"], cause["network"], f"{percent(cause['share'], 0)}\n{shares(cause)}", n(cause)]
        for _, cause in found
    ]
    head = ["change", "network", f"brings back\n{tables.LEVEL}", "n"]
    anchors = [slug(str(claim["name"])) for claim, _ in found]
    return [Table("What brings the lost accuracy back", head, rows, 2, anchors=anchors)] if rows else []


def lede(judged: Mapping[str, Any]) -> str:
    """What the claims were tested on."""
    where = f" on {dataset_label(str(judged['dataset']))}" if "dataset" in judged else ""
    quick = judged.get("quick")
    how = ", with few trials (--quick)" if quick is True else ", in full" if quick is False else ""
    seed = f"; seed {judged['seed']}" if "seed" in judged else ""
    return f"Claims about how inputs are presented, each tested by a study of its own{where}{how}{seed}."


def counts(claims: Sequence[Mapping[str, Any]]) -> str:
    """How many claims came out which way.

    >>> counts([{"verdict": "supported"}, {"verdict": "refuted"}])
    'Of 2 claims, 1 came out supported, 1 refuted and 0 inconclusive.'
    """
    found = [sum(claim["verdict"] == verdict for claim in claims) for verdict in BADGES]
    absent = f"; the premise of {found[3]} is absent in these images" if found[3] else ""
    told = f"{found[0]} came out supported, {found[1]} refuted and {found[2]} inconclusive{absent}"
    return f"Of {len(claims)} claims, {told}."


def claims_command(claims: Sequence[Mapping[str, Any]], judged: Mapping[str, Any]) -> str:
    """The command that judges these claims again."""
    words = ["jaxinv", "claims", *(str(claim["name"]) for claim in claims)]
    words += ["--quick"] if judged.get("quick") else []
    for name in ("dataset", "seed"):
        words += [f"--{name}", str(judged[name])] if name in judged else []
    return shlex.join(words)


def verdicts_table(claims: Sequence[Mapping[str, Any]]) -> Table:
    """All verdicts at a glance."""
    head = ["claim", "verdict", f"effect, {tables.LEVEL}", "n"]
    rows = [
        [
            title(claim),
            f"{badge(claim).sign} {badge(claim).text}",
            f"{finding(claim)} {unit(claim)}" if finding(claim) else "",
            n(claim),
        ]
        for claim in claims
    ]
    return Table("Verdicts", head, rows, 3, anchors=[slug(str(claim["name"])) for claim in claims])


def claim_section(claim: Mapping[str, Any]) -> Section:
    """A claim, its verdict, its figures and its rule."""
    address, diverged = source_address(claim), claim.get("diverged")
    facts = [
        Fact("effect", f"{effect(claim)} {unit(claim)}"),
        Fact("95% interval", ci95(claim)),
        Fact("n", n(claim)),
        *([Fact("diverged", f"{told(diverged, ',')} trainings, included")] if diverged else []),
        Fact("source", str(claim["source"])[len(address) :], address),
    ]
    rule: list[Block] = [str(claim["rule"])] if claim.get("rule") else []
    criteria = claim.get("criteria")
    compared = [
        str(one["comparison"])
        for one in (criteria if isinstance(criteria, list) else ())
        if isinstance(one, Mapping) and "comparison" in one
    ]
    rule += [Bullets(compared)] if compared else []
    rule += [Code(f"jaxinv claims {claim['name']}")]
    return Section(
        title=str(claim["statement"]),
        badge=badge(claim),
        anchor=slug(str(claim["name"])),
        blocks=[str(claim["explanation"]), Facts(facts), Details("How it is judged", rule)],
    )


def studies_sections(studies: Sequence[StoredStudy]) -> list[Section]:
    """The studies behind the verdicts: those with several learning rates drawn, all of them in tables."""
    if not studies:
        return []
    widest_first = sorted(studies, key=lambda study: -len(study.cells))
    drawn = [
        replace(figures.accuracy_over_learning_rates(study), title=TITLES.get(study.name, study.name))
        for study in widest_first
        if len(study.learning_rates) > 1
    ]
    arms = tables.described_arms_table(studies)
    blocks: list[Block] = [
        *map(study_details, studies),
        *([arms] if arms else []),
    ]
    rates = Section(title="Accuracy against learning rate", short="Learning rates", anchor="rates", blocks=drawn)
    return [
        *([rates] if drawn else []),
        Section(title="The studies behind the verdicts", short="Studies", anchor="studies", blocks=blocks),
    ]


def study_details(study: StoredStudy) -> Details:
    """A study in sentences and tables."""
    blocks: list[Block] = [*sentences.verdict(study), tables.arms_table(study)]
    blocks += [tables.pairs_table(study)] if study.comparisons else []
    blocks += [sentences.methods(study), tables.provenance_table(study)]
    blocks += [f"Its folder is {study.name}; jaxinv report with it makes a page with its figures."]
    return Details(f"{TITLES.get(study.name, study.name)}: {sentences.lede(study)}", blocks)


def badge(claim: Mapping[str, Any]) -> Badge:
    """A verdict; one that is not known stands as it is."""
    verdict = str(claim["verdict"])
    return BADGES.get(verdict, Badge("?", verdict, "neutral"))


def effect(claim: Mapping[str, Any]) -> str:
    return told(claim["effect"], ".3g")


def ci95(claim: Mapping[str, Any]) -> str:
    bounds = claim["ci95"]
    both = isinstance(bounds, list | tuple) and len(bounds) == 2 and all(isinstance(v, int | float) for v in bounds)
    return interval((bounds[0], bounds[1]), ".3g") if both else "n/a"


def shares(cause: Mapping[str, Any]) -> str:
    """The interval of a share, in percent."""
    return f"[{', '.join(percent(end, 0) for end in cause['ci95'])}]"


def unit(claim: Mapping[str, Any]) -> str:
    return f"({claim['unit']})" if claim.get("unit") else ""


def n(claim: Mapping[str, Any]) -> str:
    return told(claim["n"], ",")


def source_address(claim: Mapping[str, Any]) -> str:
    """The address that a claim's source begins with, or ""."""
    source = str(claim["source"])
    return source.split()[0].rstrip(",;") if source.startswith("https://") else ""


def told(value: Any, form: str) -> str:
    """A figure of `claims.json` to read, whatever it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "n/a" if value is None else str(value)
    return number(value, form)
