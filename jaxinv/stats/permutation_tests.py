"""The permutation test of paired differences: random signs, whatever the shape of their distribution.

If the two arms were alike, each difference d_t = a_t - b_t could as well have been -d_t (Fisher 1935).
"""

from typing import Any, NamedTuple

import numpy as np

from jaxinv.errors import whole
from jaxinv.stats import checks

EXACT = 36
"""Up to this many non-zero differences all 2^n sign patterns are counted: two halves of 2^18 sums each."""

FLIPPED = 1024
"""Monte-Carlo sign patterns flip this many differences one by one, the largest; the rest is summed as a normal."""

_TIE = 1e-12  # sums this close, relative to the sum of sizes, are equal: rounding must not break ties


class PTest(NamedTuple):
    """A two-sided p-value and how it was had."""

    p_value: float
    method: str


def sign_flip(a: Any, b: Any, *, resamples: int = 100_000, seed: int = 0) -> PTest:
    """Permutation test of a mean paired difference: how often random signs give a sum as far from 0 as the data's.

    Exact for up to 36 non-zero differences (p counts all 2^n patterns). Beyond, Monte Carlo: p = (1 + hits) /
    (1 + resamples), never below 1 / (1 + resamples). Beyond 1,024 differences the largest 1,024 are flipped one by
    one and the sum of the others, each of which matters little, is drawn from the normal distribution with its
    variance, so that a million trials cost what a thousand do.

    Args:
        a, b: the same trials in two arms [T].
        resamples: Monte-Carlo sign patterns.
        seed: of the Monte-Carlo draws; the exact test draws nothing.

    Returns:
        `PTest(p_value, method)`: p = 1 where all differences are zero, NaN without trials.

    Raises:
        InputError: shapes that differ or are not [T], values that are not finite numbers, no whole number of resamples.

    >>> sign_flip([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])
    PTest(p_value=0.25, method='exact')
    """
    whole("resamples", resamples)
    whole("seed", seed, 0)
    d = checks.differences(a, b)
    if d.size == 0:
        return PTest(float("nan"), "no trials")
    d = d[d != 0]
    if d.size <= EXACT:
        return PTest(exact_sign_flip(d), "exact")
    rng = np.random.default_rng(seed)
    size = np.abs(d)
    rest = 0.0
    if size.size > FLIPPED:
        size = np.partition(size, size.size - FLIPPED)
        rest = float(np.sqrt(np.square(size[:-FLIPPED]).sum()))
        size = size[-FLIPPED:]
    observed = abs(float(d.sum())) - _TIE * float(np.abs(d).sum())
    hits = 0
    for start in range(0, resamples, 25_000):  # 25,000 patterns of 1,024 signs: 3 MB
        wide = min(25_000, resamples - start)
        sums = _random_sums(rng, size, wide)
        if rest:
            sums += rest * rng.standard_normal(wide)
        hits += int(np.count_nonzero(np.abs(sums) >= observed))
    method = f"Monte Carlo, {resamples:,} sign patterns" + (", smallest differences as a normal" if rest else "")
    return PTest((1 + hits) / (1 + resamples), method)


def exact_sign_flip(d: np.ndarray) -> float:
    """Share of the 2^n sign patterns whose |sum| reaches the data's.

    Each pattern is one sum of the first half plus one of the second; with one half sorted, the partners that take a
    sum of the other beyond the bound are found by bisection: 2^(n/2) work for 2^n patterns.
    """
    if d.size == 0:
        return 1.0
    size = np.abs(d)
    bound = abs(float(d.sum())) - _TIE * float(size.sum())
    if bound <= 0:
        return 1.0
    left = _all_sums(size[: size.size // 2])
    right = np.sort(_all_sums(size[size.size // 2 :]))
    above = right.size - np.searchsorted(right, bound - np.sort(left), side="left")
    return min(1.0, 2 * int(above.sum()) / 2**size.size)


def _all_sums(values: np.ndarray) -> np.ndarray:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return sums


def _random_sums(rng: np.random.Generator, size: np.ndarray, wide: int) -> np.ndarray:
    """Sums of the values under `wide` random sign patterns: one random byte picks the signs of eight values at once."""
    groups = -(-size.size // 8)
    padded = np.zeros(8 * groups)
    padded[: size.size] = size
    signs = 1 - 2 * ((np.arange(256)[:, None] >> np.arange(8)) & 1)
    table = padded.reshape(groups, 8) @ signs.T.astype(np.float64)
    picks = np.frombuffer(rng.bytes(groups * wide), np.uint8).reshape(groups, wide)
    sums = np.zeros(wide)
    for row, pick in zip(table, picks, strict=True):
        sums += row[pick]
    return sums
