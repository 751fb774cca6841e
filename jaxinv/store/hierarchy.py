"""What lies around the blocks of a run: metadata of Zarr (version 3) made by zarr-python, labels, `study.json`."""

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxinv.results.schema import AXIS_ATTRS, Schema
from jaxinv.store.arrays import Arrays, writing_all
from jaxinv.store.files import ROOT, Damaged
from jaxinv.store.storage import Storage
from jaxinv.study import Study

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer

STUDY = "study.json"
ROOT_DOCUMENT = f"{ROOT}/zarr.json"
BLOCKS = "blocks"  # a group below the root, so that the Dataset shows nothing of it
MARK = f"{BLOCKS}/mark"
FORMAT = 1
TRIAL_CHUNK = 1 << 18
GROWING = ("trial", "block")


def build(schema: Schema, block: int, mark_bytes: int, **own: str) -> dict[str, bytes]:
    """Every file around the blocks of a run, by key: metadata, and the labels of the axes.

    Names are there twice. Strings are outside Zarr's core specification: xarray reads them, TensorStore does not, so
    the group `blocks` holds the same names as bytes.

    Args:
      schema: the axes.
      block: trials of a store block.
      mark_bytes: length of a mark.
      own: further attributes of the group `blocks`.
    """
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec
    from zarr.storage import MemoryStore

    files: dict[str, Buffer] = {}
    store = MemoryStore(files)
    networks = {array.name for array in schema.params}  # weights hardly shrink

    def make(
        name: str, dims: Sequence[str], shape: Sequence[int], chunks: Sequence[int], **options: Any
    ) -> "zarr.Array":
        return zarr.create_array(
            store,
            name=name,
            shape=tuple(shape),
            chunks=tuple(max(1, n) for n in chunks),
            dimension_names=dims,
            compressors=[Crc32cCodec()] if name in networks else [ZstdCodec(level=1), Crc32cCodec()],
            chunk_key_encoding={"name": "default", "separator": "."},
            **options,
        )

    with writing_all(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # consolidated metadata are outside the core specification too
        zarr.create_group(store)
        zarr.create_group(store, path=BLOCKS, attributes={"format": FORMAT, **schema.to_dict(), "block": block, **own})
        make(MARK, ("block", "byte"), (-(-schema.trials // block), mark_bytes), (1, mark_bytes), dtype="u1")
        for name, (dims, dtype, fill, *_), attrs in ((name, v, v.attrs) for name, v in schema.variables.items()):
            shape, chunks = schema.shape(name, schema.trials), schema.shape(name, block)
            make(name, dims, shape, chunks, dtype=dtype, fill_value=fill, attributes=attrs)
        for name, values in labels(schema).items():
            dims = (name.removeprefix(f"{BLOCKS}/"), "byte")[: values.ndim]
            chunks = (TRIAL_CHUNK,) if name == "trial" else values.shape
            dtype = str if values.dtype.kind == "U" else values.dtype
            make(name, dims, values.shape, chunks, dtype=dtype, attributes=AXIS_ATTRS.get(name))[:] = values
        zarr.consolidate_metadata(store)
    return {f"{ROOT}/{key}": value.to_bytes() for key, value in files.items()}


def labels(schema: Schema) -> dict[str, np.ndarray]:
    """The labels of the axes, by array."""
    coords = schema.coords()
    names = {f"{BLOCKS}/{name}": _utf8(values) for name, values in coords.items() if values.dtype.kind == "U"}
    return coords | names


def _utf8(words: np.ndarray) -> np.ndarray:
    """uint8 [names, bytes of the longest]."""
    coded = np.array([word.encode() for word in words.tolist()], np.bytes_)
    return coded.view(np.uint8).reshape(len(words), coded.itemsize)


def seal(root: bytes, attrs: Mapping[str, str]) -> bytes:
    """The root's metadata with the results' attributes, and a checksum of all of it."""
    document = {**json.loads(root), "attributes": dict(attrs)}
    document["attributes"]["checksum"] = checksum(document)
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


def checksum(root: Mapping[str, Any]) -> str:
    """SHA-256 of the root's metadata but for this checksum."""
    attrs = {name: value for name, value in root["attributes"].items() if name != "checksum"}
    return hashlib.sha256(json.dumps({**root, "attributes": attrs}, sort_keys=True).encode()).hexdigest()


def problems(arrays: Arrays, documents: Mapping[str, dict[str, Any]], schema: Schema) -> Iterator[Damaged]:
    """Every file around the blocks that is not what the root's metadata say: `documents`, by group or array.

    An array may be longer than they say: growing a run stretches the arrays first and the metadata of the whole last.
    """
    for name, content in documents.items():
        found = read_json(arrays.storage, key := f"{ROOT}/{name}/zarr.json")
        if found is None or _lasting(found) != _lasting(content):
            yield Damaged(key, "is missing, truncated or altered")
    for name, values in labels(schema).items():
        for i, start in enumerate(range(0, len(values), TRIAL_CHUNK) if name in documents else ()):
            try:
                if arrays.read(name, i).tolist() != values[start : start + TRIAL_CHUNK].tolist():
                    yield Damaged(arrays.key(name, i), "does not hold the labels of its axis")
            except Damaged as damage:
                yield damage


def lay_out(storage: Storage, files: Mapping[str, bytes], study: Study) -> None:
    """Write all of it that is not there yet. The root is last: with it, and not before, a new length counts."""
    fields = study.to_dict()
    fresh = storage.read(STUDY) is None
    if fresh:  # first of all: from here on the folder says whose it is
        _write_study(storage, fields)
    for key in sorted(files, key=lambda key: (key == ROOT_DOCUMENT, key.endswith("zarr.json"))):
        if storage.read(key) != files[key]:
            storage.write(key, files[key], durable=key == ROOT_DOCUMENT)
    if not fresh and read_json(storage, STUDY) != fields:
        _write_study(storage, fields)


def read_json(storage: Storage, key: str) -> Any:
    """What a file says; None where it is missing or no JSON."""
    try:
        return json.loads(storage.read(key) or b"null")
    except ValueError:
        return None


def _write_study(storage: Storage, fields: Mapping[str, Any]) -> None:
    storage.write(STUDY, (json.dumps(fields, indent=2, sort_keys=True) + "\n").encode(), durable=True)


def _lasting(content: Any) -> Any:
    """Metadata without what growing a run changes, and without the list of members, which versions of Zarr vary."""
    if not isinstance(content, dict):
        return content
    content = {name: value for name, value in content.items() if name != "consolidated_metadata"}
    shape, dims = content.get("shape"), content.get("dimension_names")
    if not isinstance(shape, list) or not isinstance(dims, list) or len(dims) != len(shape):
        return content
    return {**content, "shape": [None if dim in GROWING else n for dim, n in zip(dims, shape, strict=True)]}
