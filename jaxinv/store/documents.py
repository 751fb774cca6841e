"""What lies around the blocks: the metadata of every array, the labels of the axes, `study.json`."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxinv.results.schema import Schema
from jaxinv.store import zarr_files
from jaxinv.store.files import Files
from jaxinv.store.folder import STUDY
from jaxinv.store.zarr_files import Damaged, chunk_key, document, encode, payload, unpack
from jaxinv.study import Study

Documents = Mapping[str, dict[str, Any]]
GROWING = ("trial", "block")


def problems(files: Files, documents: Documents, schema: Schema) -> Iterator[Damaged]:
    """Every file around the blocks that is not what a run's metadata say.

    An array may be longer than they say: growing a run stretches the arrays first and the metadata of the whole last.
    """
    for name, content in documents.items():
        if name:
            found = _json(files.read(document(name)))
            if found is None or _without_length(found) != _without_length(content):
                yield Damaged(document(name), "is missing, truncated or altered")
    for key, chunk, used in _label_chunks(schema):
        try:
            if unpack(key, files.read(key))[:used] != payload(chunk)[:used]:
                yield Damaged(key, "does not hold the labels of its axis")
        except Damaged as damage:
            yield damage


def lay_out(files: Files, documents: Documents, schema: Schema, study: Study) -> None:
    """Write all of it that is not there yet. The root is last: with it, and not before, a new length counts."""
    fields = study.to_dict()
    fresh = files.read(STUDY) is None
    if fresh:  # first of all: from here on the folder says whose it is
        _write_study(files, fields)
    for key, chunk, _ in _label_chunks(schema):
        put_chunk(files, key, chunk)
    for name in sorted(documents, reverse=True):
        if _json(files.read(document(name))) != documents[name]:
            text = json.dumps(documents[name], indent=1, ensure_ascii=False)
            files.write(document(name), text.encode(), durable=not name)
    if not fresh and _json(files.read(STUDY)) != fields:
        _write_study(files, fields)


def put_chunk(files: Files, key: str, chunk: np.ndarray) -> None:
    """Write a chunk unless it is there already."""
    try:
        same = unpack(key, files.read(key)) == payload(chunk)
    except Damaged:
        same = False
    if not same:
        files.write(key, encode(chunk))


def _write_study(files: Files, fields: Mapping[str, Any]) -> None:
    files.write(STUDY, (json.dumps(fields, indent=2, sort_keys=True) + "\n").encode(), durable=True)


def _label_chunks(schema: Schema) -> Iterator[tuple[str, np.ndarray, int]]:
    """Each chunk of the labels: its key, its values, and how many bytes of them are in use."""
    for name, values in schema.coords().items():
        step = zarr_files.TRIAL_CHUNK if name == "trial" else max(1, len(values))
        for i, start in enumerate(range(0, len(values), step)):
            part = values[start : start + step]
            if part.dtype.kind == "U":
                yield chunk_key(name, i), part, len(payload(part)) + 1
            else:
                yield chunk_key(name, i), np.pad(part, (0, step - len(part))), part.nbytes


def _json(data: bytes | None) -> Any:
    try:
        return json.loads(data) if data is not None else None
    except ValueError:
        return None


def _without_length(content: Any) -> Any:
    if not isinstance(content, dict) or not isinstance(content.get("shape"), list):
        return content
    dims = content.get("dimension_names")
    if not isinstance(dims, list) or len(dims) != len(content["shape"]):
        return content
    shape = [None if dim in GROWING else length for dim, length in zip(dims, content["shape"], strict=True)]
    return {**content, "shape": shape}
