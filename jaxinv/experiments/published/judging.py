"""From the results of an experiment's studies to its verdict, as plain values for JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxinv import stats
from jaxinv.experiments.claims.rule import verdict
from jaxinv.experiments.published.experiment import Experiment, Figure, Outcome, Runs, Statement
from jaxinv.stats.few_trials import FEWEST
from jaxinv.utils.jsonable import jsonable

ODD = 2.0
"""Standard deviations of single trials from their mean, beyond which a published figure does not replicate."""

HOLDS = {"supported": "holds", "refuted": "does not hold", "inconclusive": "open"}


def judge(experiment: Experiment, runs: Runs) -> dict[str, Any]:
    """The verdict, and what it rests on."""
    figures = [judge_figure(figure, runs) for figure in experiment.figures]
    statements = [judge_statement(statement, runs) for statement in experiment.statements]
    deciding = [*figures, *(one for one in statements if one["decides"])]
    return {"verdict": outcome([one["verdict"] for one in deciding]), "figures": figures, "statements": statements}


def outcome(verdicts: Sequence[str]) -> Outcome:
    """Replicated if all that decides holds, in part if some does and some does not.

    >>> outcome(["holds", "holds"]), outcome(["holds", "does not hold"]), outcome(["open", "holds"])
    ('replicated', 'in part', 'open')
    """
    held, failed = verdicts.count("holds"), verdicts.count("does not hold")
    if failed:
        return "in part" if held else "not replicated"
    return "replicated" if held and held == len(verdicts) else "open"


def judge_figure(figure: Figure, runs: Runs) -> dict[str, Any]:
    """A published figure beside our trials."""
    values = figure.measure(runs)
    ours = stats.summary(values)
    enough = values.size >= FEWEST
    z = stats.published_z(figure.value, values) if enough else float("nan")
    found = "open" if np.isnan(z) else "holds" if abs(z) < ODD else "does not hold"
    found_here = {"mean": ours.mean, "sd": ours.sd, "ci95": ours.ci95, "n": ours.n, "z": z}
    return jsonable({"what": figure.what, "published": figure.value, **found_here, "verdict": found})


def judge_statement(statement: Statement, runs: Runs) -> dict[str, Any]:
    """What the source says in words beside our estimate."""
    estimate, criterion = statement.measure(runs), statement.criterion
    found = HOLDS[verdict([criterion.apply(estimate)])]
    if found == "does not hold" and runs.size not in statement.fails_at:
        found = "open"
    return {"says": statement.says, "decides": statement.decides, **criterion.to_dict(estimate), "verdict": found}
