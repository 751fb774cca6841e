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
from jaxinv.utils.jsonable import jsonable

STATISTICS = ("mean", "iqm", "median")
METHODS = ("bca", "percentile")

_PAIRED = 255  # trials up to which two are drawn at once: n^2 < 2^16, and the table of sums fits the first cache
_UNROLL = 4  # steps in one pass over the resamples


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
        return {name: jsonable(getattr(self, name)) for name in self.__dataclass_fields__}


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
    centre = float(x[x.size // 2])
    scale = float(max(x[-1] - centre, centre - x[0]))
    if scale == 0:
        drawn, levels, estimate = np.zeros(1), np.array([0.5, 0.5]), 0.0
    else:
        deviations = (x - centre) / scale  # within -1 .. 1, so that float32 loses nothing that matters
        estimate = float(weights @ deviations)
        draw = _draw_means if statistic == "mean" else _draw_rank_sums
        drawn = draw(deviations, weights, resamples, seed)
        tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
        levels = tails if method == "percentile" else _bca_levels(drawn, estimate, deviations, statistic, tails)
    low, high = centre + scale * _quantiles(drawn, levels)
    return Bootstrap(
        estimate=centre + scale * estimate,
        low=float(low),
        high=float(high),
        standard_error=scale * float(drawn.std(dtype=np.float64)),
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
    near = 4 * np.finfo(np.float32).eps
    less = np.count_nonzero(drawn < estimate - near)
    equal = np.count_nonzero(drawn <= estimate + near) - less
    share = np.clip((less + equal / 2) / drawn.size, 0.5 / drawn.size, 1 - 0.5 / drawn.size)
    z0 = special.ndtri(share)
    jackknife = _jackknife(ordered, statistic)
    u = jackknife.mean() - jackknife
    power = float(np.square(u).sum()) ** 1.5
    acceleration = float((u**3).sum()) / (6 * power) if power > 0 else 0.0
    z = z0 + special.ndtri(tails)
    shrink = 1 - acceleration * z  # past 0 lies beyond the last quantile
    return special.ndtr(z0 + np.where(shrink > 0, z / np.where(shrink > 0, shrink, 1), np.copysign(np.inf, z)))


def _quantiles(drawn: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """`np.quantile(drawn, levels)`, but each order statistic is looked for only among its likely neighbours."""
    place = levels * (drawn.size - 1)
    low = np.floor(place).astype(int)
    few = np.sort(drawn[::16])
    ends = np.array([_neighbours(drawn, few, rank) for rank in low], dtype=np.float64)
    return ends[:, 0] + (ends[:, 1] - ends[:, 0]) * (place - low)


def _neighbours(drawn: np.ndarray, few: np.ndarray, rank: int) -> np.ndarray:
    """The order statistics `rank` and `rank + 1` (the last one twice), guided by a sorted sample of a few."""
    wanted = [rank, min(rank + 1, drawn.size - 1)]
    near, reach = rank / drawn.size * few.size, 6 * np.sqrt(few.size) / 2  # six standard deviations of a rank, or more
    first, last = int(near - reach), int(near + reach) + 1
    floor = few[first] if first > 0 else -np.inf
    ceiling = few[last] if last < few.size else np.inf
    inside = drawn[(drawn >= floor) & (drawn <= ceiling)]
    offset = int(np.count_nonzero(drawn < floor))
    ranks = [r - offset for r in wanted]
    if ranks[0] < 0 or ranks[1] >= inside.size:  # the sample misled
        inside, ranks = drawn, wanted
    return np.partition(inside, ranks)[ranks]


def _draw_means(values: np.ndarray, weights: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    del weights  # all 1 / n
    n = values.size
    short = n <= _PAIRED
    if short:
        # Two different values come in either order, and so have two of the n^2 numbers; a value twice has one.
        first, second = np.triu_indices(n, 1)
        table = np.concatenate([values[first] + values[second], 2 * values, values])
        size, draws, folded = n * n, n // 2, n * (n - 1) // 2
        length = _PAIRED * (_PAIRED + 3) // 2
    else:
        table, size, draws, folded = values, n, n, 0
        length = 1 << (n - 1).bit_length()
    table = np.pad(table.astype(np.float32), (0, length - table.size))
    table = np.append(table, np.float32(0))  # what is drawn when there is nothing to draw
    single = [n * (n + 1) // 2, n] if short and n % 2 else [table.size - 1, 1]
    counts = np.array([size, draws, folded, *single], np.uint32)
    sums = _programs()[0](_key(seed), table, counts, resamples=resamples, short=short)
    return np.asarray(sums) / np.float32(n)


def _draw_rank_sums(values: np.ndarray, weights: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    n = values.size
    size = 1 << (n - 1).bit_length()  # one program for each power of two
    padded = [np.pad(array.astype(np.float32), (0, size - n)) for array in (values, weights)]
    return np.asarray(_programs()[1](_key(seed), *padded, np.int32(n), resamples=resamples))


def _key(seed: int) -> np.ndarray:
    return np.random.SeedSequence(seed).generate_state(2, np.uint32)


def threefry(key: Any, lane: Any, step: Any) -> tuple[Any, Any]:
    """Two random words [lanes] of Threefry-2x32 with 13 rounds, Random123's reduced variant (Salmon et al. 2011).

    Ample for picking indices. Written out because `jax.random.bits` runs its 20 rounds as separate loops over memory
    on a CPU. Arrays of NumPy or of JAX, uint32.
    """
    u32 = np.uint32
    keys = (key[0], key[1], key[0] ^ key[1] ^ u32(0x1BD11BDA))
    x, y = lane + keys[0], (lane & u32(0)) + step + keys[1]
    for turn in range(13):
        by = ((13, 15, 26, 6), (17, 29, 16, 24))[turn // 4 % 2][turn % 4]
        x = x + y
        y = ((y << u32(by)) | (y >> u32(32 - by))) ^ x
        if turn % 4 == 3:
            s = turn // 4 + 1
            x, y = x + keys[s % 3], y + keys[(s + 1) % 3] + u32(s)
    return x, y


def scaled_down(word: Any, bound: Any, short: bool) -> Any:
    """floor(word * bound / 2^32): uniform on 0 .. bound - 1 to one part in 2^32 / bound; `short`: bound < 2^16.

    In uint32 throughout, by halves, because JAX has no 64-bit integers unless asked.
    """
    u32 = np.uint32
    low, high = bound & u32(0xFFFF), bound >> u32(16)
    word_low, word_high = word & u32(0xFFFF), word >> u32(16)
    middle = word_high * low + ((word_low * low) >> u32(16))
    if short:
        return (middle >> u32(16)).astype(np.int32)
    carried = word_low * high + (middle & u32(0xFFFF))
    return (word_high * high + (middle >> u32(16)) + (carried >> u32(16))).astype(np.int32)


@cache
def _programs() -> tuple[Any, Any]:
    """The two compiled programs; JAX is imported here, at the first bootstrap."""
    import jax
    import jax.numpy as jnp

    u32 = np.uint32

    def look(table: Any, index: Any) -> Any:
        return table.at[index].get(mode="promise_in_bounds")

    def means(key: Any, table: Any, counts: Any, *, resamples: int, short: bool) -> Any:
        """Sums [resamples] of `draws` entries from the front of the table and one of `single` entries at `at`."""
        lane = jnp.arange(resamples, dtype=u32)
        size, draws, folded, at, single = counts
        last = draws // u32(2)
        zero = u32(table.size - 1)

        def drawn(word: Any) -> Any:
            index = scaled_down(word, size, short)
            if short:  # 2 folded numbers for as many sums of two different values, then one for each value twice
                index = jnp.maximum(index >> 1, index - folded.astype(jnp.int32))
            return index

        def two(here: Any, total: Any) -> Any:
            x, y = threefry(key, lane, here)
            start, among = jnp.where(here == last, at, zero), jnp.where(here == last, single, u32(1))
            alone = scaled_down(y, among, short=True) + start.astype(jnp.int32)
            first = jnp.where(u32(2) * here < draws, drawn(x), zero.astype(jnp.int32))
            second = jnp.where(here < last, drawn(y), alone)
            return total + look(table, first) + look(table, second)

        def several(turn: Any, total: Any) -> Any:
            for inner in range(_UNROLL):
                total = two((turn * _UNROLL + inner).astype(u32), total)
            return total

        turns = last.astype(jnp.int32) // _UNROLL + 1
        return jax.lax.fori_loop(0, turns, several, jnp.zeros(resamples, jnp.float32))

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

    return jax.jit(means, static_argnames=("resamples", "short")), jax.jit(rank_sums, static_argnames="resamples")
