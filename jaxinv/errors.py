"""The two ways in which a request can fail, and the wording they share.

A message is one line: "FIELD: VALUE is not allowed; give …".
"""

import difflib
import math
from collections.abc import Iterable
from typing import SupportsIndex

LONGEST = 1_000  # letters of a message on a terminal
LONGEST_VALUE = 80  # of a value in a message

FAILURES = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, NotImplementedError)
"""What Python and its libraries raise where a user's function cannot do with what it is given."""


class InputError(ValueError):
    """The request makes no sense; nothing was touched. The command line exits with status 2."""


class DataError(RuntimeError):
    """The request was sound, but a file, the network or the machine failed it. The command line exits with status 1."""


def whole(field: str, value: object, low: int = 1, high: int | None = None, hint: str = "") -> int:
    """A whole number within limits, as a Python int; anything that counts as an integer will do, but no bool.

    >>> whole("chunk", 0)
    Traceback (most recent call last):
    jaxinv.errors.InputError: chunk: 0 is not allowed; give a whole number from 1
    """
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        number = value.__index__()
        if low <= number and (high is None or number <= high):
            return number
    upto = "" if high is None else f" to {high}"
    raise InputError(f"{field}: {value!r} is not allowed; give a whole number from {low}{upto}{hint}")


def number(field: str, value: object) -> float:
    """A finite number, as a Python float; anything that `float` takes will do, but no text and no bool.

    >>> number("illumination", "dim")
    Traceback (most recent call last):
    jaxinv.errors.InputError: illumination: 'dim' is not allowed; give a number
    """
    try:
        if isinstance(value, (str, bool)):
            raise TypeError
        found = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        raise InputError(f"{field}: {value!r} is not allowed; give a number") from None
    if not math.isfinite(found):
        raise InputError(f"{field}: {found} is not allowed; give a finite number")
    return found


def brief(value: object) -> str:
    """A value as messages show it; of one that is long to tell, its type.

    >>> brief("tree"), brief(list(range(1000)))
    ("'tree'", 'list')
    """
    told = repr(value)
    return told if len(told) <= LONGEST_VALUE and "\n" not in told else type(value).__name__


def one_line(error: BaseException) -> str:
    """What another library's error says, all of it in one line; the error's type where it says nothing.

    >>> one_line(ValueError("no\\n  really")), one_line(KeyError())
    ('no really', 'KeyError')
    """
    return " ".join(str(error).split()) or type(error).__name__


def shown(message: object) -> str:
    """A message as a terminal may show it: one line, without what would move the cursor, shortened in its middle.

    >>> shown("two\\nlines, \\x1b[31mred")
    'two lines, \\\\x1b[31mred'
    """
    text = " ".join(str(message).split())
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    # The field stands at the beginning, what is allowed at the end.
    return text if len(text) <= LONGEST else f"{text[: 7 * LONGEST // 10]} [...] {text[-3 * LONGEST // 10 :]}"


def first_line(error: BaseException) -> str:
    """The first line of what another library's error says; the error's type where it says nothing.

    >>> first_line(ValueError("no\\nreally")), first_line(KeyError())
    ('no', 'KeyError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def unknown(field: str, value: object, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a list, with the nearest name that is.

    >>> str(unknown("model", "sofmax", ["softmax", "mlp"]))
    "model: 'sofmax' is not known; did you mean 'softmax'? Give one of softmax, mlp"
    >>> str(unknown("model", "tree", ["softmax", "mlp"]))
    "model: 'tree' is not known; give one of softmax, mlp"
    """
    names = list(known)
    near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    give = f"did you mean {near[0]!r}? Give" if near else "give"
    return InputError(f"{field}: {str(value)!r} is not known; {give} one of {', '.join(names)}")
