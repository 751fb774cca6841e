"""Two arms of stored results compared trial by trial, and all pairs of arms with adjusted p-values."""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxinv.errors import InputError, whole
from jaxinv.results import arm_names, check_results, grain, learning_rates, rate_by_arm, rates_used
from jaxinv.stats import checks, comparison_text, multiple_testing
from jaxinv.stats.bernstein import bernstein_interval
from jaxinv.stats.bootstrap import bootstrap_interval
from jaxinv.stats.descriptive import summary
from jaxinv.stats.effect_sizes import cohen_dz, pairing, superiority
from jaxinv.stats.equivalence import tost_of
from jaxinv.stats.new_images import interval_for_new_images
from jaxinv.stats.pair_figures import PairFigures
from jaxinv.stats.paired_trials import paired_trials
from jaxinv.stats.permutation_tests import sign_flip
from jaxinv.stats.rank_tests import wilcoxon
from jaxinv.stats.ranks import Rank, ranks, ranks_table
from jaxinv.stats.sequential import AnytimeInterval, anytime_interval
from jaxinv.stats.t_tests import paired_t
from jaxinv.stats.two_runs import arm_pairs, as_one, name_runs, one_run
from jaxinv.utils.tables import html_rows, html_table, text_rows, text_table
from jaxinv.utils.text import plain

if TYPE_CHECKING:
    import xarray as xr


ANYTIME = ("asymptotic", "exact")


@dataclass(frozen=True, kw_only=True)
class Comparison(PairFigures):
    """Arm a against arm b over the same trials; what each figure is, `PairFigures` says."""

    @property
    def diverged_text(self) -> str:
        """How many trials diverged, and whether the figures include them."""
        return comparison_text.diverged(self)

    def rows(self) -> list[tuple[str, str]]:
        """(label, text) of every figure, for a table on any medium."""
        return comparison_text.rows(self)

    def __str__(self) -> str:
        return plain(text_rows(self.rows()))

    def _repr_html_(self) -> str:
        return html_rows(self.rows())


@dataclass(frozen=True)
class Comparisons:
    """All pairs of arms, with p-values adjusted over the family; a sequence of `Comparison`."""

    pairs: tuple[Comparison, ...]

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Comparison]:
        return iter(self.pairs)

    def __getitem__(self, index: int) -> Comparison:
        return self.pairs[index]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings for JSON."""
        return {
            "comparisons": [pair.to_dict() for pair in self.pairs],
            "ranks": [rank.to_dict() for rank in self.ranks()],
        }

    def ranks(self) -> list[Rank]:
        """The ranks that each arm may have, where p-values are adjusted by Holm's method over all pairs; else []."""
        return ranks(self.pairs) if self.pairs[0].adjustment == "Holm" and len(self.pairs) > 1 else []

    def table(self) -> list[list[str]]:
        """A header and one row of text for each pair."""
        return comparison_text.table(self.pairs)

    def anytime_table(self) -> list[list[str]]:
        """A header and one row of text for each pair: the figures that stay valid however often one looks."""
        return comparison_text.anytime_table(self.pairs)

    def images_table(self) -> list[list[str]]:
        """A header and one row of text for each pair: intervals with and without new test images; [] if not known."""
        return comparison_text.images_table(self.pairs)

    def notes(self) -> list[tuple[str, str]]:
        """What holds for every row."""
        ranked = [("rank", comparison_text.RANKS)] if self.ranks() else []
        return [*ranked, *comparison_text.notes(self.pairs)]

    def __str__(self) -> str:
        tables = [text_table(rows, left=2) for rows in self._tables()]
        tables += [text_table(ranks_table(found))] if (found := self.ranks()) else []
        return plain("\n\n".join([*tables, text_rows(self.notes())]))

    def _repr_html_(self) -> str:
        ranked = [ranks_table(found)] if (found := self.ranks()) else []
        return "".join(map(html_table, [*self._tables(), *ranked])) + html_rows(self.notes())

    def _tables(self) -> list[list[list[str]]]:
        spoken = any(np.isfinite(pair.ci95_anytime).all() for pair in self.pairs)  # else a note says when it begins
        found = (self.table(), self.anytime_table() if spoken else [], self.images_table())
        return [rows for rows in found if rows]


