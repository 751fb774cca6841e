"""Results on disk: a run's folder, written block by block, resumed, grown, read back and never silently wrong.

A folder holds `study.json` and `results.zarr`, a Zarr store that xarray opens at any time (`xr.open_zarr`). `done` says
which trials are finished; the others are NaN, but for those that were being written when a process died.
"""

from jaxinv.store.access import check_can_hold, free_disk_bytes
from jaxinv.store.adding import Adding, lacks_arms
from jaxinv.store.folder import planned_trials
from jaxinv.store.merging import merge
from jaxinv.store.question import begun_for, end_of
from jaxinv.store.reading import count_finished, describe_progress, load, read_networks
from jaxinv.store.store import Store

__all__ = [
    "Adding",
    "Store",
    "begun_for",
    "check_can_hold",
    "count_finished",
    "describe_progress",
    "end_of",
    "free_disk_bytes",
    "lacks_arms",
    "load",
    "merge",
    "planned_trials",
    "read_networks",
]
