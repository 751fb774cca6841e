"""Reading results back, verified."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from jaxinv.errors import DataError, InputError
from jaxinv.store.blocks import Blocks
from jaxinv.store.contents import PER_TRIAL, WeightSum, assemble
from jaxinv.store.files import open_folder
from jaxinv.store.folder import inspect
from jaxinv.store.zarr_files import Damaged


def load(folder: str | os.PathLike[str]) -> xr.Dataset:
    """The results in a run's folder, every value checked against the digest it was written with.

    Raises:
      InputError: the folder holds no results.
      DataError: a file is damaged; the message names it.
    """
    files = open_folder(folder)
    stored = inspect(files)
    if stored is None:
        raise InputError(f"results: {str(files)!r} holds no results")
    if stored.root is None:
        raise DataError(f"{stored.problem}; run the same command again to repair it")
    layout, block = stored.layout()
    attrs = {name: value for name, value in stored.root["attributes"].items() if name != "checksum"}
    blocks = Blocks(files, layout, block, f"{attrs['study_hash']} {attrs['data_fingerprint']}")
    return results(files, blocks, attrs)


def results(files: Any, blocks: Blocks, attrs: Mapping[str, str]) -> xr.Dataset:
    """The Dataset of what is finished."""
    layout, block = blocks.layout, blocks.block
    arrays = {name: layout.empty(name, layout.trials) for name in PER_TRIAL}
    done = np.zeros(layout.trials, bool)
    total = WeightSum.zero(layout)
    try:
        for index in range(blocks.count):
            mark = blocks.read_mark(index)
            if mark is None:
                continue
            part = slice(index * block, index * block + mark.filled)
            for name, rows in blocks.read(index, mark).items():
                arrays[name][:, :, part] = rows
            done[part] = True
            total = total + mark.weights
    except Damaged as damage:
        raise DataError(
            f"{files.path(damage.key)} {damage.why}; the command that made it, run again, computes what is damaged anew"
        ) from None
    return assemble(layout, arrays, total if done.all() else None, attrs, done=done)


def describe_progress(folder: str | os.PathLike[str]) -> tuple[int, int]:
    """(finished trials, all trials) of the run in a folder."""
    files = open_folder(folder)
    stored = inspect(files)
    if stored is None:
        raise InputError(f"results: {str(files)!r} holds no results")
    if stored.root is None:
        return 0, stored.trials
    layout, block = stored.layout()
    blocks = Blocks(files, layout, block, "")
    return sum(blocks.read_done(index) for index in range(blocks.count)), layout.trials
