"""Bootstrap intervals of a mean, an interquartile mean or a median, as one compiled JAX program for any n.

Two facts make it fast. The mean of n draws is the sum of n / 2 draws from the table of all sums of two values: one
random number out of n^2 picks both, exactly. And a counter-based generator needs no state, so that the random number,
the look-up and the sum are one fused loop over the resamples; no resample is ever written to memory.

For order statistics, the k-th smallest of n uniforms given the next is U_(k) = U_(k+1) V^(1/k): the sorted resample is
walked from its top without sorting it.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from jaxinv.errors import InputError
from jaxinv.stats import checks
from jaxinv.stats.description import plain

STATISTICS = ("mean", "iqm", "median")
METHODS = ("bca", "percentile")

_PAIRED = 255  # trials up to which two are drawn at once: n^2 < 2^16, and the table of sums fits the first cache
_UNROLL = 5  # pairs of draws in one pass of the loop


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """A bootstrap interval: `estimate` is the statistic of the data, `standard_error` its spread over resamples."""

    estimate: float
    low: float
    high: float
    standard_error: float
    method: str
    statistic: str
    resamples: int

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return {name: plain(getattr(self, name)) for name in self.__dataclass_fields__}


def bootstrap_interval(
    values: Any,
    *,
    statistic: str = "mean",
    method: str = "bca",
    confidence: float = 0.95,
    resamples: int = 100_000,
    seed: int = 0,
) -> Bootstrap:
    """Bootstrap interval for a statistic of n trials; for two paired arms, of their differences.

    BCa (Efron 1987) shifts the percentiles by the median bias z0 and the acceleration a: quantiles
    Phi(z0 + (z0 + z) / (1 - a (z0 + z))), with a = sum u^3 / (6 (sum u^2)^1.5) of the jackknife's deviations u, in
    closed form for every statistic here. Memory grows with n + resamples, time with n x resamples.

    One value, or all alike: an interval of width zero at the estimate.

    Args:
        values: [n], finite.
        statistic: "mean", "iqm" (`scipy.stats.trim_mean(., 0.25)`) or "median".
        method: "bca" or "percentile".
        confidence: level of the interval.
        resamples: resamples of n draws each.
        seed: same seed, same interval, on the same machine and version of JAX.

    Raises:
        InputError: no values, a value that is not finite, or an option outside what is allowed.

    >>> drawn = bootstrap_interval([1.0, 2.0, 3.0, 4.0], resamples=1000)
    >>> drawn.estimate, 1.0 <= drawn.low < 2.5 < drawn.high <= 4.0
    (2.5, True)
    """
    x = np.sort(checks.vector("values", values))
    checks.choice("statistic", statistic, STATISTICS)
    checks.choice("method", method, METHODS)
    checks.probability("confidence", confidence)
    checks.count("resamples", resamples)
    checks.count("seed", seed, 0)
    if x.size == 0:
        raise InputError("values: no trials to resample")
    weights = _rank_weights(statistic, x.size)
    centre = float(x[x.size // 2])  # what is drawn in float32 are deviations from here
    deviations = x - centre
    estimate = float(weights @ deviations)
    if x[0] == x[-1]:
        drawn = np.zeros(1)
        levels = np.array([0.5, 0.5])
    else:
        draw = _draw_means if statistic == "mean" else _draw_rank_sums
        drawn = draw(deviations, weights, resamples, seed)
        tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
        levels = tails if method == "percentile" else _bca_levels(drawn, estimate, deviations, statistic, tails)
    low, high = centre + _quantiles(drawn, levels)
    return Bootstrap(
        estimate=centre + estimate,
        low=float(low),
        high=float(high),
        standard_error=float(drawn.std(dtype=np.float64)),
        method=method,
        statistic=statistic,
        resamples=resamples,
    )


def _rank_weights(statistic: str, n: int) -> np.ndarray:
    """Weights [n] of the sorted values whose sum the statistic is."""
    cut = {"mean": 0, "iqm": n // 4, "median": (n - 1) // 2}[statistic]
    weights = np.zeros(n)
    weights[cut : n - cut] = 1 / (n - 2 * cut)
    return weights


def _jackknife(ordered: np.ndarray, statistic: str) -> np.ndarray:
    """The statistic [n] without each value in turn: ranks below the missing one stay, those above move down."""
    weights = _rank_weights(statistic, ordered.size - 1)
    below = np.concatenate([[0.0], np.cumsum(weights * ordered[:-1])])
    above = np.concatenate([[0.0], np.cumsum((weights * ordered[1:])[::-1])])[::-1]
    return below + above


def _bca_levels(
    drawn: np.ndarray, estimate: float, ordered: np.ndarray, statistic: str, tails: np.ndarray
) -> np.ndarray:
    from scipy import special

    # Draws equal to the estimate count half; float32 sums of the same values in another order differ by rounding.
    near = 4 * np.finfo(np.float32).eps * float(np.abs(ordered).max())
    below = np.count_nonzero(drawn < estimate - near)
    equal = np.count_nonzero(drawn <= estimate + near) - below
    z0 = special.ndtri((below + equal / 2) / drawn.size)
    jackknife = _jackknife(ordered, statistic)
    u = jackknife.mean() - jackknife
    power = float(np.square(u).sum()) ** 1.5
    acceleration = float((u**3).sum()) / (6 * power) if power > 0 else 0.0
    z = z0 + special.ndtri(tails)
    return np.clip(np.nan_to_num(special.ndtr(z0 + z / (1 - acceleration * z)), nan=0.5), 0.0, 1.0)


def _quantiles(drawn: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """`np.quantile(drawn, levels)` by one partition, four times as fast."""
    place = levels * (drawn.size - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, drawn.size - 1)
    part = np.partition(drawn, np.unique(np.concatenate([low, high])))
    left, right = part[low].astype(np.float64), part[high].astype(np.float64)
    return left + (right - left) * (place - low)


def _draw_means(values: np.ndarray, weights: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    del weights  # all 1 / n
    n = values.size
    if n <= _PAIRED:
        # Two different values come in either order, and so have two of the n^2 numbers; a value twice has one.
        first, second = np.triu_indices(n, 1)
        table = np.concatenate([values[first] + values[second], 2 * values])
        size, draws, folded = n * n, n // 2, n * (n - 1) // 2
        single = values if n % 2 else np.zeros(1)
        length = _PAIRED * (_PAIRED + 1) // 2
    else:
        table, size, draws, folded, single = values, n, n, 0, np.zeros(1)
        length = 1 << (n - 1).bit_length()
    table = np.pad(table.astype(np.float32), (0, length - table.size))
    odd = np.pad(single.astype(np.float32), (0, _PAIRED - single.size))
    counts = np.array([size, draws, folded, single.size], np.uint32)
    sums = _programs()[0](_key(seed), table, odd, counts, resamples=resamples, paired=n <= _PAIRED)
    return np.asarray(sums) / np.float32(n)


def _draw_rank_sums(values: np.ndarray, weights: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    n = values.size
    size = 1 << (n - 1).bit_length()  # one program for each power of two
    padded = [np.pad(array.astype(np.float32), (0, size - n)) for array in (values, weights)]
    return np.asarray(_programs()[1](_key(seed), *padded, n, resamples=resamples))


def _key(seed: int) -> np.ndarray:
    return np.random.SeedSequence(seed).generate_state(2, np.uint32)


@cache
def _programs() -> tuple[Any, Any]:
    """The two compiled programs; JAX is imported here, at the first bootstrap."""
    import jax
    import jax.numpy as jnp

    u32 = jnp.uint32

    def rotate(x: Any, by: int) -> Any:
        return (x << u32(by)) | (x >> u32(32 - by))

    def threefry(key: Any, lane: Any, step: Any) -> tuple[Any, Any]:
        """Two random words of Threefry-2x32 with 13 rounds, the fewest that pass BigCrush (Salmon et al. 2011).

        Written out because `jax.random.bits` runs its 20 rounds as separate loops over memory on a CPU.
        """
        keys = (key[0], key[1], key[0] ^ key[1] ^ u32(0x1BD11BDA))
        x, y = lane + keys[0], jnp.full_like(lane, 0) + (step + keys[1])
        for turn in range(13):
            x = x + y
            y = rotate(y, ((13, 15, 26, 6), (17, 29, 16, 24))[turn // 4 % 2][turn % 4]) ^ x
            if turn % 4 == 3:
                s = turn // 4 + 1
                x, y = x + keys[s % 3], y + (keys[(s + 1) % 3] + u32(s))
        return x, y

    def below(word: Any, bound: Any, short: bool) -> Any:
        """floor(word * bound / 2^32): uniform on 0 .. bound - 1 to one part in 2^32 / bound; `short`: bound < 2^16."""
        low, high = bound & u32(0xFFFF), bound >> u32(16)
        word_low, word_high = word & u32(0xFFFF), word >> u32(16)
        middle = word_high * low + ((word_low * low) >> u32(16))
        if short:
            return (middle >> u32(16)).astype(jnp.int32)
        carried = word_low * high + (middle & u32(0xFFFF))
        return (word_high * high + (middle >> u32(16)) + (carried >> u32(16))).astype(jnp.int32)

    def look(table: Any, index: Any) -> Any:
        return table.at[index].get(mode="promise_in_bounds")

    def means(key: Any, table: Any, odd: Any, counts: Any, *, resamples: int, paired: bool) -> Any:
        """Sums [resamples] of so many draws from the table and one from `odd`."""
        lane = jnp.arange(resamples, dtype=u32)
        size, draws, folded, odd_size = counts
        pairs = (draws // u32(2)).astype(jnp.int32)

        def drawn(word: Any) -> Any:
            index = below(word, size, short=paired)
            if paired:  # 2 folded numbers for as many sums of two different values, then one for each value twice
                index = jnp.maximum(index >> 1, index - folded.astype(jnp.int32))
            return look(table, index)

        def two(step: Any, total: Any) -> Any:
            x, y = threefry(key, lane, step.astype(u32))
            return total + drawn(x) + drawn(y)

        def several(turn: Any, total: Any) -> Any:
            for inner in range(_UNROLL):
                total = two(turn * _UNROLL + inner, total)
            return total

        total = jax.lax.fori_loop(0, pairs // _UNROLL, several, jnp.zeros(resamples, jnp.float32))
        total = jax.lax.fori_loop(pairs // _UNROLL * _UNROLL, pairs, two, total)
        x, y = threefry(key, lane, pairs.astype(u32))
        total = total + jnp.where(draws % u32(2) == u32(1), drawn(x), jnp.float32(0))
        return total + look(odd, below(y, odd_size, short=True))

    def rank_sums(key: Any, values: Any, weights: Any, n: Any, *, resamples: int) -> Any:
        """Weighted sums [resamples] over the sorted resample, walked from its largest value down."""
        lane = jnp.arange(resamples, dtype=u32)

        def walk(step: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            log_u, total = carry
            rank = n - 1 - step
            word, _ = threefry(key, lane, step.astype(u32))
            uniform = ((word >> u32(8)).astype(jnp.float32) + jnp.float32(0.5)) * jnp.float32(2.0**-24)
            log_u = log_u + jnp.log(uniform) / (rank + 1).astype(jnp.float32)
            index = jnp.minimum((jnp.exp(log_u) * n.astype(jnp.float32)).astype(jnp.int32), n - 1)
            return log_u, total + weights[rank] * look(values, index)

        start = (jnp.zeros(resamples, jnp.float32), jnp.zeros(resamples, jnp.float32))
        return jax.lax.fori_loop(0, n, walk, start)[1]

    return jax.jit(means, static_argnames=("resamples", "paired")), jax.jit(rank_sums, static_argnames="resamples")
