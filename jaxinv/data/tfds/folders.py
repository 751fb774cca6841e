"""Where prepared datasets of tensorflow-datasets are on this machine, and what a name asks for."""

import contextlib
import difflib
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jaxinv.errors import DataError, InputError
from jaxinv.utils.files import local_path

DESCRIPTIONS = ("dataset_info.json", "features.json")  # what makes a folder a prepared dataset


_REQUEST = re.compile(r"([a-z]\w*)(?:/(\w[\w.\-]*))?(?::(\d+\.\d+\.\d+))?", re.ASCII)


_VERSION = re.compile(r"\d+\.\d+\.\d+", re.ASCII)


@dataclass(frozen=True)
class Request:
    """`name[/config][:version]`, the way tensorflow-datasets writes it."""

    name: str
    config: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        config = f"/{self.config}" if self.config else ""
        return f"tfds:{self.name}{config}" + (f":{self.version}" if self.version else "")


def parse(name: str) -> Request:
    """The request that a name stands for.

    >>> parse("emnist/letters:3.1.0")
    Request(name='emnist', config='letters', version='3.1.0')
    """
    match = _REQUEST.fullmatch(name)
    if match is None:
        raise InputError(
            f"dataset: {'tfds:' + name!r} is not allowed; give tfds:name or tfds:name/config, or add :1.0.0"
        )
    return Request(*match.groups())


def data_root(data_dir: str | os.PathLike[str] | None) -> Path:
    """The folder of all prepared datasets: as given, else `TFDS_DATA_DIR`, else `~/tensorflow_datasets`."""
    given = data_dir if data_dir is not None else os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    text = os.fspath(given)
    if not isinstance(text, str) or not text or "\0" in text or "://" in text:
        raise InputError(f"data_dir: {text!r} is not allowed; give a local folder")
    root = local_path("data_dir", os.path.expanduser(text))
    if root.exists() and not root.is_dir():
        raise InputError(f"data_dir: {text!r} is not allowed; give a folder")
    return root


def find_prepared(root: Path, request: Request) -> Path | None:
    """The folder of the prepared dataset, or None.

    Raises:
        InputError: the request names no configuration, and others than the default one are prepared.
    """
    base = root / request.name
    if request.config is not None:
        return _newest(base / request.config, request.version)
    if found := _newest(base, request.version):
        return found
    prepared = {path.name: path for path in _folders(base) if _newest(path, request.version)}
    default = _default_config(base)
    if default in prepared:
        return _newest(prepared[default], request.version)
    if prepared:
        choices = ", ".join(f"tfds:{request.name}/{config}" for config in sorted(prepared))
        raise InputError(f"dataset: '{request}' has several configurations; give one of those in {root}: {choices}")
    return None


def prepared_folders(root: Path) -> list[tuple[Request, Path]]:
    """Every prepared dataset and configuration under a root, in its newest version."""
    found = []
    for base in _folders(root):
        for config, folder in ((None, base), *((path.name, path) for path in _folders(base))):
            newest = _newest(folder, None)
            if newest is not None and _REQUEST.fullmatch(f"{base.name}/{config}" if config else base.name):
                found.append((Request(base.name, config), newest))
    return found


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what tensorflow-datasets prints, and its progress bars, off standard output."""
    from tensorflow_datasets.core.utils import tqdm_utils

    active = tqdm_utils._active
    tqdm_utils.display_progress_bar(False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tqdm_utils.display_progress_bar(active)


def near_names(name: str, known: list[str]) -> str:
    """«; did you mean …?», or nothing when no known name is near."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f"; did you mean {', '.join(f'tfds:{other}' for other in near)}?" if near else ""


def _newest(folder: Path, version: str | None) -> Path | None:
    """The prepared dataset of the highest version, or of the given one, in a folder of versions."""
    prepared = [path for path in _folders(folder) if _VERSION.fullmatch(path.name) and _is_prepared(path)]
    wanted = [path for path in prepared if version in (None, path.name)]
    return max(wanted, key=lambda path: tuple(map(int, path.name.split("."))), default=None)


def _is_prepared(folder: Path) -> bool:
    return all((folder / name).is_file() for name in DESCRIPTIONS)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error


def _default_config(base: Path) -> str | None:
    try:
        return json.loads((base / ".config" / "metadata.json").read_text())["default_config_name"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
