"""Results on disk: a run's folder, written block by block, resumed, grown, read back and never silently wrong.

A folder holds `study.json` and `results.zarr`, a Zarr store that xarray opens at any time (`xr.open_zarr`): NaN where a
trial is not finished, and `done` says which are.
"""

from jaxinv.results import PER_TRIAL, Block, Layout, Memory, WeightSum, assemble
from jaxinv.store.folder import check_folder, planned_trials
from jaxinv.store.reading import describe_progress, load
from jaxinv.store.store import Store

__all__ = [
    "PER_TRIAL",
    "Block",
    "Layout",
    "Memory",
    "Store",
    "WeightSum",
    "assemble",
    "check_folder",
    "describe_progress",
    "load",
    "planned_trials",
]
