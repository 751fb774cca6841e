"""What commands print on standard output."""

import json
import os
import sys
import textwrap
from typing import Any


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    print(json.dumps(value, allow_nan=False))


def print_names(names: dict[str, str]) -> None:
    """A name and its line, in two columns."""
    width = max(map(len, names))
    for name, line in names.items():
        print(f"{name:{width}}  {line}")


def fill(text: str) -> str:
    """A paragraph of at most 80 columns."""
    return textwrap.fill(text, 80)


def keep_stdout() -> None:
    """Keep standard output for Python's own prints: what libraries in C++ write there goes to standard error."""
    sys.stdout.flush()
    encoding, errors = sys.stdout.encoding, sys.stdout.errors
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1, encoding=encoding, errors=errors)
    os.dup2(2, 1)
