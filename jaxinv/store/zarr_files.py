"""The Zarr (version 3) files of a run, byte by byte.

Any Zarr library reads them. They are written here rather than through one because a chunk has to be replaced whole, in
one step, with its file named when something is wrong, and at a cost that many small blocks can bear: a tenth of
zarr-python's 1.5 ms a chunk.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.zstd import Zstd

from jaxinv.results.schema import PER_TRIAL, PIXELS, Schema

ROOT = "results.zarr"
BLOCKS = "blocks"  # a group below the root, so that the Dataset shows nothing of it
MARK = f"{BLOCKS}/mark"
FORMAT = 1
COMPRESS = Zstd(level=1)
TRIAL_CHUNK = 1 << 18


class Damaged(Exception):
    """A file is not what was written: its key, and what is wrong with it."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"{key}: {why}")
        self.key, self.why = key, why


def payload(array: np.ndarray) -> bytes:
    """A chunk's values: little-endian in C order, or strings (UTF-8) each behind its length."""
    if array.dtype.kind == "U":
        words = [word.encode() for word in array.ravel().tolist()]
        return len(words).to_bytes(4, "little") + b"".join(len(word).to_bytes(4, "little") + word for word in words)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def encode(array: np.ndarray) -> bytes:
    """A chunk's file: its values, compressed (Zstandard), and a CRC-32C."""
    body = bytes(COMPRESS.encode(payload(array)))
    return body + google_crc32c.value(body).to_bytes(4, "little")


def unpack(key: str, data: bytes | None) -> bytes:
    """What `payload` gave; `Damaged` where the file is missing or not as written."""
    if data is None:
        raise Damaged(key, "is missing")
    body, check = data[:-4], data[-4:]
    if len(data) < 4 or google_crc32c.value(body).to_bytes(4, "little") != check:
        raise Damaged(key, "is truncated or altered")
    try:
        return bytes(COMPRESS.decode(body))
    except RuntimeError:
        raise Damaged(key, "is truncated or altered") from None


def decode(key: str, data: bytes | None, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """The values of a chunk of numbers, read-only; `Damaged` as `unpack`, or where they are of another number."""
    raw = unpack(key, data)
    dtype = np.dtype(dtype).newbyteorder("<")
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise Damaged(key, "is not of its array's chunk shape")
    return np.frombuffer(raw, dtype).reshape(shape)


def chunk_key(name: str, *index: int) -> str:
    """The key of a chunk."""
    return f"{ROOT}/{name}/c" + "".join(f".{i}" for i in index)


def block_key(name: str, schema: Schema, block: int) -> str:
    """The key of a per-trial variable's chunk for one store block."""
    after = len(schema.dims(name)) - 3
    return chunk_key(name, 0, 0, block, *(0,) * after)


def document(key: str) -> str:
    """The key of the metadata of a group or array."""
    return f"{ROOT}/{key}/zarr.json" if key else f"{ROOT}/zarr.json"


def metadata(schema: Schema, block: int, mark_bytes: int, attrs: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Every metadata document of a run, by group or array; the root (key "") holds all others once more."""
    trials, blocks = schema.trials, -(-schema.trials // block)
    own = {
        "format": FORMAT,
        "arms": schema.arms,
        "learning_rates": schema.learning_rates,
        "steps": schema.steps,
        "layers": schema.layers,
        "image_shape": schema.image_shape,
        "pixel_weights": schema.pixel_weights,
        "block": block,
        "study_hash": attrs["study_hash"],
        "data_fingerprint": attrs["data_fingerprint"],
    }
    documents = {BLOCKS: {"attributes": own, "zarr_format": 3, "node_type": "group"}}
    documents[MARK] = _array((blocks, mark_bytes), (1, mark_bytes), np.uint8, ("block", "byte"))
    documents["done"] = _array((trials,), (block,), bool, ("trial",))
    for name in PER_TRIAL:
        dtype = schema.empty(name, 0).dtype
        documents[name] = _array(schema.shape(name, trials), schema.shape(name, block), dtype, schema.dims(name))
    if schema.pixel_weights:
        shape = schema.weight_shape
        documents["weight_delta"] = _array(shape, shape, np.float32, ("arm", "learning_rate", *PIXELS))
    for name, values in schema.coords().items():
        chunk = (TRIAL_CHUNK,) if name == "trial" else values.shape
        documents[name] = _array(values.shape, chunk, values.dtype, (name,))
    documents = json.loads(json.dumps(documents))  # tuples become lists, as they will when read back
    root = {
        "attributes": dict(attrs),
        "zarr_format": 3,
        "node_type": "group",
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": documents},
    }
    root["attributes"]["checksum"] = checksum(root)
    return documents | {"": root}


def checksum(root: Mapping[str, Any]) -> str:
    """SHA-256 of the root document but for this checksum."""
    attrs = {name: value for name, value in root["attributes"].items() if name != "checksum"}
    return hashlib.sha256(json.dumps({**root, "attributes": attrs}, sort_keys=True).encode()).hexdigest()


def _array(shape: tuple[int, ...], chunk: tuple[int, ...], dtype: Any, dims: tuple[str, ...]) -> dict[str, Any]:
    dtype = np.dtype(dtype)
    text = dtype.kind == "U"
    values = {"name": "bytes", "configuration": {"endian": "little"}} if dtype.itemsize > 1 else {"name": "bytes"}
    fill = "" if text else "NaN" if dtype.kind == "f" else False if dtype.kind == "b" else 0
    return {
        "shape": shape,
        "data_type": "string" if text else dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [max(1, n) for n in chunk]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": fill,
        "codecs": [
            {"name": "vlen-utf8", "configuration": {}} if text else values,
            {"name": "zstd", "configuration": {"level": COMPRESS.level, "checksum": False}},
            {"name": "crc32c"},
        ],
        "attributes": {},
        "dimension_names": dims,
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
