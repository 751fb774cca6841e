"""The sections that a stored study gives, and the page that they make."""

import json
from collections.abc import Callable, Mapping, Sequence

import xarray as xr

from jaxinv.errors import InputError
from jaxinv.report import figures, sentences, tables
from jaxinv.report.sections import Block, Code, Details, Link, Page, Section, slug
from jaxinv.report.study import StoredStudy

OWN_OBJECTS = (
    "The study has parts that a command cannot name, such as objects of the user's own: build the study in Python with "
    "them."
)


def study_page(
    studies: xr.Dataset | StoredStudy | Sequence[xr.Dataset | StoredStudy],
    *,
    title: str = "",
    command: str | None = None,
    seconds: Mapping[str, float] | None = None,
    csv: str = "",
) -> Page:
    """The page of one or several stored studies.

    Args:
        studies: results as `jaxinv.load` gives them, or as `StoredStudy` with what else is known.
        title: by default a question made of the studies.
        command: what makes the results; by default what the studies say.
        seconds: what the studies took.
        csv: the file of raw values beside the page; "": no link.

    Raises:
        InputError: no results, or dims that are not those of results.
        DataError: no trial is done.
    """
    several = [studies] if isinstance(studies, xr.Dataset | StoredStudy) else list(studies)
    shown = [study if isinstance(study, StoredStudy) else StoredStudy(results=study) for study in several]
    if not shown:
        raise InputError("results: none given; give at least one stored study")
    headline, *findings = sentences.verdict(shown[0])
    return Page(
        title=title or sentences.question(shown),
        lede=sentences.lede(shown[0]),
        headline=headline,
        findings=findings,
        sections=[
            *(study_section(study, sentences.verdict(study) if len(shown) > 1 else ()) for study in shown),
            methods_section(shown),
            provenance_section(shown, commands=[command] if command else None, seconds=seconds, csv=csv),
        ],
    )


def study_section(study: StoredStudy, lines: Sequence[str]) -> Section:
    """A study's sentences, tables and figures."""
    title = study.title or study.name or "Results"
    blocks: list[Block] = [*lines, tables.arms_table(study), *figures.figures(study)]
    if study.comparisons:
        blocks.append(tables.pairs_table(study))
    if (transfer := tables.transfer_table(study)) is not None:
        blocks.append(transfer)
    return Section(title=title, short=short_title(study), anchor=slug(study.name) or "results", blocks=blocks)


def methods_section(studies: Sequence[StoredStudy]) -> Section:
    """How each study was done, and what its arms do."""
    arms = tables.described_arms_table(studies)
    blocks = each_study(studies, lambda study: [sentences.methods(study)])
    return Section(title="Methods", anchor="methods", blocks=[*blocks, *([arms] if arms else [])])


def provenance_section(
    studies: Sequence[StoredStudy],
    *,
    commands: Sequence[str] | None = None,
    seconds: Mapping[str, float] | None = None,
    csv: str = "",
) -> Section:
    """What identifies each study, and what makes it again."""
    blocks = each_study(studies, lambda study: [tables.provenance_table(study), _study_json(study)])
    again: list[Block] = [Code(line) for line in commands or map(sentences.run_command, studies) if line]
    if any(sentences.run_command(study) is None for study in studies):
        again.append(OWN_OBJECTS)
    elif len(studies) == 1:
        again.append(Details("The same from Python", [Code(sentences.python(studies[0]))]))
    return Section(
        title="Provenance", anchor="provenance", blocks=[*blocks, *closing_blocks(again, seconds=seconds, csv=csv)]
    )


def closing_blocks(again: Sequence[Block], *, seconds: Mapping[str, float] | None, csv: str) -> list[Block]:
    """The end of every page: the time that it took, what makes it again, and the raw values."""
    took = ", ".join(f"{name} {value:.1f} s" for name, value in (seconds or {}).items())
    return [
        *([f"Time: {took}."] if took else []),
        Section(title="To reproduce", blocks=again),
        *([Link("Raw values of every trial (CSV)", csv)] if csv else []),
    ]


def each_study(studies: Sequence[StoredStudy], blocks: Callable[[StoredStudy], Sequence[Block]]) -> list[Block]:
    """Blocks of each study, under its name where there are several."""
    if len(studies) == 1:
        return list(blocks(studies[0]))
    return [Section(title=short_title(study), blocks=blocks(study)) for study in studies]


def short_title(study: StoredStudy) -> str:
    """A study's title up to its first colon."""
    return (study.title or study.name or "Results").split(":")[0]


def _study_json(study: StoredStudy) -> Details:
    return Details("The study, as JSON", [Code(json.dumps(study.study, indent=1, sort_keys=True))])
