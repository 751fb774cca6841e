"""Tests that rest on the signs of paired differences alone, whatever the shape of their distribution.

If the two arms were alike, each difference d_t = a_t - b_t could as well have been -d_t.
"""

from typing import Any, NamedTuple

import numpy as np

from jaxinv.errors import InputError
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
    checks.count("resamples", resamples)
    checks.count("seed", seed, 0)
    d = _differences(a, b)
    if d.size == 0:
        return PTest(float("nan"), "no trials")
    d = d[d != 0]
    if d.size <= EXACT:
        return PTest(_exact(d), "exact")
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


def wilcoxon(a: Any, b: Any, *, resolution: float = 0.0) -> PTest:
    """Wilcoxon's signed-rank test of paired differences (`scipy.stats.wilcoxon`); zero differences are left out.

    Exact for up to 36 pairs, with ties or without, and for up to 50 without ties; else the normal approximation
    with its correction for ties.

    Args:
        a, b: the same trials in two arms [T].
        resolution: sizes of differences no further apart than this are one size (0: none are), so that ties broken
            by float32 rounding count as ties.

    Returns:
        `PTest(p_value, method)`: p = 1 where all differences are zero, NaN without trials.

    Raises:
        InputError: shapes that differ or are not [T], values that are not finite numbers.
    """
    d = _differences(a, b)
    if resolution > 0 and d.size:
        d = np.sign(d) * _merged(np.abs(d), resolution)
    if d.size == 0:
        return PTest(float("nan"), "no trials")
    d = d[d != 0]
    if d.size == 0:
        return PTest(1.0, "exact")
    from scipy import stats

    tied = d.size <= 50 and np.unique(np.abs(d)).size < d.size
    if tied and d.size <= EXACT:
        return PTest(_exact(np.sign(d) * stats.rankdata(np.abs(d))), "exact")
    exact = d.size <= 50 and not tied
    test: Any = stats.wilcoxon(d)
    return PTest(float(test.pvalue), "exact" if exact else "normal approximation")


def _differences(a: Any, b: Any) -> np.ndarray:
    first, second = checks.pairs(a, b)
    if first.ndim != 1:
        raise InputError(f"a: shape {first.shape}; one value per trial, shape (T,), is needed")
    return first - second


def _merged(size: np.ndarray, resolution: float) -> np.ndarray:
    """Sizes with clumps of width `resolution` made equal; where values lie dense, a grid that fine cuts them up."""
    values, back = np.unique(size, return_inverse=True)
    first = np.diff(values, prepend=-np.inf) > resolution
    first |= (values > 0) & (np.concatenate([[0.0], values[:-1]]) == 0)  # no difference is not a small one
    clump = np.cumsum(first) - 1
    start = values[first]
    last = values[np.append(np.flatnonzero(first)[1:] - 1, values.size - 1)]
    wide = (last - start > 2 * resolution)[clump]
    grid = np.round((values - start[clump]) / resolution) * resolution
    return (start[clump] + np.where(wide, grid, 0.0))[back]


def _exact(d: np.ndarray) -> float:
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
