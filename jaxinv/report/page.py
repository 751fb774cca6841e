"""A page out of parts: one HTML file that needs nothing else, and the same as Markdown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote

import jinja2
import xarray as xr

from jaxinv.errors import DataError, InputError
from jaxinv.report import claims, tables, words
from jaxinv.report.part import Part
from jaxinv.report.pictures import Picture, learning_rates, pictures
from jaxinv.report.tables import Table

MARK = "made by jaxinv report"


class Section:
    """One part on a page; `brief` among many, with its learning-rate picture alone."""

    def __init__(self, part: Part, *, brief: bool = False) -> None:
        self.part = part
        self.id = part.name or "results"
        self.title = part.title or (not brief and words.READINGS.get(part.name)) or part.name or "Results"
        self.lede = words.lede([part], {})
        self.verdict = words.verdict(part)
        if part.published is not None:
            self.verdict.insert(0, words.replication(part))
        self.tables: list[Table] = [tables.arms_table(part)]
        if part.comparisons:
            self.tables.append(tables.pairs_table(part))
        self.pictures: list[Picture] = list(learning_rates(part) if brief else pictures(part))
        self.methods = words.methods(part)
        self.provenance = tables.provenance_table(part)
        self.study = json.dumps(part.study, indent=1, sort_keys=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class Page:
    """Everything that a page shows.

    Attributes:
      parts: the stored studies, in the order of the page.
      published: arm -> published figure, where the parts are two readings of one text.
      claims: as `claims.json` has them; with claims the page is theirs, and shows of the parts what fits beside.
      about: what else `claims.json` says: dataset, quick, seed.
      seconds: what the run took.
      csv: the file of raw values beside the page; None: no link.
      command: what makes the results; by default what the studies say.
      title: by default a question made of the studies.
    """

    parts: Sequence[Part] = ()
    published: Mapping[str, float] = field(default_factory=dict)
    claims: Sequence[Mapping[str, Any]] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    csv: str | None = None
    command: str | None = None
    title: str | None = None

    def __post_init__(self) -> None:
        if not self.parts and not self.claims:
            raise InputError("results: none given; a report needs at least one stored study, or claims")
        for place, claim in enumerate(self.claims):
            missing = claims.FIELDS - set(claim) if isinstance(claim, Mapping) else claims.FIELDS
            if missing:
                raise DataError(f"claims: number {place + 1} has no {', '.join(sorted(missing))}")

    @cached_property
    def sections(self) -> list[Section]:
        """The parts, as they stand on the page."""
        return [Section(part, brief=bool(self.claims)) for part in self.parts]

    @cached_property
    def context(self) -> dict[str, Any]:
        """What the templates read."""
        return {
            "mark": MARK,
            "sections": self.sections,
            "arms": tables.arm_descriptions(self.parts),
            "seconds": ", ".join(f"{name} {value:.1f} s" for name, value in self.seconds.items()),
            "csv": self.csv,
            **(self._claims() if self.claims else self._studies()),
        }

    def _studies(self) -> dict[str, Any]:
        parts, sections = list(self.parts), self.sections
        two = {part.name for part in parts} >= set(words.READINGS)
        if two:
            headline = words.both_readings(parts)
            findings = [f"{section.title.split(':')[0]}. {section.verdict.pop(0)}" for section in sections]
        else:
            headline, findings = sections[0].verdict[0], sections[0].verdict[1:]
        one = self.command or words.command(parts)
        commands = [one] if one else [line for line in map(words.run_command, parts) if line]
        return {
            "title": self.title or words.question(parts),
            "lede": words.lede(parts, self.published),
            "headline": headline,
            "findings": findings,
            "why": words.WHY if two else None,
            "readings": tables.readings_table(parts, dict(self.published)) if two and self.published else None,
            "single": len(sections) == 1,
            "commands": commands,
            "python": words.python(parts[0]) if len(parts) == 1 else None,
            "own_objects": any(words.run_command(part) is None for part in parts),
        }

    def _claims(self) -> dict[str, Any]:
        judged = [claims.shown(claim) for claim in self.claims]
        ranked = sorted(self.sections, key=lambda section: -len(section.part.cells))  # the widest grid first
        return {
            "title": self.title or "What holds of the claims?",
            "lede": claims.lede(self.about),
            "headline": claims.counts(self.claims),
            "findings": [],
            "overview": claims.overview(judged),
            "claims": judged,
            "featured": [(section, picture) for section in ranked for picture in section.pictures],
            "commands": [self.command or claims.command(self.claims, self.about)],
        }

    def html(self) -> str:
        """The page, self-contained: no request leaves it, and no script runs in it."""
        return _environment(html=True).get_template(f"{self._kind}.html.jinja").render(self.context)

    def markdown(self, pictures_in: str = "report_files") -> str:
        """The page as Markdown, its pictures being the PNG files of a folder."""
        return (
            _environment(html=False)
            .get_template(f"{self._kind}.md.jinja")
            .render(self.context | {"folder": pictures_in})
        )

    def picture_files(self) -> dict[str, bytes]:
        """The PNG files that the Markdown shows, by name."""
        return {f"{picture.key}.png": picture.png for section in self.sections for picture in section.pictures}

    @property
    def _kind(self) -> str:
        return "claims" if self.claims else "report"


def render(results: "xr.Dataset | Part | Sequence[xr.Dataset | Part]", **options: Any) -> str:
    """Results as one self-contained HTML page.

    Args:
        results: one stored study or several: as `jaxinv.load` gives them, or as `Part` with what else is known.
        options: further fields of `Page`.

    Raises:
        InputError: no results, or dims that are not those of results.
    """
    return Page(parts=_parts(results), **options).html()


def render_markdown(results: "xr.Dataset | Part | Sequence[xr.Dataset | Part]", **options: Any) -> str:
    """`render` as Markdown; `Page.picture_files` are the pictures it shows."""
    return Page(parts=_parts(results), **options).markdown()


def _parts(results: Any) -> list[Part]:
    several = [results] if isinstance(results, xr.Dataset | Part) else list(results)
    return [item if isinstance(item, Part) else Part(results=item) for item in several]


def _environment(*, html: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxinv.report"),
        autoescape=html,
        finalize=None if html else _escaped_markdown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": _code, "url": lambda path: Verbatim(quote(path))}
    return environment


class Verbatim(str):
    """Text that Markdown is to take as it is."""


def _escaped_markdown(value: Any) -> Any:
    """Text that Markdown, and the HTML that it may hold, cannot take for anything else."""
    if not isinstance(value, str) or isinstance(value, Verbatim):
        return value
    text = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in "\\`*_[]|#~$":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def _code(text: str) -> Verbatim:
    fence = "```"
    while fence in text:
        fence += "`"
    return Verbatim(f"{fence}\n{text}\n{fence}")
