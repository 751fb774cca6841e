"""What results look like, and how to read them: the one place that knows dims, variables and selection.

Results are an `xarray.Dataset` with dims arm, learning_rate, trial, step (A, L, T, S). Whoever reads them asks here
for a metric, a learning rate, the finished trials or a `Cell`, and so works on any metric and any kind of arm.

`schema` says how results are built; it is imported by that name, by those who build them.
"""

from jaxinv.results.cells import Cell, best_cells, best_rates, cell, cells, distinct_cells, mean_over_steps
from jaxinv.results.selection import (
    AXES,
    arm_index,
    arm_names,
    check_results,
    correct_table,
    curves,
    done_mask,
    done_trials,
    grain,
    learning_rates,
    metric_label,
    metric_names,
    metric_values,
    rate_by_arm,
    rate_index,
    rate_pair,
    rates_used,
    step_index,
    steps,
    test_arm_names,
    transfer_values,
    weight_deltas,
)

__all__ = [
    "AXES",
    "Cell",
    "arm_index",
    "arm_names",
    "best_cells",
    "best_rates",
    "cell",
    "cells",
    "check_results",
    "correct_table",
    "curves",
    "distinct_cells",
    "done_mask",
    "done_trials",
    "grain",
    "learning_rates",
    "mean_over_steps",
    "metric_label",
    "metric_names",
    "metric_values",
    "rate_by_arm",
    "rate_index",
    "rate_pair",
    "rates_used",
    "step_index",
    "steps",
    "test_arm_names",
    "transfer_values",
    "weight_deltas",
]
