"""Numbers, intervals, p-values, counts and lists as people read them; each is formatted here and nowhere else."""

from collections.abc import Sequence

import numpy as np

MINUS = "−"


def number(value: float | None, form: str = ".4f") -> str:
    """A number with a true minus sign; "n/a" where there is none.

    >>> number(-0.5), number(0.25, "+.2f"), number(float("nan")), number(float("inf"))
    ('−0.5000', '+0.25', 'n/a', 'inf')
    """
    return "n/a" if value is None or np.isnan(value) else format(value, form).replace("-", MINUS)


def interval(ends: Sequence[float | None], form: str = ".4f") -> str:
    """An interval from its two ends; "n/a" where one is not finite.

    >>> interval((-0.5, 0.25), "+.2f"), interval((None, None))
    ('[−0.50, +0.25]', 'n/a')
    """
    low, high = ends
    if low is None or high is None or not np.isfinite([low, high]).all():
        return "n/a"
    return f"[{number(low, form)}, {number(high, form)}]"


def p_value(p: float | None, *, relation: bool = False) -> str:
    """A p-value: four decimals, then powers of ten. With `relation`, as it stands behind the letter p in a sentence.

    >>> p_value(0.01234), p_value(0.00001234), p_value(0.0), p_value(float("nan"))
    ('0.0123', '1.2e-05', '< 1e-300', 'n/a')
    >>> p_value(0.01234, relation=True), p_value(0.0, relation=True)
    ('= 0.0123', '< 1e-300')
    """
    if p is None or np.isnan(p):
        return "n/a"
    if p == 0:
        return "< 1e-300"
    return ("= " if relation else "") + (f"{p:.4f}" if p >= 0.001 else f"{p:.1e}")


def percent(share: float, digits: int = 1) -> str:
    """A share, such as an accuracy, in percent.

    >>> percent(0.91879, 2)
    '91.88%'
    """
    return f"{100 * share:.{digits}f}%"


def points(share: float, digits: int = 1) -> str:
    """A difference of two shares in percentage points.

    >>> points(0.0531), points(0.01)
    ('5.3 points', '1.0 points')
    """
    return f"{100 * share:.{digits}f} points"


def plural(count: int, noun: str) -> str:
    """A count and its noun.

    >>> plural(1, "trial"), plural(2000, "trial")
    ('1 trial', '2,000 trials')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[str], last: str = "and") -> str:
    """Names as in a sentence, with a word before the last one.

    >>> listed(["a", "b", "c"]), listed(["a", "b"], "or")
    ('a, b and c', 'a or b')
    """
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


DATASETS = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "kmnist": "KMNIST", "cifar10": "CIFAR-10"}


def dataset_label(name: str) -> str:
    """A dataset's name as people write it; a file goes by its own.

    >>> dataset_label("tfds:cifar10"), dataset_label("data/birds.npz")
    ('CIFAR-10', 'birds.npz')
    """
    short = name.removeprefix("tfds:").rsplit("/", 1)[-1]
    return DATASETS.get(short, short)


def plain(text: str) -> str:
    """The text with signs of the keyboard, for terminals: not all of them can write the true minus.

    >>> plain(interval((-0.5, 0.25))), plain("± 0.1")
    ('[-0.5000, 0.2500]', '+- 0.1')
    """
    return text.replace(MINUS, "-").replace("±", "+-")
