"""Two arms' correctness on the same test images [T, M]: McNemar's tests of paired proportions."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxinv.errors import InputError
from jaxinv.utils.jsonable import jsonable

SLAB = 1 << 25  # table cells looked at together


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """Which of two arms is right where the other is wrong.

    `only_a`, `only_b` [T] count the images that one arm alone had right, `p_value` [T] is each trial's exact test.
    `pooled` is over all trials, each image one cluster of T dependent results (Obuchowski 1998).
    """

    only_a: np.ndarray
    only_b: np.ndarray
    p_value: np.ndarray
    pooled_only_a: int
    pooled_only_b: int
    pooled_p_value: float
    covers: str = "each p: one trained pair on new test images; pooled: these trained networks together on new images"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists for JSON."""
        return jsonable(self)


def mcnemar(correct_a: Any, correct_b: Any) -> McNemar:
    """McNemar's tests of two arms' per-example correctness, each trial alone (exact) and all together.

    A trial's p is the two-sided binomial test of its discordant images against 1/2, 1 where there are none. The
    pooled p takes z = sum x_i / sqrt(sum x_i^2), x_i the image's net count over trials, as normal: images are
    independent, results of one image are not.

    Args:
        correct_a, correct_b: bool [T, M].

    Raises:
        InputError: not two boolean tables of one shape with at least one cell.

    >>> mcnemar([[True, True, True, False]], [[False, False, False, False]]).p_value.tolist()
    [0.25]
    """
    from scipy import special

    a, b = map(np.asarray, correctness_tables(correct_a, correct_b))
    by_trial, by_image, _, _ = margins(a, b)
    discordant = np.count_nonzero(a != b, axis=1)
    only_a = (discordant + by_trial) // 2
    only_b = discordant - only_a
    # P(X <= k), X binomial(m, 1/2), by the incomplete beta function
    fewer = np.minimum(only_a, only_b)
    p = np.minimum(1.0, 2 * special.betainc(np.maximum(discordant - fewer, 1), fewer + 1, 0.5))
    spread = float(np.square(by_image.astype(np.float64)).sum())
    z = float(by_image.sum()) / np.sqrt(spread) if spread > 0 else 0.0
    return McNemar(
        only_a=only_a,
        only_b=only_b,
        p_value=p,
        pooled_only_a=int(only_a.sum()),
        pooled_only_b=int(only_b.sum()),
        pooled_p_value=float(2 * special.ndtr(-abs(z))),
    )


def correctness_tables(correct_a: Any, correct_b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both tables, bool [T, M], once they are known to be tables of the same trials and images.

    A DataArray stays one: it may be larger than memory.
    """
    a, b = (table if hasattr(table, "dims") else np.asarray(table) for table in (correct_a, correct_b))
    for field, table in (("correct_a", a), ("correct_b", b)):
        if table.dtype != np.bool_ or table.ndim != 2 or table.size == 0:
            raise InputError(f"{field}: {table.dtype} {table.shape} is not allowed; give booleans of shape (T, M)")
    if a.shape != b.shape:
        raise InputError(f"correct_b: shape {b.shape} is not allowed; give correct_a's shape, {a.shape}")
    return a, b


def margins(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, tuple[int, int]]:
    """Of the table D = a - b [T, M]: its sums over images [T] and over trials [M], its sum of squares, and how many
    cells each arm had right."""
    trials, images = a.shape
    by_trial, by_image, squares, right = np.empty(trials, np.int64), np.zeros(images, np.int64), 0, [0, 0]
    slab = max(1, SLAB // images)
    for start in range(0, trials, slab):
        here = slice(start, min(start + slab, trials))
        here_a, here_b = np.asarray(a[here]), np.asarray(b[here])
        d = here_a.astype(np.int8) - here_b.astype(np.int8)
        by_trial[here] = d.sum(axis=1, dtype=np.int64)
        by_image += d.sum(axis=0, dtype=np.int64)
        squares += int(np.count_nonzero(d))
        right = [right[0] + int(np.count_nonzero(here_a)), right[1] + int(np.count_nonzero(here_b))]
    return by_trial, by_image, squares, (right[0], right[1])