def compare(
    results: "xr.Dataset | str | os.PathLike[str]",
    arm_a: "str | xr.Dataset | os.PathLike[str]",
    arm_b: str | None = None,
    *,
    arm: str | None = None,
    learning_rate: float | tuple[float, float] | None = None,
    step: int | None = None,
    metric: str = "accuracy",
    alpha: float = 0.05,
    margin: float | None = None,
    diverged: str = "include",
    anytime: str = "asymptotic",
    family: int = 1,
    seed: int = 0,
    bootstrap: int = 0,
) -> Comparison:
    """Compare two arms of a run, or one arm in two runs of the same trials, trial by trial.

    `compare(results, "normal", "inverted")` compares two arms; `compare("runs/sgd", "runs/adam")` two runs.

    Args:
        results: as `jaxinv.run` returns and `jaxinv.load` reads, or the folder of a run; trials not `done` yet are not
            used.
        arm_a, arm_b: names of arms; or, in place of `arm_a` and without `arm_b`, the results or folder of another run.
        arm: which arm of two runs; may be left out where each has one.
        learning_rate: one of the results', or a pair (a's, b's); needed where they hold several.
        step: an evaluated step; the last by default.
        metric: "accuracy", "test_loss", or another variable over all four dims.
        alpha: level for `significant` and for the test of equivalence. `ci95` is 95% whatever alpha is.
        margin: test equivalence within this difference.
        diverged: "include" every trial with a finite value, or "exclude" a pair if either arm diverged.
        anytime: "asymptotic" for an anytime-valid interval of any metric (`stats.anytime_interval`); "exact" for one of
            accuracies that assumes nothing of their distribution, at the price of its width: ten times that of `ci95`,
            or more (`stats.bernstein_interval`).
        family: how many comparisons are made together; `ci95_anytime_family` is wider for it. (`compare_all` knows.)
        seed: of the Monte-Carlo sign flips (beyond 36 trials) and of the bootstrap.
        bootstrap: resamples for a bootstrap interval beside the t interval (`stats.bootstrap_interval`); 0: none. Time
            grows as n x resamples.

    Raises:
        InputError: names that are not in the results, several learning rates and none chosen, margin <= 0, alpha
            outside (0, 1), an exact interval of a metric without bounds.
        DataError: no trial is done.
    """
    checks.probability("alpha", alpha)
    checks.choice("anytime", anytime, ANYTIME)
    if anytime == "exact" and metric != "accuracy":
        raise InputError(f"anytime: 'exact' is not allowed for {metric}, which has no bounds; give 'asymptotic'")
    whole("family", family)
    whole("seed", seed, 0)
    whole("bootstrap", bootstrap, 0)
    results, arm_a, arm_b = one_run(results, arm_a, arm_b, arm)
    trials = paired_trials(
        results, arm_a, arm_b, learning_rate=learning_rate, step=step, metric=metric, diverged=diverged
    )
    a, b = trials.a, trials.b
    n = a.size
    # Accuracies are stored as float32: equal differences of counts may differ in their last bits.
    largest = max(float(np.abs(a).max(initial=0.0)), float(np.abs(b).max(initial=0.0)))
    resolution = largest * 2.0**-22 if results[metric].dtype == np.float32 else 0.0
    step_size = max(grain(results, metric), resolution)
    t = paired_t(a, b, grain=step_size)
    look = _look(a - b, anytime, step_size)
    together = look if family == 1 else _look(a - b, anytime, step_size, family)
    equivalence = None if margin is None else tost_of(t, margin, alpha)
    signed = wilcoxon(a, b, resolution=resolution)
    signs = sign_flip(a, b, seed=seed)
    side_a, side_b = summary(a), summary(b)
    paired = pairing(a, b)
    methods = {"p_value": "paired t", "p_anytime": look.method}
    methods |= {"p_wilcoxon": signed.method, "p_permutation": signs.method}
    interval = None
    if bootstrap and n:
        drawn = bootstrap_interval(a - b, resamples=bootstrap, seed=seed)
        interval = (drawn.low, drawn.high)
        methods["ci95_bootstrap"] = {"bca": "BCa", "percentile": "percentile"}[drawn.method]
    elif bootstrap:
        interval = (float("nan"), float("nan"))
    return Comparison(
        arms=trials.arms,
        metric=metric,
        learning_rate=trials.learning_rate,
        rate=trials.rate,
        step=trials.step,
        n=n,
        mean_a=side_a.mean,
        mean_b=side_b.mean,
        sd_a=side_a.sd,
        sd_b=side_b.sd,
        difference=t.difference,
        ci95=t.ci95,
        ci95_anytime=look.ci,
        ci95_anytime_family=together.ci,
        ci95_new_images=interval_for_new_images(results, trials),
        ci95_bootstrap=interval,
        p_value=t.p_value,
        p_anytime=look.p_value,
        p_wilcoxon=signed.p_value,
        p_permutation=signs.p_value,
        methods=methods,
        p_adjusted=t.p_value,
        p_anytime_adjusted=look.p_value,
        adjustment="none",
        family=family,
        effect_size=cohen_dz(a, b, grain=step_size),
        superiority=superiority(a, b),
        correlation=paired.correlation,
        pairing_gain=paired.gain,
        equivalence=equivalence,
        alpha=float(alpha),
        planned=trials.planned,
        done=trials.done,
        diverged_a=trials.diverged[0],
        diverged_b=trials.diverged[1],
        diverged_either=trials.diverged[2],
        diverged_policy=diverged,
        excluded=trials.excluded,
        omitted=trials.omitted,
        grain=step_size,
        stopped="until" in results.attrs,
    )


