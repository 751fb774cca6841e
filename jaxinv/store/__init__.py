"""Results on disk: a run's folder, written block by block, resumed, grown, read back and never silently wrong.

A folder holds `study.json` and `results.zarr`, a Zarr store that xarray opens at any time (`xr.open_zarr`): NaN where a
trial is not finished, and `done` says which are.
"""

from jaxinv.results.schema import PER_TRIAL, ResultBlock, Schema, WeightSum, assemble
from jaxinv.store.folder import check_folder, planned_trials
from jaxinv.store.memory import Memory
from jaxinv.store.reading import describe_progress, load
from jaxinv.store.store import Store

__all__ = [
    "PER_TRIAL",
    "Memory",
    "ResultBlock",
    "Schema",
    "Store",
    "WeightSum",
    "assemble",
    "check_folder",
    "describe_progress",
    "load",
    "planned_trials",
]
