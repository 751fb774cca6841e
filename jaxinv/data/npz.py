"""Datasets in `.npz` files. Sizes are checked before anything is decompressed, and nothing is ever unpickled."""

import io
import math
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxinv.data.dataset import ARRAYS, Dataset
from jaxinv.data.user_cache import once_per_user
from jaxinv.errors import FAILURES, DataError, InputError, one_line
from jaxinv.utils.files import local_path
from jaxinv.utils.memory import available_bytes

MEANING = ("value_range", "channels", "renumber")
MOST_BYTES = 16 * 2**30
_LONGEST_HEADER = 10_240
_PIECE = 2**20
_UNREADABLE = (*FAILURES, EOFError, RecursionError, MemoryError, SyntaxError, struct.error, tokenize.TokenError)
"""What `zipfile`, and `ast` and `tokenize` behind NumPy's reading of headers, raise on bytes that nobody wrote."""


def read_npz(path: str | os.PathLike[str], *, limit: int | None = None, **meaning: Any) -> Dataset:
    """The dataset in an `.npz` file that holds `x_train`, `y_train`, `x_test` and `y_test`.

    It may also hold `value_range`, `channels` and `renumber`, which say what the arrays mean, as for `Dataset`:
    `np.savez(path, ..., value_range=(0, 1), channels="first")`. Other arrays are left alone.

    What is decoded is kept for all processes of the user, see `user_cache`.

    Args:
        path: the file.
        limit: the most bytes that the four arrays may take; by default 16 GiB or what memory is available, if less.
        meaning: `classes`, `value_range`, `channels` and `renumber`, as for `Dataset`, in place of the file's.

    Raises:
        InputError: no such file, a missing array, pickled objects, arrays over the limit, or arrays that make no
            `Dataset`.
        DataError: the file cannot be read or is damaged.
    """
    path = local_path("dataset", os.path.expanduser(path))
    meaning = {name: value for name, value in meaning.items() if value is not None}

    def decode() -> Dataset:
        arrays = dict(zip(ARRAYS, read_arrays(path, limit=limit), strict=True))
        try:
            return Dataset(name=path.name, **arrays, **{**_stored_meaning(path), **meaning})
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    return decode() if limit is not None else once_per_user(path, meaning, decode)


def _stored_meaning(path: Path) -> dict[str, Any]:
    """What the file itself says of its arrays."""
    with zipfile.ZipFile(path) as archive:
        there = [key for key in MEANING if f"{key}.npy" in archive.namelist()]
    return {key: array.tolist() for key, array in zip(there, read_arrays(path, there), strict=True)}


def read_arrays(path: Path, keys: Sequence[str] = ARRAYS, *, limit: int | None = None) -> list[np.ndarray]:
    """The arrays of those names in an `.npz` file, read-only; see `read_npz`."""
    if not path.exists():
        raise InputError(f"dataset: there is no file {str(path)!r}; give the path of an .npz")
    if not path.is_file():
        raise InputError(f"dataset: {str(path)!r} is not a file; give the path of an .npz")
    limit = min(MOST_BYTES, available_bytes()) if limit is None else limit
    try:
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python about the text of a header, which may be anything
            _check_sizes(path, archive, keys, limit)
            arrays = []
            for key in keys:
                with archive.open(f"{key}.npy") as member:
                    arrays.append(np.lib.format.read_array(member, allow_pickle=False))
                    if member.read(1):  # to the end, where the archive's own checksum is compared
                        raise DataError(f"{path}: {key} goes on after its last value")
                arrays[-1].flags.writeable = False
            return arrays
    except InputError:
        raise
    except MemoryError:
        raise DataError(f"{path}: the memory does not suffice to read it; give a smaller file") from None
    except (zipfile.BadZipFile, zlib.error, *_UNREADABLE) as error:
        raise DataError(f"{path}: not a readable .npz file ({one_line(error)})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({one_line(error)})") from error


def _check_sizes(path: Path, archive: zipfile.ZipFile, keys: Sequence[str], limit: int) -> None:
    members = set(archive.namelist())
    missing = [key for key in keys if f"{key}.npy" not in members]
    if missing:
        found = ", ".join(sorted(name.removesuffix(".npy") for name in members)[:12]) or "nothing"
        raise InputError(f"{path}: no array {', '.join(missing)} among {found}; give {', '.join(keys)}")
    total = 0
    for key in keys:
        info = archive.getinfo(f"{key}.npy")
        if info.flag_bits & 0x1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(
                f"{path}: {key} is encrypted or packed in a way that NumPy does not use; give a file of np.savez"
            )
        try:
            total += _array_bytes(path, key, archive, info)
        except (InputError, DataError):
            with archive.open(info) as member:  # a damaged header may say anything: the checksum is the better reason
                while member.read(_PIECE):
                    pass
            raise
    if total > limit:
        raise InputError(f"{path}: arrays of {total:,} bytes are not allowed; give at most {limit:,}")


def _array_bytes(path: Path, key: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """How many bytes the values of a member take; the header says so, and the rest of the member must agree."""
    with archive.open(info) as member:
        start = io.BytesIO(member.read(_LONGEST_HEADER))
    try:
        shape, dtype = _header(path, key, start)
    except InputError:
        raise
    except _UNREADABLE as error:
        raise DataError(f"{path}: not a readable .npz file (the header of {key}: {one_line(error)})") from error
    size, there = math.prod(shape) * dtype.itemsize, info.file_size - start.tell()
    if size != there:
        raise DataError(f"{path}: {key} says it is {size:,} bytes, but {there:,} are there")
    return size


def _header(path: Path, key: str, start: io.BytesIO) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(start)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise InputError(f"{path}: {key} is in .npy format {version}, which is not allowed; give 1.0 or 2.0")
    shape, _, dtype = readers[version](start)
    if dtype.hasobject:
        raise InputError(f"{path}: {key} holds pickled objects, which are never loaded; give arrays of numbers")
    if min(shape, default=0) < 0:
        raise DataError(f"{path}: {key} has the impossible shape {shape}")
    return shape, dtype
