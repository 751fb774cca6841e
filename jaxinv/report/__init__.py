"""Reports: pages of sections, as HTML that needs no other file and as Markdown.

Whoever has something to report hands over sections (`sections`); `pages` makes those of any stored study. What they say
is computed by `jaxinv.stats` and drawn by `jaxinv.plots`.
"""

from jaxinv.report.folder import read_studies
from jaxinv.report.pages import study_page
from jaxinv.report.rendering import render_html, render_markdown
from jaxinv.report.sections import Page, Section
from jaxinv.report.study import StoredStudy
from jaxinv.report.writing import write_page

__all__ = [
    "Page",
    "Section",
    "StoredStudy",
    "read_studies",
    "render_html",
    "render_markdown",
    "study_page",
    "write_page",
]
