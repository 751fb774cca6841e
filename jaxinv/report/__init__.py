"""Pages made of stored results: self-contained HTML and Markdown. What they say and show is `jaxinv.stats` and
`jaxinv.plots`; nothing is computed here, but for the border and the curvature bounds of a dataset that is at hand.
"""

from jaxinv.report.folder import read_folder, write_report
from jaxinv.report.page import Page, render, render_markdown
from jaxinv.report.part import Part

__all__ = ["Page", "Part", "read_folder", "render", "render_markdown", "write_report"]
