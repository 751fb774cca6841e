"""The same claims on several datasets: each judged in a folder of its own, all verdicts in one table and one page."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jaxinv.data import load_dataset
from jaxinv.errors import InputError
from jaxinv.experiments.claims.page import (
    BADGES,
    badge,
    ci95,
    claim_section,
    conclusion,
    counts,
    effect,
    finding,
    n,
    title,
    unit,
)
from jaxinv.experiments.claims.running import run_claims
from jaxinv.report.pages import closing_blocks
from jaxinv.report.sections import Block, Code, Link, Page, Section, Table, slug
from jaxinv.utils.files import local_path, make_folder, write_json
from jaxinv.utils.tables import text_table
from jaxinv.utils.text import dataset_label

JUDGED = "claims_by_dataset.json"


def run_claims_on(
    datasets: Sequence[str], names: Sequence[str] = (), *, out: str | os.PathLike[str], **options: Any
) -> dict[str, Any]:
    """Judge claims on several datasets, each in a folder of its own in `out`.

    Args:
        datasets: names or paths; two or more.
        names: which claims; none: all.
        out: a folder for all of it.
        options: as for `run_claims`.

    Returns:
        {"datasets": [...], "seconds": ...}: what `run_claims` returns, for each dataset.

    Raises:
        InputError: a claim, dataset or folder that makes no sense, or two datasets of one name.
    """
    started = time.monotonic()
    labels = [dataset_label(load_dataset(name, data_dir=options.get("data_dir")).name) for name in datasets]
    folders = [slug(label.lower()) for label in labels]
    if len(set(folders)) < len(folders):
        raise InputError(f"dataset: {', '.join(datasets)} has a dataset twice; give each once")
    root = local_path("out", out)
    if root.exists() and not root.is_dir():
        raise InputError(f"out: {root} is not a folder; give a new one")
    if root.is_dir() and any(root.iterdir()) and not any((root / folder).is_dir() for folder in folders):
        raise InputError(f"out: {root} holds something else; give a new or empty folder, or that of earlier claims")
    make_folder(root)
    judged = [
        run_claims(names, dataset=dataset, out=root / folder, **options) | {"label": label, "given": dataset}
        for dataset, folder, label in zip(datasets, folders, labels, strict=True)
    ]
    result = {"datasets": judged, "out": str(out), "seconds": round(time.monotonic() - started, 3)}
    write_json(root / JUDGED, result)
    return result


def table(result: Mapping[str, Any]) -> str:
    """Claims and their verdicts on each dataset, as text."""
    judged = result["datasets"]
    rows = [["claim", *(one["label"] for one in judged)]]
    rows += [
        [claims[0]["name"], *(claim["verdict"] for claim in claims)]
        for claims in zip(*(one["claims"] for one in judged), strict=True)
    ]
    return text_table(rows, left=len(rows[0]))


def several_page(result: Mapping[str, Any], *, command: str | None = None) -> Page:
    """The page of claims by datasets."""
    judged = result["datasets"]
    blocks: list[Block] = []
    for claims in zip(*(one["claims"] for one in judged), strict=True):
        parts = [
            Section(title=one["label"], badge=badge(claim), blocks=[str(claim["explanation"]), *rule_of(claim)])
            for one, claim in zip(judged, claims, strict=True)
        ]
        first = claim_section(claims[0])
        blocks.append(Section(title=first.title, anchor=first.anchor, blocks=parts))
    links = [Link(f"All about {one['label']}", f"{slug(one['label'].lower())}/report.html") for one in judged]
    words = ["jaxinv", "claims", "--dataset", *(str(one["given"]) for one in judged), "--seed", str(judged[0]["seed"])]
    words += ["--quick"] if judged[0]["quick"] else []
    labels = [one["label"] for one in judged]
    return Page(
        title="Which claims hold up where?",
        lede=f"Claims about how inputs are presented, each tested on {', '.join(labels)}.",
        headline=agreement(judged),
        findings=[
            " ".join(filter(None, [f"{one['label']}:", conclusion(one["claims"]), counts(one["claims"])]))
            for one in judged
        ],
        opening=[matrix(judged), *links],
        sections=[
            Section(title="Claim by claim", short="Claims", anchor="claims", blocks=blocks),
            Section(
                title="Provenance",
                anchor="provenance",
                blocks=closing_blocks(
                    [Code(command or " ".join(words))], seconds={"total": float(result["seconds"])}, csv=""
                ),
            ),
        ],
    )


def rule_of(claim: Mapping[str, Any]) -> list[Block]:
    """The figures of a claim in a line."""
    return [f"{effect(claim)} {ci95(claim)} {unit(claim)}, n = {n(claim)}."]


def agreement(judged: Sequence[Mapping[str, Any]]) -> str:
    """How many claims have one verdict on all datasets."""
    verdicts = [
        {claim["verdict"] for claim in claims} for claims in zip(*(one["claims"] for one in judged), strict=True)
    ]
    same = sum(len(found) == 1 for found in verdicts)
    where = "both" if len(judged) == 2 else f"all {len(judged)}"
    return f"{same} of {len(verdicts)} claims have the same verdict on {where} datasets."


def matrix(judged: Sequence[Mapping[str, Any]]) -> Table:
    """Claims by datasets."""
    rows = [
        [
            title(claims[0]),
            *(f"{badge(claim).sign} {badge(claim).text}\n{finding(claim)}".rstrip() for claim in claims),
        ]
        for claims in zip(*(one["claims"] for one in judged), strict=True)
    ]
    signs = ", ".join(f"{one.sign} {one.text}" for one in BADGES.values())
    head = ["claim", *(one["label"] for one in judged)]
    anchors = [slug(str(claim["name"])) for claim in judged[0]["claims"]]
    return Table("Verdicts, effects and 95% intervals", head, rows, len(head), (), f"{signs}.", anchors)
