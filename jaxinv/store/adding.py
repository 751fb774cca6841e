"""Further arms for a finished run: computed beside it, put in its place when all are there.

The run with all of its arms is built in the folder `.adding` of the run's own. Its blocks hold the old arms' values as
they are and the new arms' as they are computed, so an interrupted addition goes on where it stopped, and the finished
run stays whole and readable until two renames put the new one in its place. A process that dies between them leaves
both in `.adding`; whoever opens the folder next to run it completes the exchange.
"""

import dataclasses
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from jaxinv.errors import InputError
from jaxinv.results.schema import ResultBlock, Schema, WeightSum
from jaxinv.results.side_by_side import Part, side_by_side
from jaxinv.store.access import check_can_hold
from jaxinv.store.files import ROOT
from jaxinv.store.folder import ADDING, inspect
from jaxinv.store.hierarchy import STUDY
from jaxinv.store.lock import acquire
from jaxinv.store.reading import naming, open_run
from jaxinv.store.storage import Storage
from jaxinv.store.store import Store
from jaxinv.study import LATER_FIELDS, Study

OLD = "old.zarr"
ARM_AXES = {"trials", "arms", "layers", "pixel_weights", "params"}
"""What of a schema may change with the arms."""


def lacks_arms(folder: str | os.PathLike[str], study: Study) -> bool:
    """Whether a folder holds this study with fewer arms, all of them among the study's.

    Raises:
      InputError: it does, but is not finished, has another number of trials, or is not on this machine's disks.
    """
    storage = Storage(folder)
    _complete_exchange(storage)
    stored = inspect(storage)
    if stored is None or stored.root is None:
        return False
    there, here = stored.study, study.to_dict()
    names = {**here, **there}.keys() - {"arms", "trials"}
    if any(there.get(name, LATER_FIELDS.get(name)) != here.get(name) for name in names):
        return False
    if len(there["arms"]) >= len(here["arms"]) or any(arm not in here["arms"] for arm in there["arms"]):
        return False
    _, _, blocks = open_run(folder)
    with naming(storage):
        _, filled = blocks.total()
    if sum(filled) < blocks.schema.trials:
        raise InputError(
            f"arms: {str(storage)!r} has finished {sum(filled)} of {blocks.schema.trials} trials under its own arms; "
            f"run it with these ({', '.join(blocks.schema.arms)}) to the end, and add arms then"
        )
    if study.trials != blocks.schema.trials:
        raise InputError(
            f"trials: {study.trials} and further arms at once are not allowed; give {blocks.schema.trials}, as "
            f"{str(storage)!r} has them, and more when the arms are there"
        )
    if storage.local is None:
        raise InputError(f"arms: {str(storage)!r} is no folder of this machine; give another one for further arms")
    return True


class Adding:
    """Adds arms to the run in a folder. A context manager, which holds the folder's lock."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        study: Study,
        schema: Schema,
        *,
        fingerprint: str,
        attrs: Mapping[str, str],
    ) -> None:
        self._storage, _, self._source = open_run(folder)
        there = self._source.schema
        for field in dataclasses.fields(Schema):
            old, new = getattr(there, field.name), getattr(schema, field.name)
            if (field.name not in ARM_AXES and old != new) or bool(there.params) != bool(schema.params):
                raise InputError(
                    f"out: the run in {str(self._storage)!r} keeps other variables of its trials than are asked for; "
                    "add arms with the same keep, metrics and test_arms"
                )
        assert self._storage.local is not None
        self._root = self._storage.local
        with ExitStack() as stack:
            lock = acquire(self._storage)
            stack.callback(lock.release)
            check_can_hold(self._root / ADDING, study, fingerprint=fingerprint)
            options: dict[str, Any] = {"fingerprint": fingerprint, "attrs": attrs, "block": self._source.block}
            self._store = stack.enter_context(Store.open(self._root / ADDING, study, schema, **options))
            self._exit = stack.pop_all()

    def todo(self) -> Iterator[tuple[int, int]]:
        """(first trial, number of trials) of each block that lacks the new arms."""
        return self._store.todo()

    def write(self, first: int, new: Schema, block: ResultBlock) -> None:
        """Put the results of the new arms beside those of the old ones, for the trials of a whole block."""
        index = first // self._source.block
        with naming(self._storage):
            mark = self._source.read_mark(index)
            assert mark is not None  # the run was finished
            old = Part(self._source.schema, self._source.read(index, mark), mark.weights)
        more = Part(new, block.values, WeightSum.zero(new).add(block))
        whole, weights = side_by_side(self._store.schema, (old, more))
        self._store.write(first, whole, weights)

    def finish(self) -> None:
        """Let the run with all arms take the place of the old one."""
        self._store.finish()
        self._store.close()
        os.rename(self._root / ROOT, self._root / ADDING / OLD)
        _complete_exchange(self._storage)

    def __enter__(self) -> "Adding":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()


def _complete_exchange(storage: Storage) -> None:
    """Bring a run with all its arms to its place, once the old one has been moved out of it."""
    if storage.local is None or not (storage.local / ADDING / OLD).exists():
        return
    root, made = storage.local, storage.local / ADDING
    if not (root / ROOT).exists():
        os.rename(made / ROOT, root / ROOT)
    if (made / STUDY).exists():
        os.replace(made / STUDY, root / STUDY)
    shutil.rmtree(Path(made))
