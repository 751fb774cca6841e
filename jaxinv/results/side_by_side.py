"""Arms of a run, computed apart, side by side in the order of its schema."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxinv.results.schema import ResultBlock, Schema, WeightSum


class Part(NamedTuple):
    """Some of the arms: their own schema, their values of n trials, and the sum of their weight changes."""

    schema: Schema
    values: Mapping[str, np.ndarray]
    weights: WeightSum


def side_by_side(whole: Schema, parts: Sequence[Part]) -> tuple[ResultBlock, WeightSum]:
    """One block, and one sum of weight changes, of all arms; NaN where an arm has no such layer or no pixel weights.

    Args:
      whole: the schema of all arms.
      parts: each arm is in one of them; all keep the same of their trials.
    """
    trials = parts[0].values["diverged"].shape[2]
    found = {name: whole.empty(name, trials) for name in whole.by_trial}
    total = np.full(whole.weight_shape, np.nan) if whole.pixel_weights else np.zeros((*whole.weight_shape[:2], 0, 0, 0))
    count = np.zeros(whole.weight_shape[:2], np.int64)
    for schema, values, weights in parts:
        arms = [whole.arms.index(arm) for arm in schema.arms]
        layers = [whole.layers.index(layer) for layer in schema.layers]
        for name in schema.per_trial:
            if name == "layer_delta":
                found[name][np.ix_(arms, range(len(whole.learning_rates)), range(trials), layers)] = values[name]
            else:
                found[name][arms] = values[name]
        for array in schema.params:
            for own, arm in enumerate(arms[own] for own in array.arms):
                target = next(other for other in whole.networks_of(arm) if other.leaf == array.leaf)
                found[target.name][target.arms.index(arm)] = values[array.name][own]
        count[arms] = weights.count
        if schema.pixel_weights:
            total[arms] = weights.total
    return ResultBlock(found), WeightSum(total, count)
