"""What commands print on standard output."""

import json
import os
import re
import sys
import textwrap
from typing import Any

from jaxinv.utils.tables import room, text_rows


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    print(json.dumps(value, allow_nan=False))


def print_names(names: dict[str, str]) -> None:
    """A name and its line, in two columns."""
    print(text_rows(list(names.items()), room()))


COLOURS = {"supported": 32, "holds": 32, "refuted": 31, "does not hold": 31, "inconclusive": 33, "open": 33}
"""Of verdicts, as terminals number them: green, red, yellow."""


def print_verdicts(text: str) -> None:
    """Tables with verdicts, which a terminal shows in colour. https://no-color.org turns that off."""
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        cell = rf"(?<=  )({'|'.join(COLOURS)})(?=  |$)"  # between the gaps of columns
        text = re.sub(cell, lambda found: f"\x1b[{COLOURS[found[0]]}m{found[0]}\x1b[0m", text, flags=re.MULTILINE)
    print(text)


def fill(text: str) -> str:
    """A paragraph of at most 80 columns."""
    return textwrap.fill(text, 80)


def keep_stdout(*, quiet: bool = False) -> None:
    """Keep standard output for Python's own prints: what libraries in C++ write there goes to standard error.

    With `quiet` it goes nowhere.
    """
    sys.stdout.flush()
    encoding, errors = sys.stdout.encoding, sys.stdout.errors
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1, encoding=encoding, errors=errors)
    os.dup2(os.open(os.devnull, os.O_WRONLY) if quiet else 2, 1)
