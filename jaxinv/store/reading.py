"""Reading results back, verified."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from jaxinv.errors import DataError, InputError
from jaxinv.results.assemble import assemble
from jaxinv.results.schema import WeightSum
from jaxinv.store.arrays import Arrays
from jaxinv.store.blocks import Blocks
from jaxinv.store.files import ROOT, Damaged, Missing
from jaxinv.store.folder import Stored, inspect
from jaxinv.store.hierarchy import MARK, ROOT_DOCUMENT, STUDY, problems
from jaxinv.store.storage import Storage, Unreadable

LAZY_BYTES = 1 << 28
READ_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds until a run that grows is read again

Found = TypeVar("Found")


@contextlib.contextmanager
def naming(storage: Storage) -> Iterator[None]:
    """Turn `Damaged` into the error that names the file."""
    try:
        yield
    except Damaged as damage:
        anew = "the command that made it, run again, computes what is damaged anew"
        raise DataError(f"{storage.path(damage.key)} {damage.why}; {anew}") from None


def load(folder: str | os.PathLike[str]) -> xr.Dataset:
    """The results in a run's folder, finished or not, every value checked against the digest it was written with.

    Trials that are not finished are NaN, and not `done`. Up to 256 MB of results come back as arrays; larger ones are
    checked piece by piece and then opened lazily, so memory does not grow with the number of trials.

    Raises:
      InputError: the folder holds no results.
      DataError: a file is damaged; the message names it. The command that made it computes what is damaged again. Or
        the run grew while it was read, several times.
    """
    return settled(folder, lambda: _load(folder))


def _load(folder: str | os.PathLike[str]) -> xr.Dataset:
    storage, stored, blocks = open_run(folder)
    trials = blocks.schema.trials
    with naming(storage):
        for problem in problems(blocks.arrays, stored.documents, blocks.schema):
            raise problem
        if stored.study["trials"] != trials:
            raise Damaged(STUDY, f"is of {stored.study['trials']} trials, and the results beside it of {trials}")
    return results(storage, blocks, stored.attrs)


def read_networks(
    folder: str | os.PathLike[str], arm: str, rate: int, trials: Sequence[int]
) -> dict[str, np.ndarray] | None:
    """The networks that some trials of a stored run ended with: an array [trials, …] for each leaf.

    None where the run does not keep them.

    Args:
      folder: of the run.
      arm: one of its arms.
      rate: position of the learning rate.
      trials: their numbers.

    Raises:
      InputError: the folder holds no results, or a trial that is not finished.
      DataError: a file is damaged, or the run grew while it was read.
    """
    return settled(folder, lambda: _read_networks(folder, arm, rate, trials))


def _read_networks(
    folder: str | os.PathLike[str], arm: str, rate: int, trials: Sequence[int]
) -> dict[str, np.ndarray] | None:
    storage, _, blocks = open_run(folder)
    schema = blocks.schema
    arrays = schema.networks_of(schema.arms.index(arm))
    if not arrays:
        return None
    numbers = np.asarray(trials)
    found = {array.leaf: np.empty((len(numbers), *array.shape), array.dtype) for array in arrays}
    with naming(storage):
        for index in np.unique(numbers // blocks.block).tolist():
            mark = blocks.read_mark(index)
            at = np.flatnonzero(numbers // blocks.block == index)
            place = numbers[at] - index * blocks.block
            if mark is None or place.max() >= mark.filled:
                raise InputError(f"trial: {numbers[at].max()} of {str(storage)!r} is not finished; run the study again")
            rows = blocks.read(index, mark, [array.name for array in arrays])
            for array in arrays:
                found[array.leaf][at] = rows[array.name][array.arms.index(schema.arms.index(arm)), rate, place]
    return found


def describe_progress(folder: str | os.PathLike[str]) -> tuple[int, int]:
    """(finished trials, all trials) of the run in a folder, as its `done` has it."""
    return settled(folder, lambda: _describe_progress(folder))


def _describe_progress(folder: str | os.PathLike[str]) -> tuple[int, int]:
    storage, _, blocks = open_run(folder)
    begun = {name.removeprefix("c.") for name in storage.names(f"{ROOT}/done")}  # of many blocks most may be missing
    with naming(storage):
        found = (blocks.read_done(index) for index in range(len(blocks.sizes)) if str(index) in begun)
        return sum(found), blocks.schema.trials


def settled(folder: str | os.PathLike[str], read: Callable[[], Found]) -> Found:
    """What a reader finds in a run's folder, in several tries: while the run grows, its files are of two lengths.

    Damage is found twice in the same way, with the same documents around it.

    Raises:
      DataError: what the reader raises; or the run grew every time.
    """
    before: object = None
    for seconds in READ_WAITS:
        try:
            return read()
        except DataError as error:
            storage = Storage(folder)
            try:
                found = str(error), storage.read(ROOT_DOCUMENT), storage.read(STUDY)
            except DataError:  # nothing there can be read
                raise error from None
            if found == before:
                raise
            before = found
        time.sleep(seconds)
    raise DataError(f"{os.fspath(folder)}: grew while it was read, {len(READ_WAITS)} times; read it again later")


def count_finished(folder: str | os.PathLike[str]) -> int:
    """How many trials of a run are finished that somebody else may be beginning just now; 0 where it is not begun."""
    try:
        return describe_progress(folder)[0]
    except (InputError, DataError):  # not laid out yet; if it stays like that, whoever writes it says so
        return 0


def results(storage: Storage, blocks: Blocks, attrs: Mapping[str, str]) -> xr.Dataset:
    """The Dataset of what is finished, without networks; DataError where something is not as written."""
    schema = blocks.schema
    names = tuple(schema.per_trial)
    lazy = sum(schema.nbytes(name) for name in names) > LAZY_BYTES
    arrays: dict[str, Any] = {} if lazy else {name: schema.empty(name, schema.trials) for name in names}
    done = np.zeros(schema.trials, bool)
    weights = WeightSum.zero(schema)
    with naming(storage):
        for index in range(len(blocks.sizes)):
            shown = blocks.read_done(index)  # before the mark, which is written before it
            mark = blocks.read_mark(index)
            if shown > (mark.filled if mark else 0):
                key = blocks.arrays.key
                raise Damaged(key(MARK, index), f"is missing, or older than {key('done', index)}")
            if mark is None:
                continue
            part = slice(index * blocks.block, index * blocks.block + mark.filled)
            if part.stop > schema.trials:
                raise DataError(f"{storage}: has grown from {schema.trials} to {part.stop} trials or more")
            for name, rows in blocks.read(index, mark, names).items():
                if not lazy:
                    arrays[name][:, :, part] = rows
            done[part] = True
            weights = weights + mark.weights
        if done.all() and schema.pixel_weights:
            check_weight_delta(blocks.arrays, weights.mean())
    if lazy:
        opened = xr.open_zarr(storage.path(ROOT), chunks=None)
        arrays = {name: opened.variables[name] for name in names}
    return assemble(schema, arrays, weights if done.all() else None, attrs, done=done)


def identity(attrs: Mapping[str, str]) -> str:
    """What a run's blocks belong to: its study and its data."""
    return f"{attrs['study_hash']} {attrs['data_fingerprint']}"


def check_weight_delta(arrays: Arrays, mean: np.ndarray) -> None:
    """`Damaged` where the stored mean weight change is not this one. None stored is no damage: it comes last."""
    with contextlib.suppress(Missing):
        if arrays.read("weight_delta").tobytes() != mean.tobytes():
            raise Damaged(arrays.key("weight_delta"), "is not the mean of what the blocks hold")


def open_run(folder: str | os.PathLike[str]) -> tuple[Storage, Stored, Blocks]:
    """The run in a folder: its files, what it says about itself, and its blocks."""
    storage = Storage(folder)
    try:
        stored = inspect(storage)
    except Unreadable:
        raise
    except InputError:
        stored = None
    if stored is None:
        hint = "study.json beside results.zarr"
        raise InputError(
            f"results: {str(storage)!r} is not the folder of a stored run ({hint}); give one that run has written"
        )
    if stored.root is None:
        raise DataError(f"{stored.problem}; the command that made it, run again, puts that right")
    schema, block = stored.schema()
    arrays = Arrays(storage, json.dumps(stored.root).encode())
    return storage, stored, Blocks(arrays, schema, block, identity(stored.attrs))
