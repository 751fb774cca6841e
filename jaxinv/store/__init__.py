"""Results on disk: a run's folder, written block by block, resumed, grown, read back and never silently wrong.

A folder holds `study.json` and `results.zarr`, a Zarr store that xarray opens at any time (`xr.open_zarr`): NaN where a
trial is not finished, and `done` says which are.
"""

from jaxinv.store.folder import check_can_hold, free_disk_bytes, planned_trials
from jaxinv.store.reading import describe_progress, load, read_networks
from jaxinv.store.store import Store

__all__ = ["Store", "check_can_hold", "describe_progress", "free_disk_bytes", "load", "planned_trials", "read_networks"]