def compare_all(
    results: "xr.Dataset",
    *,
    adjust: str = "holm",
    learning_rate: float | tuple[float, float] | Mapping[str, float] | str | None = None,
    **options: Any,
) -> Comparisons:
    """Compare every pair of arms, with p-values adjusted over all pairs.

    Args:
        results: see `compare`.
        learning_rate: one of the results', a pair (of each pair's first and second arm), a mapping arm -> learning
            rate such as `jaxinv.results.best_rates` gives, or "each": all pairs at each learning rate.
        adjust: "holm" (no false rejection at all) or "bh" (a bounded share of false rejections).
        options: as for `compare`.

    Raises:
        InputError: fewer than two arms; and as `compare`.
    """
    checks.choice("adjust", adjust, ("holm", "bh"))
    check_results(results)
    arms = arm_names(results)
    if len(arms) < 2:
        raise InputError(f"arms: {', '.join(arms) or 'none'} is not allowed; give results of two or more")
    family = list(_family(results, arms, learning_rate))
    options |= {"family": len(family)}
    return _adjusted([compare(results, a, b, learning_rate=rate, **options) for a, b, rate in family], adjust)


def _family(results: "xr.Dataset", arms: Sequence[str], learning_rate: Any) -> Iterator[tuple[str, str, Any]]:
    """All pairs of arms with their learning rates; a pair that has the same ones along the axis is there once."""
    if isinstance(learning_rate, str) and learning_rate != "each":
        raise InputError(f"learning_rate: {learning_rate!r} is not allowed; give a number, or 'each'")
    by_arm = isinstance(learning_rate, Mapping)
    own = rate_by_arm(results, learning_rate) if by_arm else {}
    used = dict(zip(arms, rates_used(results), strict=True))
    for a, b in itertools.combinations(arms, 2):
        if learning_rate == "each":
            seen: set[tuple[float, float]] = set()
            for rate, *both in zip(learning_rates(results), used[a].tolist(), used[b].tolist(), strict=True):
                if tuple(both) not in seen:
                    yield a, b, rate
                seen.add((both[0], both[1]))
        else:
            yield a, b, (own[a], own[b]) if by_arm else learning_rate


def compare_runs(
    first: "xr.Dataset | str | os.PathLike[str]",
    second: "xr.Dataset | str | os.PathLike[str]",
    *,
    adjust: str = "holm",
    **options: Any,
) -> Comparisons:
    """Compare each arm that two runs of the same trials have, or the only one of each, with adjusted p-values.

    Args:
        first, second: results, or the folders of runs.
        adjust: as for `compare_all`.
        options: as for `compare`.

    Raises:
        InputError: the runs share no arm, or their trials are not paired; and as `compare`.
    """
    checks.choice("adjust", adjust, ("holm", "bh"))
    runs = name_runs(first, second)
    pairs, both = arm_pairs(runs), as_one(runs)
    options |= {"family": len(pairs)}
    return _adjusted([compare(both, a, b, **options) for a, b in pairs], adjust)


def _look(differences: np.ndarray, anytime: str, grain: float, family: int = 1) -> AnytimeInterval:
    """The anytime-valid interval that holds together with those of all comparisons of a family."""
    confidence = 1 - 0.05 / family
    if anytime == "asymptotic":
        return anytime_interval(differences, confidence=confidence, grain=grain)
    return bernstein_interval(differences, (-1, 1), confidence=confidence)


def _adjusted(pairs: Sequence[Comparison], adjust: str) -> Comparisons:
    """Comparisons with their p-values adjusted over all of them."""
    method, label = {
        "holm": (multiple_testing.holm, "Holm"),
        "bh": (multiple_testing.benjamini_hochberg, "Benjamini-Hochberg"),
    }[adjust]
    fixed = method([pair.p_value for pair in pairs]).tolist()
    anytime = method([pair.p_anytime for pair in pairs]).tolist()
    return Comparisons(
        tuple(
            replace(pair, p_adjusted=p, p_anytime_adjusted=q, adjustment=label, family=len(pairs))
            for pair, p, q in zip(pairs, fixed, anytime, strict=True)
        )
    )
