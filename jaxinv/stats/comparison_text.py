"""How comparisons are shown: rows, tables and notes of text, for any medium."""

from collections.abc import Iterable, Sequence

import numpy as np

from jaxinv.stats.few_trials import FEWEST, TOO_FEW, too_few
from jaxinv.stats.pair_figures import PairFigures
from jaxinv.stats.sequential import first_look
from jaxinv.utils.text import interval, listed, number, p_value

RANKS = (
    "the places that an arm may have: behind all arms shown to be better, before all shown to be worse; all hold "
    "together with 95%"
)


def rows(comparison: PairFigures) -> list[tuple[str, str]]:
    """(label, text) of every figure of a comparison."""
    c = comparison
    waiting = f", {c.done:,} of {c.planned:,} trials done" if c.done < c.planned else ""
    left = "".join(
        f", {count:,} left out ({why})"
        for count, why in ((c.excluded, "diverged"), (c.omitted, "value not finite"))
        if count
    )
    made = [
        ("arms", f"a = {c.arms[0]}, b = {c.arms[1]}"),
        ("at", place(c)),
        ("pairs", f"{c.n:,}{waiting}{left}"),
        ("diverged", diverged(c)),
        ("mean (sd) a", f"{number(c.mean_a, '.5f')} ({number(c.sd_a, '.3g')})"),
        ("mean (sd) b", f"{number(c.mean_b, '.5f')} ({number(c.sd_b, '.3g')})"),
        ("difference a - b", f"{number(c.difference, '+.5f')}, 95% interval {interval(c.ci95, '+.5f')}"),
    ]
    if c.ci95_bootstrap is not None:
        method = c.methods.get("ci95_bootstrap", "")
        made.append((f"{method} bootstrap".lstrip(), f"95% interval {interval(c.ci95_bootstrap, '+.5f')}"))
    tests = f"t {p_value(c.p_value)}, Wilcoxon {p_value(c.p_wilcoxon)}, sign-flip {p_value(c.p_permutation)}"
    made.append(("p-value", tests if c.enough else too_few(c.n, "pair")))
    if c.family > 1 and c.enough:
        made.append(("adjusted p", f"{p_value(c.p_adjusted)} ({c.adjustment}, {c.family} tests)"))
    made += [
        ("anytime", anytime(c)),
        ("which", c.which),
        *([("new images", _new_images(c))] if c.ci95_new_images is not None else []),
        ("effect size", f"d_z {number(c.effect_size, '.3g')}; P(a > b) + P(a = b)/2 = {number(c.superiority, '.3g')}"),
        ("pairing", f"correlation {number(c.correlation, '.3g')}; worth {number(c.pairing_gain, '.3g')} x the trials"),
    ]
    if c.equivalence is not None:
        e = c.equivalence
        verdict = "equivalent" if e.equivalent else "not shown equivalent"
        level = f"{100 * (1 - 2 * e.alpha):g}% interval {interval(e.interval, '+.5f')}, p {p_value(e.p_value)}"
        made.append(("equivalence", f"{verdict} within {e.margin:g}: {level if c.enough else too_few(c.n, 'pair')}"))
    return [*made, ("covers", c.covers)]


def table(comparisons: Sequence[PairFigures]) -> list[list[str]]:
    """A header and one row of text for each pair of arms."""
    within = _within(comparisons[0])
    made = [["a", "b", "n", "a - b", "95% interval", "p", "p adj.", "d_z", *within, "diverged"]]
    for pair, names in zip(comparisons, pair_names(comparisons), strict=True):
        out = "" if pair.diverged_policy == "include" else " out"
        made.append(
            [
                *names,
                f"{pair.n:,}",
                number(pair.difference, "+.4f"),
                interval(pair.ci95, "+.4f"),
                p_value(pair.p_value) if pair.enough else TOO_FEW,
                p_value(pair.p_adjusted) if pair.enough else TOO_FEW,
                number(pair.effect_size, ".3g"),
                *([_equivalent(pair)] if within else []),
                f"{pair.diverged_either}{out}",
            ]
        )
    return made


def anytime_table(comparisons: Sequence[PairFigures]) -> list[list[str]]:
    """A header and one row of text for each pair of arms: what stays valid however often one looks."""
    many = comparisons[0].family > 1
    made = [["a", "b", "n", "anytime 95% interval", *(["of all together"] if many else []), "p", *(["p adj."] * many)]]
    for pair, names in zip(comparisons, pair_names(comparisons), strict=True):
        both = (pair.ci95_anytime, pair.ci95_anytime_family)[: 1 + many]
        ends = [interval(one, "+.4f") if np.isfinite(one).all() else TOO_FEW for one in both]
        p = [p_value(one) if pair.enough else TOO_FEW for one in (pair.p_anytime, pair.p_anytime_adjusted)[: 1 + many]]
        made.append([*names, f"{pair.n:,}", *ends, *p])
    return made


