"""What a page is made of: sections of sentences, tables, figures, code and links.

Whoever has something to report hands these over; nothing here knows what they are about.
"""

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from matplotlib import figure as matplotlib_figure

from jaxinv import plots

SCALE = 128  # CSS pixels to a figure's inch: letters of body size


class Table(NamedTuple):
    """Text in rows; the first `names` columns hold names, the others numbers. `strong` are rows to highlight; `anchors`
    are the sections that the rows lead to."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1
    strong: Sequence[int] = ()
    note: str = ""
    anchors: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure: `key` names its file, `alt` says in numbers what it shows, for those who cannot see it."""

    key: str
    title: str
    alt: str
    caption: str
    make: Callable[[], matplotlib_figure.Figure]

    @cached_property
    def drawn(self) -> matplotlib_figure.Figure:
        """The figure as matplotlib has it."""
        return self.make()

    @property
    def width(self) -> int:
        """In CSS pixels."""
        return round(float(self.drawn.get_size_inches()[0]) * SCALE)

    @property
    def height(self) -> int:
        """In CSS pixels."""
        return round(float(self.drawn.get_size_inches()[1]) * SCALE)

    @cached_property
    def data_uri(self) -> str:
        """The figure itself as an address, for a page that needs no other file."""
        return "data:image/svg+xml;base64," + base64.b64encode(plots.to_bytes(self.drawn, ".svg")).decode()

    @cached_property
    def png(self) -> bytes:
        """The content of a PNG file."""
        return plots.to_bytes(self.drawn, ".png", dpi=160)


class Bullets(NamedTuple):
    """Sentences, one to a line."""

    lines: Sequence[str]


class Code(NamedTuple):
    """Text as it is: a command, a program, JSON."""

    text: str


class Link(NamedTuple):
    """A file beside the page, to download."""

    text: str
    address: str


class Fact(NamedTuple):
    """A term and its value; the value may begin with an address."""

    term: str
    value: str
    address: str = ""


class Facts(NamedTuple):
    """Terms and their values, side by side."""

    facts: Sequence[Fact]


class Details(NamedTuple):
    """Blocks that a page shows when it is asked to."""

    summary: str
    blocks: Sequence["Block"]


class Badge(NamedTuple):
    """A verdict before a section's title; `tone` is positive, negative or neutral."""

    sign: str
    text: str
    tone: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands under it; sections may hold sections.

    Attributes:
      title: the heading.
      blocks: what stands under it; a string is a paragraph.
      anchor: the part of the page's address that leads here. Sections of a page need one each.
      short: the title in the table of contents; by default the title.
      badge: a verdict.
    """

    title: str
    blocks: Sequence["Block"]
    anchor: str = ""
    short: str = ""
    badge: Badge | None = None


Block = str | Bullets | Table | Figure | Code | Link | Facts | Details | Section


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page: what was asked, the answer, and the sections that show how it was found.

    Attributes:
      title: the question.
      lede: what was done, in a sentence.
      headline: the answer.
      findings: further sentences beside it.
      opening: blocks before the table of contents.
      sections: the body.
    """

    title: str
    headline: str
    lede: str = ""
    findings: Sequence[str] = ()
    opening: Sequence[Block] = ()
    sections: Sequence[Section] = field(default=())

    @property
    def figures(self) -> list[Figure]:
        """Every figure of the page, in order."""
        return list(_figures([*self.opening, *self.sections]))


def slug(text: str) -> str:
    """Text as an anchor, or as the name of a file.

    >>> slug("runs/a b")
    'runs-a-b'
    """
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in text)


def _figures(blocks: Sequence[Block]) -> Iterator[Figure]:
    for block in blocks:
        if isinstance(block, Figure):
            yield block
        elif isinstance(block, Section | Details):
            yield from _figures(block.blocks)
