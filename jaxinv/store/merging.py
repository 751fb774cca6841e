"""`merge`: several runs of the same trials, in memory or stored, as one."""

import os
from collections.abc import Mapping

import xarray as xr

from jaxinv.results.merging import merge_results
from jaxinv.store.reading import load


def merge(runs: "Mapping[str, xr.Dataset | str | os.PathLike[str]]") -> xr.Dataset:
    """Results of several runs of the same trials as one, whose arms are called `<run>/<arm>`.

    Trial t has the same batches in all of them, and the same initial weights wherever the model is the same, so
    comparisons of their arms are paired. Trials that some run has not finished are left out.

    Args:
      runs: name -> results, or the folder of a run.

    Raises:
      InputError: the runs differ in seed, data, steps or learning rates, so that their trials are not paired.
      DataError: a file is damaged.

    >>> import jaxinv as ji
    >>> study = ji.Study(trials=3, steps=2, batch_size=10)
    >>> sgd, adam = ji.run(study), ji.run(study.replace(optimizer="adam", learning_rate=0.01, trials=2))
    >>> merged = merge({"sgd": sgd, "adam": adam})
    >>> merged.arm.values.tolist(), merged.sizes["trial"]
    (['sgd/normal', 'sgd/inverted', 'adam/normal', 'adam/inverted'], 2)
    """
    return merge_results({name: run if isinstance(run, xr.Dataset) else load(run) for name, run in runs.items()})