def _equivalent(pair: PairFigures) -> str:
    """Whether a pair is equivalent within its margin."""
    if not pair.enough or pair.equivalence is None:
        return TOO_FEW
    return "yes" if pair.equivalence.equivalent else "open"


def _within(pair: PairFigures) -> list[str]:
    """The head of the column on equivalence, where that was asked for."""
    return [] if pair.equivalence is None else [f"in +-{pair.equivalence.margin:g}"]


def images_table(comparisons: Sequence[PairFigures]) -> list[list[str]]:
    """A header and one row of text for each pair of arms: what new test images add; [] where that is not known."""
    if all(pair.ci95_new_images is None for pair in comparisons):
        return []
    made = [["a", "b", "a - b", "new trials", "new trials and new test images"]]
    for pair, names in zip(comparisons, pair_names(comparisons), strict=True):
        ends = (pair.ci95, pair.ci95_new_images or (None, None))
        shown = [interval(one, "+.4f") if pair.enough else TOO_FEW for one in ends]
        made.append([*names, number(pair.difference, "+.4f"), *shown])
    return made


def _new_images(comparison: PairFigures) -> str:
    c = comparison
    ends = interval(c.ci95_new_images or (None, None), "+.5f")
    return f"95% interval {ends} for new trials and new test images" if c.enough else too_few(c.n, "pair")


def anytime(comparison: PairFigures) -> str:
    """The figures that stay valid however often one looks, in words."""
    c = comparison
    if not c.enough:
        return too_few(c.n, "pair")
    if np.isinf(c.ci95_anytime).all():
        return f"{c.n:,} pairs are too few for this interval, which begins with {first_look()}"
    return f"95% interval {interval(c.ci95_anytime, '+.5f')}, p {p_value(c.p_anytime)} ({c.methods['p_anytime']})"


def notes(comparisons: Sequence[PairFigures]) -> list[tuple[str, str]]:
    """(label, text) of what holds for every pair of arms."""
    first = comparisons[0]
    done = f"; {first.done:,} of {first.planned:,} trials done" if first.done < first.planned else ""
    unspoken = any(pair.enough and np.isinf(pair.ci95_anytime).all() for pair in comparisons)
    policy = "left out, pair by pair" if first.diverged_policy == "exclude" else "included"
    return [
        ("at", f"{_place(first, _rates(comparisons))}{done}"),
        ("diverged", f"trials of a pair in which either arm diverged; {policy} in every figure"),
        ("p adj.", f"{first.adjustment} over {first.family} tests"),
        *((head, "yes: shown to be equivalent within this margin; open: not shown") for head in _within(first)),
        *([("too few", too_few(fewest, "pair"))] if (fewest := min(pair.n for pair in comparisons)) < FEWEST else []),
        *([("anytime", f"begins with {first_look()} pairs")] if unspoken else []),
        ("which", first.which),
        ("covers", first.covers),
    ]


def pair_names(comparisons: Sequence[PairFigures]) -> list[tuple[str, ...]]:
    """Each pair's arms, with their learning rates where an arm has another one in another pair."""
    told = _rates(comparisons) is not None
    return [
        tuple(arm if told else f"{arm} at {rate:g}" for arm, rate in zip(pair.arms, pair.rate, strict=True))
        for pair in comparisons
    ]


def place(comparison: PairFigures) -> str:
    """Where a comparison was made: metric, step and the learning rates that were used."""
    return _place(comparison, _rates([comparison]))


def _place(comparison: PairFigures, rates: str | None) -> str:
    return f"{comparison.metric}, step {comparison.step:,}{f', {rates}' if rates else ''}"


def _rates(pairs: Iterable[PairFigures]) -> str | None:
    """The learning rates of all pairs in words; None where an arm has another one in another pair."""
    pairs = list(pairs)
    used = {pair.rate for pair in pairs}
    if len(used) == 1:
        ((a, b),) = used
        return f"learning rate {a:g}" if a == b else f"learning rates {a:g} (a) and {b:g} (b)"
    each = ((arm, rate) for pair in pairs for arm, rate in zip(pair.arms, pair.rate, strict=True))
    by_arm = list(dict.fromkeys(each))
    if len(by_arm) > len(dict(by_arm)):
        return None
    return f"learning rates {listed([f'{rate:g} ({arm})' for arm, rate in by_arm])}"


def diverged(comparison: PairFigures) -> str:
    """How many trials diverged, and whether the figures include them."""
    c = comparison
    if c.diverged_either == 0:
        return f"none of {c.done}"
    policy = "left out" if c.diverged_policy == "exclude" else "included"
    return f"{c.diverged_either} of {c.done} ({c.diverged_a} in a, {c.diverged_b} in b), {policy}"
