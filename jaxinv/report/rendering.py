"""A page as one HTML file that needs no other, and as Markdown."""

import base64
import hashlib
from typing import Any
from urllib.parse import quote

import jinja2

from jaxinv.report.sections import Page, slug

MARK = "made by jaxinv report"
FIGURES = "report_files"


def render_html(page: Page) -> str:
    """A page as HTML: it loads nothing. Its one script, which sorts tables, is part of it, and it runs no other."""
    environment = _environment(html=True)
    script = environment.get_template("page.js").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.get_template("page.html.jinja")
    return template.render(page=page, mark=MARK, script=script, script_hash=f"sha256-{digest}")


def render_markdown(page: Page, figures_in: str = FIGURES) -> str:
    """A page as Markdown; its figures are PNG files in a folder beside it."""
    template = _environment(html=False).get_template("page.md.jinja")
    return template.render(page=page, mark=MARK, folder=figures_in)


def _environment(*, html: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxinv.report"),
        autoescape=html,
        finalize=None if html else _escape_markdown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "kind": lambda block: type(block).__name__,
        "code": _fenced,
        "slug": slug,
        "url": lambda path: Verbatim(quote(path, safe="/:?&=#%")),
        "verbatim": Verbatim,
    }
    return environment


class Verbatim(str):
    """Text that Markdown is to take as it is."""


def _escape_markdown(value: Any) -> Any:
    """Text that neither Markdown nor the HTML inside it can take for markup."""
    if not isinstance(value, str) or isinstance(value, Verbatim):
        return value
    text = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in "\\`*_[]|#~$":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def _fenced(text: str) -> Verbatim:
    fence = "```"
    while fence in text:
        fence += "`"
    return Verbatim(f"{fence}\n{text}\n{fence}")
