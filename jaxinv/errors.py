"""The two ways in which a request can fail, and the wording they share.

A message is one line: the field or file, the value found, and what is allowed.
"""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """The request makes no sense; nothing was touched. The command line exits with status 2."""


class DataError(RuntimeError):
    """The request was sound, but a file, the network or the machine failed it. The command line exits with status 1."""


def unknown(field: str, value: object, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a list, with the nearest name that is.

    >>> str(unknown("model", "sofmax", ["softmax", "mlp"]))
    "model: 'sofmax' is not known; did you mean 'softmax'? Allowed: softmax, mlp"
    """
    names = list(known)
    near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"{field}: {str(value)!r} is not known; {hint}Allowed: {', '.join(names)}")
