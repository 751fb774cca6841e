"""Reading results back, verified."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from jaxinv.errors import DataError, InputError
from jaxinv.results.schema import PER_TRIAL, WeightSum, assemble
from jaxinv.store.blocks import Blocks
from jaxinv.store.documents import problems
from jaxinv.store.files import Files, open_files
from jaxinv.store.folder import STUDY, Stored, inspect
from jaxinv.store.zarr_files import MARK, ROOT, Damaged, chunk_key, payload, unpack

LAZY_BYTES = 1 << 28
WEIGHT_DELTA = chunk_key("weight_delta", 0, 0, 0, 0, 0)


@contextlib.contextmanager
def naming(files: Files) -> Iterator[None]:
    """Turn `Damaged` into the error that names the file."""
    try:
        yield
    except Damaged as damage:
        raise DataError(
            f"{files.path(damage.key)} {damage.why}; the command that made it, run again, computes what is damaged anew"
        ) from None


def load(folder: str | os.PathLike[str]) -> xr.Dataset:
    """The results in a run's folder, finished or not, every value checked against the digest it was written with.

    Trials that are not finished are NaN, and not `done`. Up to 256 MB of results come back as arrays; larger ones are
    checked piece by piece and then opened lazily, so memory does not grow with the number of trials.

    Raises:
      InputError: the folder holds no results.
      DataError: a file is damaged; the message names it. The command that made it computes what is damaged again.
    """
    files, stored = _open(folder)
    schema, block = stored.schema()
    attrs = stored.attrs()
    with naming(files):
        for problem in problems(files, stored.documents(), schema):
            raise problem
        if stored.study["trials"] != schema.trials:
            raise Damaged(STUDY, f"is of {stored.study['trials']} trials, and the results beside it of {schema.trials}")
    return results(files, Blocks(files, schema, block, identity(attrs)), attrs)


def describe_progress(folder: str | os.PathLike[str]) -> tuple[int, int]:
    """(finished trials, all trials) of the run in a folder, as its `done` has it."""
    files, stored = _open(folder)
    schema, block = stored.schema()
    blocks = Blocks(files, schema, block, "")
    with naming(files):
        return sum(blocks.read_done(index) for index in range(blocks.count)), schema.trials


def results(files: Files, blocks: Blocks, attrs: Mapping[str, str]) -> xr.Dataset:
    """The Dataset of what is finished; DataError where something is not as written."""
    schema = blocks.schema
    lazy = sum(schema.nbytes(name) for name in PER_TRIAL) > LAZY_BYTES
    arrays: dict[str, Any] = {} if lazy else {name: schema.empty(name, schema.trials) for name in PER_TRIAL}
    done = np.zeros(schema.trials, bool)
    weights = WeightSum.zero(schema)
    with naming(files):
        for index in range(blocks.count):
            shown = blocks.read_done(index)  # before the mark, which is written before it
            mark = blocks.read_mark(index)
            if shown > (mark.filled if mark else 0):
                raise Damaged(chunk_key(MARK, index, 0), f"is missing, or older than {chunk_key('done', index)}")
            if mark is None:
                continue
            part = slice(index * blocks.block, index * blocks.block + mark.filled)
            if part.stop > schema.trials:
                raise DataError(f"{files}: grew while it was read; read it again")
            for name, rows in blocks.read(index, mark).items():
                if not lazy:
                    arrays[name][:, :, part] = rows
            done[part] = True
            weights = weights + mark.weights
        if done.all() and schema.pixel_weights:
            check_weight_delta(files, weights.mean())
    if lazy:
        opened = xr.open_zarr(files.path(ROOT), chunks=None)
        arrays = {name: opened.variables[name] for name in PER_TRIAL}
    return assemble(schema, arrays, weights if done.all() else None, attrs, done=done)


def identity(attrs: Mapping[str, str]) -> str:
    """What a run's blocks belong to: its study and its data."""
    return f"{attrs['study_hash']} {attrs['data_fingerprint']}"


def _open(folder: str | os.PathLike[str]) -> tuple[Files, Stored]:
    files = open_files(folder)
    try:
        stored = inspect(files)
    except InputError:
        stored = None
    if stored is None:
        raise InputError(f"results: {str(files)!r} is not the folder of a stored run (study.json beside results.zarr)")
    if stored.root is None:
        raise DataError(f"{stored.problem}; the command that made it, run again, puts that right")
    return files, stored


def check_weight_delta(files: Files, mean: np.ndarray) -> None:
    """`Damaged` where the stored mean weight change is not this one. None stored is no damage: it comes last."""
    data = files.read(WEIGHT_DELTA)
    if data is not None and unpack(WEIGHT_DELTA, data) != payload(mean):
        raise Damaged(WEIGHT_DELTA, "is not the mean of what the blocks hold")
