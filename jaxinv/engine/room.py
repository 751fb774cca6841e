"""Whether there is room for a run's results, before anything is begun."""

import os

from jaxinv.errors import InputError
from jaxinv.results.schema import Schema
from jaxinv.store import free_disk_bytes
from jaxinv.utils.memory import available_bytes


def check_memory(schema: Schema, *, stored: bool) -> None:
    """Refuse more trials than the memory of this machine can list, before anything is begun.

    Results kept in memory are there twice for a moment; stored ones, of which large ones are opened lazily, need room
    for the numbers of the trials and for which of them are done.
    """
    needed = 32 * schema.trials + (0 if stored else 2 * sum(schema.nbytes(name) for name in schema.by_trial))
    free = available_bytes()
    if needed > free:
        wanted, there = (f"{size / 2**30:.1f} GiB" for size in (needed, free))
        instead = "" if stored else ", or an out folder, which needs less"
        raise InputError(f"trials: {schema.trials} need {wanted} of memory, and {there} are free; give fewer{instead}")


def check_disk(schema: Schema, out: str | os.PathLike[str]) -> None:
    """Refuse networks that will not fit the disk, before anything is begun. Weights hardly shrink when compressed."""
    needed = sum(schema.nbytes(array.name) for array in schema.params)
    free = free_disk_bytes(out)
    if needed and free is not None and needed > free:
        wanted, there = (f"{size / 2**30:.1f} GiB" for size in (needed, free))
        raise InputError(
            f"keep: params of {schema.trials} trials need {wanted}, and {there} are free at {os.fspath(out)!r}; give "
            "fewer trials, or another folder"
        )
