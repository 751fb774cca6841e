"""Sphinx builds the documentation: `python -m sphinx -W docs docs/_build`."""

import re

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
napoleon_use_rtype = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

intersphinx_mapping = {}  # pages build without a network

html_theme = "furo"
html_title = f"jaxinv {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_theme_options = {"sidebar_hide_name": False, "navigation_with_keys": True}


def _plain_docstring(app, what, name, obj, options, lines):  # noqa: ANN001, ANN202
    """Docstrings mark code with single backticks; reStructuredText wants two."""
    lines[:] = [re.sub(r"(?<![`:\w])`([^`]+)`(?![`_])", r"``\1``", line) for line in lines]


def setup(app):  # noqa: ANN001, ANN201
    app.connect("autodoc-process-docstring", _plain_docstring)
