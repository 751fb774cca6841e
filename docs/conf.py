"""Sphinx builds the documentation: `python -m sphinx -W docs docs/_build`."""

import re
from typing import Any

import jaxinv

project = "jaxinv"
author = "the jaxinv authors"
copyright = "2026, the jaxinv authors"
release = version = jaxinv.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
nitpick_ignore_regex = [("py:.*", ".*")]

# pages are notebooks in Markdown; each is executed anew, and an error in one fails the build
nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autoclass_content = "class"
napoleon_google_docstring = True
napoleon_use_ivar = True
napoleon_use_rtype = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

intersphinx_mapping = {}  # pages build without a network

html_theme = "furo"
html_title = f"jaxinv {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_theme_options = {"sidebar_hide_name": False, "navigation_with_keys": True}


def _as_rst(text: str) -> str:
    """Docstrings mark code with single backticks, and mean every other sign; reStructuredText reads some as markup."""
    text = re.sub(r"(?<![`:\w])`([^`]+)`(?![`_])", r"``\1``", text)
    pieces = re.split(r"(``.*?``|\*\*.*?\*\*)", text)
    return "".join(re.sub(r"([|*])", r"\\\1", piece) if index % 2 == 0 else piece for index, piece in enumerate(pieces))


def _process_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    for number, line in enumerate(lines):
        # What follows "Raises:" is one string, with its line breaks.
        field, text = re.match(r"(\s*:\w+[^:]*:)?(.*)", line, re.DOTALL).groups(default="")
        if not text.lstrip().startswith((">>>", "...")):
            lines[number] = field + _as_rst(text)


def setup(app: Any) -> None:
    """What Sphinx calls first."""
    app.connect("autodoc-process-docstring", _process_docstring)
